package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/replicator/progress"
)

// early makes the server send transactions in progress from their first rows on.
func early(t *testing.T, url string) {
	t.Helper()
	servers.Exec(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET logical_decoding_work_mem = ''64kB''', current_database()); END $$`)
}

// bigRows is a transaction of so many rows of 1 KB.
func bigRows(rows int) string {
	return fmt.Sprintf(`INSERT INTO items SELECT g, repeat(md5(g::text), 32) FROM generate_series(1001, %d) g`, 1000+rows)
}

// TestFault16_TransactionBeyondMemory: a transaction far larger than what the daemon may hold goes through files.
func TestFault16_TransactionBeyondMemory(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	early(t, p.source)
	p.Memory = daemon.Settings{"queue": "4MiB"}
	p.Env = []string{"GOMEMLIMIT=64MiB"} // what is not needed any more goes soon: the peak is what is held
	p.follow()
	p.exec(bigRows(150_000))
	p.equal()
	p.stop()
	const budget = 128 << 20 // a part of it travels at once, the rest waits in files
	if _, peak := p.Usage(); peak > budget {
		t.Errorf("the daemon took %d MiB, want at most %d", peak>>20, budget>>20)
	}
	if left, err := filepath.Glob(filepath.Join(p.State(), "shop", "spill", "*")); err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// TestFault16_SpillLimit: where the files may not grow so far, the pipeline halts once and says what to do.
func TestFault16_SpillLimit(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	early(t, p.source)
	p.Pipelines[0].InSource["spill_limit"] = "2MiB"
	p.follow()
	p.exec(bigRows(10_000))
	p.halted("source.spill_limit", "spill_limit", "2097152 bytes")
	if n := strings.Count(p.Log(), "pipeline retrying"); n > 0 {
		t.Errorf("the pipeline tried again %d times, want a halt at once", n)
	}
	p.stop()
	p.Pipelines[0].InSource["spill_limit"] = "1GiB"
	p.follow()
	p.equal()
}

// TestFault17_Panic: a panic while reading halts the pipeline it happens in, keeps its details in a file of our own,
// and leaves the other pipeline alone.
func TestFault17_Panic(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t, "failpoints"))
	servers.Exec(t, p.source, `CREATE TABLE others (id int PRIMARY KEY)`)
	p.Pipelines[0].Include = []string{"public.items"}
	p.Pipelines = append(p.Pipelines, daemon.Pipeline{
		Name: "other", Source: p.source, Target: p.target, Include: []string{"public.others"},
		InSource: daemon.Settings{"slot": daemon.Settings{"name": p.slot + "_o"}},
		InTarget: daemon.Settings{"tables": daemon.Settings{"create": true}},
	})
	p.start("ROWFERRY_FAILPOINTS=src.msg=panic")
	p.awaitFollowing()
	p.exec(`INSERT INTO items VALUES (1000, 'the message that breaks')`)
	halt := p.halted("engine.panic", "details are in")
	file := regexp.MustCompile(`details are in (\S+)`).FindStringSubmatch(halt.Happened)
	if file == nil {
		t.Fatalf("the halt names no file: %s", halt.Happened)
	}
	info, err := os.Stat(file[1])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file of details: %v, %v; want one that only we read", info, err)
	}
	if text := content(t, file[1]); !strings.Contains(text, "failpoint src.msg") || !strings.Contains(text, "goroutine") {
		t.Errorf("the details lack value or stack:\n%s", text)
	}
	if !strings.Contains(halt.Position, "/stream") {
		t.Errorf("the halt names the position %q, want where the target stands", halt.Position)
	}
	p.exec(`INSERT INTO others VALUES (1)`)
	p.eventually("the other pipeline to go on", func() (bool, string) {
		n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM others`)
		return err == nil && n == "1", n
	})
	p.stop()
	p.follow() // without the bug
	p.equal()
}

// smallDisk mounts a disk of 16 MB that a test may fill.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := newFolder(t)
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting a small disk takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Errorf("unmounting the small disk: %v", err)
		}
	})
	return folder
}

// fill takes all of a disk but the last bytes; the function given back frees it.
func fill(t *testing.T, disk string, leave int64) (free func()) {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(disk, &s); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, max(0, int64(s.Bavail)*s.Bsize-leave)), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
}

// TestFault19_SpillDiskFull: without room for transactions in progress the pipeline waits, and loses nothing.
func TestFault19_SpillDiskFull(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.Folder = smallDisk(t)
	early(t, p.source)
	p.follow()
	free := fill(t, p.Folder, 1<<20)
	p.exec(bigRows(10_000))
	p.waiting("source.spill_disk_full")
	p.notAcked()
	free()
	p.equal()
	p.stop()
}

// TestFault19_FileDiskFull: a file target whose disk is full waits; what was half written is cut off.
func TestFault19_FileDiskFull(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.Folder = smallDisk(t)
	events := p.intoFile()
	p.follow()
	free := fill(t, p.Folder, 1<<20)
	const rows = 5000
	p.exec(bigRows(rows))
	p.waiting("target.disk_full")
	free()
	p.eventually("every row to be in the file", func() (bool, string) {
		text := content(t, events)
		return strings.Count(text, "\n") == 100+rows, fmt.Sprint(strings.Count(text, "\n"))
	})
	p.stop()
	text := content(t, events)
	for id := 1001; id <= 1000+rows; id += 250 {
		if n := strings.Count(text, fmt.Sprintf(`"after":{"id":%d,`, id)); n != 1 {
			t.Fatalf("row %d is there %d times, want once", id, n)
		}
	}
}

// TestFault19_StateAndLogDiskFull: status files and logs are information: changes go on without them.
func TestFault19_StateAndLogDiskFull(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.Folder = smallDisk(t)
	p.follow()
	free := fill(t, p.Folder, 0)
	for i := range 20 {
		p.exec(fmt.Sprintf(`INSERT INTO items VALUES (%d, 'full')`, 1000+i))
	}
	p.equal()
	report, err := p.Status(p.ctx)
	if err != nil || report.Pipelines[0].State == progress.Halted || report.Pipelines[0].Retries > 0 {
		t.Errorf("got %+v, %v; want a pipeline that goes on", report.Pipelines, err)
	}
	p.stop()
	free()
	p.follow()
	p.exec(`INSERT INTO items VALUES (2000, 'after')`)
	p.equal()
	p.stop()
}

// notAcked wants the slot where the ledger is, or before it.
func (p *pair) notAcked() {
	p.t.Helper()
	confirmed := ask(p.t, p.source, `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot)
	const after = `SELECT ($1::pg_lsn - '0/0'::pg_lsn <= ('x' || lpad(split_part(token, '/', 3), 16, '0'))::bit(64)::bigint)::text
		FROM rowferry.ledger WHERE pipeline = 'shop'`
	if got := ask(p.t, p.target, after, confirmed); got != "true" {
		p.t.Errorf("the slot was told %s, which is beyond the ledger", confirmed)
	}
}
