package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema/setting"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource is a connector's configuration with one field of every sort.
type fakeSource struct {
	// URL is where it is.
	URL string `yaml:"url"`
	// Password opens it.
	Password setting.Secret `yaml:"password"`
	// Slot is read.
	Slot fakeSlot `yaml:"slot"`
	// Pace is a switch.
	Pace bool `yaml:"pace" default:"true"`
	// Ratio is a number.
	Ratio float64 `yaml:"ratio" default:"0.5"`
	// Limit is a size.
	Limit setting.Size `yaml:"limit" default:"1GiB"`
	// Identity is by table.
	Identity map[string]string `yaml:"identity"`
	// Words is a list with a default.
	Words []string `yaml:"words" default:"a, b"`
	// Extra is optional.
	Extra *fakeExtra `yaml:"extra"`
}

type fakeSlot struct {
	// Name of the slot.
	Name string `yaml:"name"`
	// Timeout of the slot.
	Timeout setting.Duration `yaml:"timeout" default:"60s"`
}

type fakeExtra struct {
	// Level is small.
	Level uint8 `yaml:"level" default:"3"`
}

func (s *fakeSource) Validate() []error {
	if s.Slot.Name != strings.ToLower(s.Slot.Name) {
		return []error{errors.New("slot.name: may hold only a-z, 0-9 and _")}
	}
	return nil
}

// fakeTarget is the configuration of a target.
type fakeTarget struct {
	// URL is where it is.
	URL string `yaml:"url"`
	// Password opens it.
	Password setting.Secret `yaml:"password"`
	// Rows of a batch.
	Rows int `yaml:"rows" default:"100"`
}

var testKinds = Kinds{
	Sources: []Kind{{Name: "fake", Schemes: []string{"fake", "fakes"}, New: func() any { return new(fakeSource) }}},
	Targets: []Kind{
		{Name: "sql", Schemes: []string{"sql"}, New: func() any { return new(fakeTarget) }},
		{
			Name: "file", Schemes: []string{"file"}, New: func() any { return new(fakeTarget) },
			Claims: func(cfg any, _ string) []string { return []string{cfg.(*fakeTarget).URL} },
		},
	},
}

var testLookup = Lookup{
	Getenv: func(name string) (string, bool) {
		values := map[string]string{
			"PGPASSWORD": "hunter2", "ODD": "p@ss/w:rd %", "EMPTY": "", "TWELVE": "12", "CREDENTIALS_DIRECTORY": "/creds",
			"WHOLE": "sql://u:hunter2@db/x", "LIMIT": "hunter2",
		}
		v, ok := values[name]
		return v, ok
	},
	ReadFile: func(path string) ([]byte, error) {
		if path == "/run/secrets/pg" || path == "/creds/pg" {
			return []byte("hunter2\n"), nil
		}
		return nil, fmt.Errorf("no such file")
	},
}

// printed is what a user sees of a file: its problems, then its effective settings when it can be used.
func printed(t *testing.T, name string, text []byte) string {
	t.Helper()
	file, problems := Parse(name, text, testKinds, testLookup)
	var out strings.Builder
	for i := range problems {
		problems[i].Print(&out)
	}
	if problems.Errors() == 0 {
		if err := file.PrintEffective(&out); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			got := printed(t, "rowferry.yaml", text)
			golden := strings.TrimSuffix(input, ".in") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is printed")
			}
		})
	}
}
