package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compiled is the schema of the test's connectors, as a validator reads it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(Schema(testKinds, Comments{}))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rowferry.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rowferry.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is what an editor sees of a YAML file.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaTakesWhatTheParserTakes(t *testing.T) {
	s := compiled(t)
	for _, name := range []string{"minimal", "full"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".in"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	const head = "version: 1\npipelines:\n  p:\n"
	const source = "    source: { url: 'fake:x', tables: { include: [a.b] } }\n"
	const target = "    target: { url: 'file:/x' }\n"
	tests := []struct{ name, in string }{
		{"no version", "pipelines: {}\n"},
		{"unknown key", head + source + target + "    sinks: 1\n"},
		{"unknown key of a connector", head + source + "    target: { url: 'file:/x', topic: t }\n"},
		{"no unit", head + "    source: { url: 'fake:x', tables: { include: [a.b] }, limit: 5 }\n" + target},
		{"no list", head + "    source: { url: 'fake:x', tables: { include: a.b } }\n" + target},
		{"no tables", head + "    source: { url: 'fake:x' }\n" + target},
	}
	s := compiled(t)
	for _, tt := range tests {
		if err := s.Validate(asJSON(t, []byte(tt.in))); err == nil {
			t.Errorf("%s: got no error", tt.name)
		}
		if _, problems := Parse("x", []byte(tt.in), testKinds, testLookup); problems.Errors() == 0 {
			t.Errorf("%s: the parser takes it", tt.name)
		}
	}
	if err := s.Validate(asJSON(t, []byte(head+source+target))); err != nil {
		t.Errorf("the base of the cases: %v", err)
	}
}

func TestDescribeAndFind(t *testing.T) {
	keys := Describe(testKinds, Comments{})
	for _, k := range keys {
		if strings.Contains(k.Path, "..") || k.Type == "" {
			t.Errorf("odd key %+v", k)
		}
	}
	tests := []struct {
		ask  string
		want []string
	}{
		{"slot.name", []string{"pipelines.NAME.source.slot.name fake"}},
		{"pipelines.shop.source.slot.name", []string{"pipelines.NAME.source.slot.name fake"}},
		{"rows", []string{"pipelines.NAME.target.rows sql", "pipelines.NAME.target.rows file"}},
		{"transforms[0].rename.to", []string{"pipelines.NAME.transforms[].rename.to "}},
		{"pipelines.shop.nothing", nil},
	}
	for _, tt := range tests {
		var got []string
		for _, k := range Find(keys, tt.ask) {
			got = append(got, k.Path+" "+k.Kind)
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%s: got %q, want %q", tt.ask, got, tt.want)
		}
	}
	if len(Undocumented(keys)) == 0 {
		t.Error("without comments every key is undocumented; got none")
	}
}

func TestFingerprint(t *testing.T) {
	parse := func(tables, transforms string) string {
		t.Helper()
		text := "version: 1\npipelines:\n  p:\n    source: { url: 'fake:x', tables: " + tables + " }\n" +
			"    transforms: " + transforms + "\n    target: { url: 'file:/x' }\n"
		file, problems := Parse("x", []byte(text), testKinds, testLookup)
		if problems.Errors() > 0 {
			t.Fatal(problems)
		}
		p := file.Pipelines["p"]
		return p.Fingerprint()
	}
	base := parse("{ include: [a.b, a.c] }", "[]")
	if got := parse("{ include: [a.c, a.b] }", "[]"); got != base {
		t.Errorf("the order of patterns changes the fingerprint: got %s, want %s", got, base)
	}
	for _, other := range []string{
		parse("{ include: [a.b] }", "[]"),
		parse("{ include: [a.b, a.c], exclude: [a.d] }", "[]"),
		parse("{ include: [a.b, a.c] }", "[{ rename: { schema: a, to: b } }]"),
	} {
		if other == base {
			t.Error("another scope has the same fingerprint")
		}
	}
	if base != "1:c0143be67f536160" {
		t.Errorf("the fingerprint of a fixed scope is now %s: every ledger would refuse to continue", base)
	}
}
