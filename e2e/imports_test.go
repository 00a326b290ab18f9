package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/rowferry/rowferry/"

// pkg is what `go list` tells of a package; paths are relative to the module, other modules' are left out.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

// A rule says what the packages under a folder may import of this module. Imports run one way: the
// vocabulary, then the contracts of sources and sinks, then the engine and the connectors, which do not know
// each other, then the program, which knows all.
type rule struct {
	folder string   // the most specific folder wins
	may    []string // folders, and single packages with a trailing "$"
	tests  []string // what its tests may import besides
}

var rules = []rule{
	{folder: "schema", may: []string{"schema"}},
	{folder: "sources", may: []string{"schema"}},
	{folder: "sources/*", may: []string{"schema", "sources$"}, tests: []string{"e2e/servers", "e2e/proxy", "sources/sourcetest"}},
	{folder: "sinks", may: []string{"schema"}},
	{folder: "sinks/*", may: []string{"schema", "sinks$", "sinks/apply", "sinks/fileledger"}, tests: []string{"e2e/servers", "e2e/proxy", "sinks/sinktest"}},
	{folder: "replicator", may: []string{"schema", "sources$", "sinks$", "replicator"}},
	{folder: "cmd", may: []string{"schema", "sources", "sinks", "replicator", "cmd"}, tests: []string{"e2e/servers"}},
	{folder: "e2e", may: []string{"schema", "replicator/progress", "e2e"}},
}

// standardOnly are the packages that everything else is built on.
var standardOnly = []string{"schema", "schema/fault", "schema/failpoint", "schema/setting"}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range list(t) {
		r, own := ruleOf(p.ImportPath)
		if r == nil {
			t.Errorf("no rule says what %s may import", p.ImportPath)
			continue
		}
		may := append([]string{own}, r.may...)
		for _, path := range internal(p.Imports) {
			if !allowed(path, may) {
				t.Errorf("%s imports %s; it may import %s", p.ImportPath, path, strings.Join(may, ", "))
			}
		}
		may = append(may, r.tests...)
		for _, path := range internal(append(p.TestImports, p.XTestImports...)) {
			if !allowed(path, may) {
				t.Errorf("the tests of %s import %s; they may import %s", p.ImportPath, path, strings.Join(may, ", "))
			}
		}
	}
}

func TestImportsOfTheVocabularyAreStandard(t *testing.T) {
	for _, p := range list(t) {
		for _, path := range standardOnly {
			if p.ImportPath != path {
				continue
			}
			for _, imported := range p.Imports {
				first, _, _ := strings.Cut(imported, "/")
				if strings.Contains(first, ".") && !strings.HasPrefix(imported, module) {
					t.Errorf("%s imports %s; it may import the standard library only", path, imported)
				}
			}
		}
	}
}

func TestImportRulesCanFail(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"schema", "sources", false},
		{"sources", "schema/fault", true},
		{"sources/postgres", "sources", true},
		{"sources/postgres", "sources/mysql", false},
		{"sources/postgres", "sources/postgres/inner", true},
		{"sources/postgres", "sinks", false},
		{"sources/postgres", "replicator", false},
		{"sinks/postgres", "sinks/apply", true},
		{"sinks/postgres", "sinks/file", false},
		{"replicator/config", "sinks", true},
		{"replicator/config", "sinks/postgres", false},
		{"cmd/rowferry", "sinks/postgres", true},
		{"cmd/rowferry", "e2e/servers", false},
	}
	for _, tt := range tests {
		r, own := ruleOf(tt.from)
		if got := allowed(tt.to, append([]string{own}, r.may...)); got != tt.want {
			t.Errorf("%s imports %s: got %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

// ruleOf returns the rule of a package and the folder that counts as its own.
func ruleOf(path string) (*rule, string) {
	parts := strings.SplitN(path, "/", 3)
	for i := range rules {
		if len(parts) > 1 && rules[i].folder == parts[0]+"/*" {
			return &rules[i], parts[0] + "/" + parts[1]
		}
	}
	for i := range rules {
		if rules[i].folder == parts[0] {
			return &rules[i], path
		}
	}
	return nil, ""
}

func allowed(path string, may []string) bool {
	for _, folder := range may {
		exact, single := strings.CutSuffix(folder, "$")
		if path == exact || !single && strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return false
}

// internal keeps the module's own packages.
func internal(imports []string) []string {
	var own []string
	for _, path := range imports {
		if rest, ok := strings.CutPrefix(path, module); ok {
			own = append(own, rest)
		}
	}
	return own
}

// list asks for all packages, built with and without failpoints.
func list(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	for _, tags := range []string{"", "failpoints"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", tags,
			"-json=ImportPath,Standard,Imports,TestImports,XTestImports", "./...")
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("listing packages: %v", err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p pkg
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("reading go list: %v", err)
			}
			p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
			all = append(all, p)
		}
	}
	return all
}
