package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault20_LedgerOfAFile: a ledger file that cannot be believed, or is another release's, stops the pipeline
// before anything is written; put back, it goes on.
func TestFault20_LedgerOfAFile(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	events := p.intoFile()
	ledger := events + ".ledger"
	p.follow()
	p.exec(`INSERT INTO items VALUES (1000, 'first')`)
	p.eventually("the row to be in the file", func() (bool, string) {
		text := content(t, events)
		return strings.Count(text, "\n") == 101, text[max(0, len(text)-100):]
	})
	p.stop()
	good, before := content(t, ledger), content(t, events)
	header, rest, _ := strings.Cut(good, "\n")
	tests := []struct{ name, ledger, code, want string }{
		{"a byte differs", header + "\n" + strings.Replace(rest, `"phase"`, `"phasf"`, 1), "target.ledger_corrupt", "checksum"},
		{"cut to its first line", header + "\n", "target.ledger_corrupt", "no frame"},
		{"empty", "", "target.ledger_corrupt", "begin like a ledger"},
		{"newer", "rowferry-ledger 2\n" + rest, "target.ledger_version", "a newer one"},
		{"older", "rowferry-ledger 0\n" + rest, "target.ledger_version", "an older one"},
	}
	for _, tt := range tests { // one after the other: it is one pipeline
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(ledger, []byte(tt.ledger), 0o600); err != nil {
				t.Fatal(err)
			}
			p.t = t
			p.start()
			p.halted(tt.code, ledger, "rowferry teardown", tt.want)
			p.stop()
			if content(t, events) != before {
				t.Error("the file was written to")
			}
		})
	}
	p.t = t
	if err := os.WriteFile(ledger, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	p.follow()
	p.exec(`INSERT INTO items VALUES (1001, 'second')`)
	p.eventually("the next row to be in the file", func() (bool, string) {
		text := content(t, events)
		return strings.HasPrefix(text, before) && strings.Count(text, "\n") == 102, text[max(0, len(text)-100):]
	})
}

// TestFault20_StatusFile: what is left of a damaged status file stops nobody: it is no checkpoint.
func TestFault20_StatusFile(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.follow()
	p.equal()
	p.stop()
	for _, name := range []string{"status.json", "halt.json"} {
		if err := os.WriteFile(filepath.Join(p.State(), "shop", name), []byte(`{"version":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, code := run(t, p, "status")
	if code > 4 || !strings.Contains(out, "shop") {
		t.Errorf("status: exit code %d:\n%s", code, out)
	}
	p.follow()
	p.exec(`INSERT INTO items VALUES (1000, 'after')`)
	p.equal()
}

// run runs a command of the program with the pair's configuration, which a start has written, and gives what it
// printed.
func run(t *testing.T, p *pair, args ...string) (string, int) {
	t.Helper()
	return runFile(t, p.Binary, filepath.Join(p.Folder, "rowferry.yaml"), args...)
}

func runFile(t *testing.T, binary, config string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append(args, "-c", config)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestFault21_WrongConfiguration: everything that is wrong is told at once, with its place, and nothing is touched.
func TestFault21_WrongConfiguration(t *testing.T) {
	t.Parallel()
	folder := newFolder(t)
	url := servers.ForTest(t, servers.Major(t)).NewDatabase(t)
	file := filepath.Join(folder, "rowferry.yaml")
	text := fmt.Sprintf(`version: 1
state: { path: %[1]s/state }
server: { listen: off }
pipelines:
  shop:
    source:
      url: %[2]q
      tables: { include: ["re:public.(a"] }
      slto: { name: x }
      slot: { name: "Not-A-Slot" }
      spill_limit: much
    transforms:
      - rename: { table: "public.a", to: "public.c" }
      - rename: { table: "public.b", to: "public.c" }
    target:
      url: %[2]q
      batch: { max_rows: 0 }
      schema_changes: ignore
  next-1: &next
    source: { url: %[2]q, tables: { include: ["public.*"] } }
    target: { url: "null:" }
  next_1: *next
`, folder, url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "check"} {
		out, code := runFile(t, build(t), file, command)
		if code != 2 {
			t.Errorf("%s: got exit code %d, want 2", command, code)
		}
		for _, want := range []string{
			"rowferry.yaml:8:", "rowferry.yaml:9:7", "slto", "did you mean", "slot.name", "spill_limit", "public.c",
			"max_rows", "schema_changes", "next_1",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not name %q:\n%s", command, want, out)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "state")); !os.IsNotExist(err) {
		t.Errorf("the state folder: got %v, want none", err)
	}
	if n := ask(t, url, `SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()`); n != "0" {
		t.Errorf("got %s slots, want none", n)
	}
}

// TestFault22_ScopeChanged: other tables or names than those that were copied stop the pipeline, whatever keeps its
// position; the old configuration goes on.
func TestFault22_ScopeChanged(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*daemon.Pipeline){
		"another table": func(d *daemon.Pipeline) { d.Include = []string{"public.items", "public.others"} },
		"an exclude":    func(d *daemon.Pipeline) { d.Exclude = []string{"public.tmp_*"} },
		"a rename":      func(d *daemon.Pipeline) { d.Transforms = []daemon.Settings{renamed} },
	}
	for name, target := range map[string]func(*pair){
		"into a database": func(*pair) {},
		"into a file":     func(p *pair) { p.intoFile() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := farPair(t, build(t))
			target(p)
			servers.Exec(t, p.source, `CREATE TABLE others (id int PRIMARY KEY); INSERT INTO others VALUES (1)`)
			p.Pipelines[0].Include = []string{"public.items"}
			before := p.Pipelines[0]
			p.follow()
			p.stop()
			const where = `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`
			stood := ask(t, p.source, where, p.slot)
			for change, apply := range changes {
				p.Pipelines[0] = before
				apply(&p.Pipelines[0])
				p.start()
				p.halted("target.scope_changed", "rowferry teardown")
				p.stop()
				if got := ask(t, p.source, where, p.slot); got != stood {
					t.Errorf("%s moved the slot from %s to %s", change, stood, got)
				}
			}
			p.Pipelines[0] = before
			p.follow()
		})
	}
}

var renamed = daemon.Settings{"rename": daemon.Settings{"table": "public.items", "to": "public.things"}}
