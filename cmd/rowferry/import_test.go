package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportedConfigurations: whatever an import writes passes `config check`.
func TestImportedConfigurations(t *testing.T) {
	schema := editorSchema(t)
	files, err := filepath.Glob(filepath.Join("debezium", "testdata", "*.want"))
	if err != nil || len(files) < 5 {
		t.Fatalf("got %d files (%v), want at least 5", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, file, string(text), schema)
	}
}

func TestImport(t *testing.T) {
	s := newShell(t, fakeYAML)
	folder := filepath.Join("debezium", "testdata")
	want, err := os.ReadFile(filepath.Join(folder, "tutorial.json.want"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "tutorial.json")
	r := s.run("config", "import", "debezium", file)
	if got := strings.Replace(r.out, file, "tutorial.json", 1); r.code != exitDone || got != string(want) {
		t.Errorf("got exit %d and\n%s", r.code, r.out)
	}
	for _, line := range []string{"database.password: ", "database.sslmode: ", "Next: ", "adopt dbserver1 --slot debezium"} {
		if !strings.Contains(r.err, line) {
			t.Errorf("got messages %q, want %q among them", r.err, line)
		}
	}
	var made imported
	r = s.run("config", "import", "debezium", file, "--json", "--brokers", "kafka1:9092,kafka2:9092", "--pipeline", "shop")
	if err := json.Unmarshal([]byte(r.out), &made); err != nil || made.Pipeline != "shop" || len(made.Notes) == 0 ||
		!strings.Contains(made.YAML, "url: kafka://kafka1:9092,kafka2:9092\n") || !strings.Contains(made.YAML, "\n  shop:\n") {
		t.Errorf("as JSON, with brokers and a name: got %+v, %v", made, err)
	}
	r = s.run("config", "import", "debezium", file, "--pipeline", "my shop")
	if r.code != exitFound || !strings.Contains(r.err, "a pipeline's name") || !strings.Contains(r.err, "1 error") || r.out == "" {
		t.Errorf("with a name that no pipeline has: got %+v, want exit %d, the problem and the file", r, exitFound)
	}
	mysql := filepath.Join(s.dir, "mysql.json")
	if err := os.WriteFile(mysql, []byte(`{"connector.class":"io.debezium.connector.mysql.MySqlConnector"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{mysql: "MySQL sources are not there yet", filepath.Join(s.dir, "none.json"): "no such file", "-": "the file is empty"} {
		if r := s.run("config", "import", "debezium", name); r.code != exitUsage || r.out != "" || !strings.Contains(r.err, says) {
			t.Errorf("%s: got %+v, want exit %d and %q", name, r, exitUsage, says)
		}
	}
}
