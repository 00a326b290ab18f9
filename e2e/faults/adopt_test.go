package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// command runs a command of the binary to its end. It may fail.
func command(ctx context.Context, binary string, env []string, args ...string) (out, messages string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	var first, second bytes.Buffer
	cmd.Stdout, cmd.Stderr = &first, &second
	err = cmd.Run()
	return first.String(), second.String(), err
}

// adopt writes the pair's configuration and adopts its slot.
func (p *pair) adopt() {
	p.t.Helper()
	name := p.Pipelines[0].Name
	file, err := p.WriteConfig("off")
	if err != nil {
		p.t.Fatal(err)
	}
	out, messages, err := command(p.ctx, p.Binary, nil, "adopt", name, "--slot", p.slot, "--yes", "-c", file)
	if err != nil || !strings.Contains(out, "goes on from postgres/1:") {
		p.t.Fatalf("adopting: %v\n%s%s", err, out, messages)
	}
	if _, again, err := command(p.ctx, p.Binary, nil, "adopt", name, "--slot", p.slot, "--yes", "-c", file); err == nil || !strings.Contains(again, "target.adopt_begun") {
		p.t.Errorf("adopting again: got %v, %q; want it refused", err, again)
	}
}

// left makes a slot and a publication as a reader before leaves them, and changes the source behind it: what the reader
// acknowledged is of the rows 1 to 100 and 200.
func (p *pair) left() {
	p.t.Helper()
	p.Pipelines[0].InSource["publication"] = daemon.Settings{"name": "theirs_" + p.slot, "create": false}
	servers.Exec(p.t, p.source, `CREATE PUBLICATION theirs_`+p.slot+` FOR TABLE items`,
		`SELECT pg_create_logical_replication_slot('`+p.slot+`', 'pgoutput')`,
		`INSERT INTO items VALUES (200, 'theirs')`, `SELECT pg_replication_slot_advance('`+p.slot+`', pg_current_wal_lsn())`,
		`INSERT INTO items VALUES (300, 'ours')`, `UPDATE items SET name = 'ours' WHERE id = 200`)
}

// TestAdoptIntoPostgres: a target that holds what the reader before brought gets the rest, and no copy.
func TestAdoptIntoPostgres(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.left()
	servers.Exec(t, p.target, `CREATE TABLE items (id int PRIMARY KEY, name text)`,
		`INSERT INTO items SELECT g, 'old' FROM generate_series(1, 100) g`, `INSERT INTO items VALUES (200, 'theirs')`)
	p.adopt()
	p.follow()
	p.equal()
	p.exec(`DELETE FROM items WHERE id = 300`, `INSERT INTO items VALUES (400, 'later')`)
	p.equal()
}

// TestAdoptIntoFile: the file begins with the first change that the reader before did not acknowledge.
func TestAdoptIntoFile(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	path := p.intoFile()
	p.left()
	p.adopt()
	p.follow()
	var text string
	p.eventually("the changes behind the slot's position", func() (bool, string) {
		raw, err := os.ReadFile(path)
		text = string(raw)
		return err == nil && strings.Count(text, "\n") >= 2, fmt.Sprintf("%v %s", err, text)
	})
	p.stop()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"op":"c"`) || !strings.Contains(lines[0], `"id":300`) ||
		!strings.Contains(lines[1], `"op":"u"`) || !strings.Contains(lines[1], `"id":200`) {
		t.Errorf("got the lines\n%s\nwant the insert of 300 and the update of 200", text)
	}
}
