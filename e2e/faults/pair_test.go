package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/replicator/progress"
)

// limit bounds the wait for anything. It is long, for machines that do much else: only what is stuck waits that long.
const limit = 3 * time.Minute

// pair is a source database with the table items (id, name), a target, and the one pipeline, "shop", between them.
// A test may change the options before it starts the daemon.
type pair struct {
	daemon.Options
	*daemon.Daemon // the last that was started

	t              *testing.T
	ctx            context.Context
	source, target string // URLs; the target of a test that uses a file has no tables
	slot           string
}

// newPair makes both databases on one server, with 100 rows to copy.
func newPair(t *testing.T, binary string) *pair {
	t.Helper()
	server := servers.ForTest(t, servers.Major(t))
	return pairOf(t, binary, server.NewDatabase(t), server.NewDatabase(t))
}

// farPair makes them on two servers.
func farPair(t *testing.T, binary string) *pair {
	t.Helper()
	return pairOf(t, binary, servers.ForTest(t, servers.Major(t)).NewDatabase(t), targets(t).NewDatabase(t))
}

// targets is a server for targets that are left with open transactions. It is another than that of the sources: there
// a new slot waits for the open transactions of all databases.
func targets(t *testing.T) *servers.Server {
	t.Helper()
	common.once.Do(func() {
		common.server, common.err = servers.Start(context.Background(), servers.Major(t), "") // it ends with the test process
	})
	if common.err != nil {
		t.Fatal(common.err)
	}
	return common.server
}

// common is the server of targets.
var common struct {
	once   sync.Once
	server *servers.Server
	err    error
}

// pairOf is newPair for databases that exist and are empty.
func pairOf(t *testing.T, binary, source, target string) *pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	t.Cleanup(cancel)
	p := &pair{t: t, ctx: ctx, source: source, target: target, slot: fmt.Sprintf("fault_%08x", rand.Uint32())}
	servers.Exec(t, source, `CREATE TABLE items (id int PRIMARY KEY, name text)`,
		`INSERT INTO items SELECT g, 'old' FROM generate_series(1, 100) g`)
	p.Options = daemon.Options{
		Binary: binary, Folder: newFolder(t), Args: []string{"--grace", "10s"},
		Pipelines: []daemon.Pipeline{{
			Name: "shop", Source: source, Target: target,
			InSource: daemon.Settings{"slot": daemon.Settings{"name": p.slot}},
			InTarget: daemon.Settings{"tables": daemon.Settings{"create": true}},
		}},
	}
	t.Cleanup(func() {
		if p.Daemon == nil {
			return
		}
		p.Kill()
		if t.Failed() {
			t.Logf("the end of the daemon's log:\n%s", p.LogEnd())
		}
	})
	return p
}

// newFolder is a folder that goes with the test.
func newFolder(t *testing.T) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// intoFile gives the pipeline a file for a target and returns its path.
func (p *pair) intoFile() string {
	path := filepath.Join(p.Folder, "events.jsonl")
	p.Pipelines[0].Target, p.Pipelines[0].InTarget = "file:"+path, nil
	return path
}

// build makes the binary.
func build(t *testing.T, tags ...string) string {
	t.Helper()
	binary, err := daemon.Build(t.Context(), tags...)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// start starts a daemon with these variables in its environment.
func (p *pair) start(env ...string) {
	p.t.Helper()
	o := p.Options
	o.Env = append(append([]string{}, o.Env...), env...)
	d, err := daemon.Start(o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Daemon = d
	p.t.Cleanup(d.Kill) // a test may start several
}

// follow starts a daemon and waits until it follows the source.
func (p *pair) follow() {
	p.t.Helper()
	p.start()
	p.awaitFollowing()
}

func (p *pair) awaitFollowing() {
	p.t.Helper()
	if err := p.Await(p.ctx, daemon.Following); err != nil {
		p.t.Fatal(err)
	}
}

// halted waits for the pipeline's halt, which must have this code and name these texts.
func (p *pair) halted(code string, texts ...string) progress.Halt {
	p.t.Helper()
	halt, err := p.AwaitHalt(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	if halt.Code != code {
		p.t.Fatalf("got a halt with %s: %s; want %s", halt.Code, halt.Happened, code)
	}
	all := strings.Join(append([]string{halt.Happened, halt.Lost, halt.Did}, halt.Remedy...), "\n")
	for _, text := range texts {
		if !strings.Contains(all, text) {
			p.t.Errorf("the halt does not name %q:\n%s", text, all)
		}
	}
	if halt.Lost == "" || halt.Did == "" || len(halt.Remedy) == 0 {
		p.t.Errorf("the halt leaves something out: %+v", halt)
	}
	return halt
}

// waiting waits until the pipeline retries for a reason that holds one of the texts.
func (p *pair) waiting(texts ...string) {
	p.t.Helper()
	p.eventually("the pipeline to wait for "+strings.Join(texts, " or "), func() (bool, string) {
		report, err := p.Status(p.ctx)
		if err != nil || len(report.Pipelines) == 0 {
			return false, fmt.Sprint(err)
		}
		s := report.Pipelines[0]
		found := slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(s.Waiting, text) })
		return found, fmt.Sprintf("%s %s", s.State, s.Waiting)
	})
}

// stop asks the daemon to end, which it must do without an error.
func (p *pair) stop() {
	p.t.Helper()
	if code, err := p.Stop(time.Minute); err != nil || code != 0 {
		p.t.Fatalf("stopping: exit code %d, %v", code, err)
	}
}

// exec runs statements at the source.
func (p *pair) exec(statements ...string) {
	p.t.Helper()
	servers.Exec(p.t, p.source, statements...)
}

const itemsSQL = `SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(i::text, ',' ORDER BY id)), '') FROM items i`

// equal waits until the target holds what the source does.
func (p *pair) equal() {
	p.t.Helper()
	want := ask(p.t, p.source, itemsSQL)
	p.eventually("the target to hold "+want, func() (bool, string) {
		got, err := query(p.ctx, p.target, itemsSQL)
		if err == nil && got != want && !p.Alive() {
			p.t.Fatalf("the daemon has ended and the target holds %s, want %s", got, want)
		}
		return got == want, fmt.Sprint(got, err)
	})
}

// eventually waits until done; the text says how far it is.
func (p *pair) eventually(what string, done func() (bool, string)) {
	p.t.Helper()
	if err := eventually(p.ctx, what, done); err != nil {
		p.t.Fatal(err)
	}
}

func eventually(ctx context.Context, what string, done func() (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ok, how := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; it is %s", what, context.Cause(ctx), how)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// logged waits until the daemon has printed the text.
func (p *pair) logged(text string) {
	p.t.Helper()
	p.eventually("the log to hold "+text, func() (bool, string) { return strings.Contains(p.Log(), text), "" })
}

// query asks for one value as text.
func query(ctx context.Context, url, sql string, args ...any) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var value string
	err = conn.QueryRow(ctx, sql, args...).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// ask is query for a test.
func ask(t *testing.T, url, sql string, args ...any) string {
	t.Helper()
	value, err := query(t.Context(), url, sql, args...)
	if err != nil {
		t.Fatalf("asking %s: %v", sql, err)
	}
	return value
}

// content reads a file that must be there.
func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
