package debezium

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// page is one of accepted differences.
func page(t *testing.T, lines ...string) *Allowed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.md")
	text := "| topic | path | reason |\n| --- | --- | --- |\n" + strings.Join(lines, "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	allowed, err := ReadAllowed(file)
	if err != nil {
		t.Fatal(err)
	}
	return allowed
}

// TestCompare finds what differs, and nothing else.
func TestCompare(t *testing.T) {
	const key = `{"id":1}`
	value := func(prefix, rest string) string {
		return `{"before":null,"after":{"id":1,"v":"x"},"source":{"name":"` + prefix + `","lsn":7,"snapshot":"false"},"op":"c"` + rest + `}`
	}
	tests := []struct {
		name, key, value string
		headers          map[string]string
		want             []string
	}{
		{name: "the same", key: key, value: value("o", "")},
		{name: "another position", key: key, value: strings.Replace(value("o", ""), `"lsn":7`, `"lsn":8`, 1)},
		{name: "another value", key: key, value: strings.Replace(value("o", ""), `"x"`, `"y"`, 1), want: []string{`.t #0 .value.after.v: Debezium "x", Rowferry "y"`}},
		{name: "another type", key: key, value: strings.Replace(value("o", ""), `"x"`, `1`, 1), want: []string{`.t #0 .value.after.v: Debezium "x", Rowferry "1"`}},
		{name: "a number in a text", key: key, value: strings.Replace(value("o", ""), `"id":1`, `"id":"1"`, 1), want: []string{`.t #0 .value.after.id: Debezium "1", Rowferry "1"`}},
		{name: "another order", key: key, value: strings.Replace(value("o", ""), `"id":1,"v":"x"`, `"v":"x","id":1`, 1), want: []string{`.t #0 .value.after{order}: Debezium "[id v]", Rowferry "[v id]"`}},
		{name: "a field more", key: key, value: value("o", `,"more":1`), want: []string{`.t #0 .value.more: Debezium <absent>, Rowferry "1"`}},
		{name: "no key", value: value("o", ""), want: []string{`.t #0 .key: Debezium object [id], Rowferry "<nil>"`}},
		{name: "a header", key: key, value: value("o", ""), headers: map[string]string{"h": "1", "__debezium.context.x": "2"},
			want: []string{`.t #0 .headers.h: Debezium <absent>, Rowferry "1"`}},
		{name: "accepted", key: key, value: strings.Replace(value("o", ""), `"false"`, `"true"`, 1),
			want: []string{`accepted: .t #0 .value.source.snapshot: Debezium "false", Rowferry "true"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			allowed := page(t, "| `.t` | `.value*.snapshot` | It may. |", "| `.u` | `.value*` | Never. |", "| `.w` | `*` | At times: it may. |")
			p := Played{
				prefix: "d", name: "o",
				Theirs: []Record{{Topic: "d.t", Key: []byte(key), Value: []byte(value("d", ""))}},
				Ours:   []Record{{Topic: "o.t", Key: []byte(tt.key), Value: []byte(tt.value), Headers: tt.headers}},
			}
			c := p.Compare(allowed)
			var got []string
			for _, d := range c.Differences {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
			accepted := strings.HasPrefix(strings.Join(got, ""), "accepted")
			if equal := len(got) == 0 || accepted; (c.Equal == 1) != equal || (len(c.Refused()) == 0) != equal {
				t.Errorf("got %d equal records and refused %v", c.Equal, c.Refused())
			}
			unused := []string{".t .value*.snapshot", ".u .value*"}
			if accepted {
				unused = unused[1:]
			}
			if diff := cmp.Diff(unused, allowed.Unused()); diff != "" {
				t.Errorf("unused lines: want -, got +\n%s", diff)
			}
		})
	}
}

// TestCompareCounts: a record too many is a difference.
func TestCompareCounts(t *testing.T) {
	p := Played{prefix: "d", name: "o", Theirs: []Record{{Topic: "d.t", Value: []byte(`1`)}}}
	c := p.Compare(page(t, "| `.u` | `*` | Never. |"))
	if want := ".t: 1 records of Debezium, 0 of Rowferry"; len(c.Refused()) != 1 || c.Refused()[0].String() != want {
		t.Errorf("got %v, want %s", c.Refused(), want)
	}
}

// TestSettings: a setting that would be passed over is refused.
func TestSettings(t *testing.T) {
	r := Recording{Name: "r", Config: map[string]string{"topic.delimiter": "_", "value.converter.schemas.enable": "false"}}
	_, _, err := r.settings()
	if err == nil || !strings.Contains(err.Error(), "topic.delimiter") || !strings.Contains(err.Error(), "schemas.enable") {
		t.Errorf("got %v, want both settings named", err)
	}
}

// TestSavedAndFound: what is saved is found again, with its script.
func TestSavedAndFound(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "s.sql"), []byte("before;\n-- stream\nafter;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []Record{{Topic: "d.t", Offset: 3, Key: []byte("null"), Value: []byte(`{"b":1,"a":"<&"}`), Headers: map[string]string{"h": "v"}}}
	p := Played{Recording: &Recording{Name: "s.mode", Config: map[string]string{"a": "b"}}, prefix: "d", Theirs: want}
	if err := p.Save(folder); err != nil {
		t.Fatal(err)
	}
	found, err := Find(folder)
	if err != nil || len(found) != 1 {
		t.Fatalf("got %v, %v, want one recording", found, err)
	}
	got, err := found[0].Records()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records: want -, got +\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "b", "topic.prefix": "d"}, found[0].Config); diff != "" {
		t.Errorf("configuration: want -, got +\n%s", diff)
	}
	if diff := cmp.Diff(Script{Name: "s", Before: []string{"\nbefore;"}, After: []string{"after;\n"}}, found[0].Script); diff != "" {
		t.Errorf("script: want -, got +\n%s", diff)
	}
}
