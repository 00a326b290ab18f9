package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse feeds any text to the parser: it has to answer with a file or with problems that can be printed, and
// the effective settings of a file without errors have to read back to themselves.
func FuzzParse(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*.in")
	if err != nil {
		f.Fatal(err)
	}
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a: &a [*a]")
	f.Add("version: 1\n<<: [&x {state: *x}]")
	f.Add("pipelines: &p { a: { source: *p } }")
	f.Fuzz(func(t *testing.T, text string) {
		file, problems := Parse("x", []byte(text), testKinds, testLookup)
		var out strings.Builder
		for i := range problems {
			problems[i].Print(&out)
		}
		if strings.Contains(out.String(), "hunter2") && !strings.Contains(text, "hunter2") {
			t.Fatalf("a secret is printed: %s", out.String())
		}
		if problems.Errors() > 0 {
			return
		}
		out.Reset()
		if err := file.PrintEffective(&out); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "hunter2") && !strings.Contains(text, "hunter2") {
			t.Fatalf("a secret is shown: %s", out.String())
		}
		for name, p := range file.Pipelines {
			if p.Source.Config == nil || p.Target.Config == nil || p.Fingerprint() == "" {
				t.Fatalf("pipeline %q passed without its ends", name)
			}
		}
	})
}
