package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/rowferry/rowferry/replicator/config"
)

// anyValue resolves every reference, as on the reader's machine.
var anyValue = config.Lookup{
	Getenv:   func(string) (string, bool) { return "value", true },
	ReadFile: func(string) ([]byte, error) { return []byte("value"), nil },
}

// editorSchema is the JSON Schema of this program, as an editor uses it.
func editorSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(config.Schema(allConnectors().kinds(), comments))
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
	schema, err := c.Compile("rowferry.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// accepted parses a configuration with the parser and the schema.
func accepted(t *testing.T, where, text string, schema *jsonschema.Schema) {
	t.Helper()
	if _, problems := config.Parse(where, []byte(text), allConnectors().kinds(), anyValue); len(problems) > 0 {
		var out strings.Builder
		for i := range problems {
			problems[i].Print(&out)
		}
		t.Errorf("%s:\n%s", where, out.String())
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: the schema refuses it: %v", where, err)
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

func TestConfigurationsInDocs(t *testing.T) {
	schema := editorSchema(t)
	accepted(t, "config init", skeleton, schema)
	root := filepath.Join("..", "..")
	pages := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			found++
			accepted(t, page, block[1], schema)
		}
	}
	if found < 4 {
		t.Errorf("got %d configurations in the docs, want at least 4: is the pattern right?", found)
	}
}

func TestEveryConnectorLoads(t *testing.T) {
	table := allConnectors()
	schema := editorSchema(t)
	urls := map[string]string{"postgres": "postgres://u@db.example.com/x", "file": "file:/x/y.jsonl", "stdout": "stdout:", "null": "null:", "kafka": "kafka://k1:9092,k2"}
	for _, target := range table.targets {
		text := "version: 1\npipelines:\n  p:\n    source: { url: 'postgres://u@db.example.com/x', tables: { include: ['public.*'] } }\n    target: { url: '" + urls[target.Name] + "' }\n"
		accepted(t, target.Name, text, schema)
		file, _ := config.Parse("x", []byte(text), table.kinds(), anyValue)
		p := file.Pipelines["p"]
		if got := endText(target.Name, target.url(p.Target.Config)); !strings.HasPrefix(got, target.Name) {
			t.Errorf("%s: got %q for a name", target.Name, got)
		}
	}
	names := map[string]bool{}
	for _, c := range table.codes() {
		if names[c.Name] || c.Title == "" || c.Meaning == "" || c.DataLost == "" || len(steps(c.Remedy)) == 0 {
			t.Errorf("code %+v is doubled or lacks a text", c)
		}
		names[c.Name] = true
	}
	for _, key := range config.Undocumented(config.Describe(table.kinds(), comments)) {
		t.Logf("%s has no comment yet: run go generate", key)
	}
}
