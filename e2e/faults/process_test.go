package faults

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// TestFault01_KilledWhileIdle kills a daemon that has nothing to do; the load goes on after it is back.
func TestFault01_KilledWhileIdle(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	tr := newTrial(t, 1, trial.Options{})
	flow(ctx, t, tr)
	more(ctx, t, tr, 60)
	tr.Load().Pause()
	if err := tr.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	tr.Daemon.Kill()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	tr.Load().Resume()
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
}

// TestFault07_KilledAfterTheSlotWasMade: a slot beside a ledger that says "creating" is ours, and is made again.
func TestFault07_KilledAfterTheSlotWasMade(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t, "failpoints"))
	p.start("ROWFERRY_FAILPOINTS=snap.after_slot=kill")
	<-p.Ended()
	const where = `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`
	left := ask(t, p.source, where, p.slot)
	if left == "" {
		t.Fatal("the kill left no slot: it did not come where it should")
	}
	p.exec(`INSERT INTO items VALUES (1000, 'between')`) // copied, and so must not come from the slot again
	p.follow()
	p.exec(`INSERT INTO items VALUES (1001, 'after')`)
	p.equal()
	if !strings.Contains(p.Log(), "made the slot") || strings.Contains(p.Log(), `"lsn":"`+left+`"`) {
		t.Errorf("the slot that was left at %s was not made again", left)
	}
}

// TestFault07_OrphanSlot: a slot of our name that no ledger knows is never used, nor dropped.
func TestFault07_OrphanSlot(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.exec(`SELECT pg_create_logical_replication_slot('` + p.slot + `', 'pgoutput')`)
	const where = `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`
	left := ask(t, p.source, where, p.slot)
	p.start()
	p.halted("source.slot_exists", p.slot, "pg_drop_replication_slot")
	if got := ask(t, p.source, where, p.slot); got != left {
		t.Errorf("the slot stands at %q, want %s: untouched", got, left)
	}
	if got := ask(t, p.target, `SELECT coalesce(to_regclass('items')::text, 'none')`); got != "none" {
		t.Errorf("the target has table %s, want none", got)
	}
}

// blocked makes the pipeline apply a transaction that waits for a lock at the target. The function given back lets
// it go on.
func blocked(p *pair, statement string) (release func()) {
	p.t.Helper()
	conn, err := pgx.Connect(p.ctx, p.target)
	if err != nil {
		p.t.Fatal(err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			_ = conn.Close(context.WithoutCancel(p.ctx)) // and with it the lock
		}
	}
	p.t.Cleanup(release)
	if _, err := conn.Exec(p.ctx, `BEGIN; LOCK TABLE items IN EXCLUSIVE MODE`); err != nil {
		p.t.Fatal(err)
	}
	p.exec(statement)
	p.eventually("the pipeline to wait for the lock", func() (bool, string) {
		n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM pg_stat_activity
			WHERE application_name LIKE 'rowferry%' AND wait_event_type = 'Lock' AND datname = current_database()`)
		return err == nil && n != "0", n
	})
	return release
}

// held tells where the target's ledger and the source's slot stand.
func held(p *pair) (ledger, confirmed string) {
	p.t.Helper()
	const ofLedger = `SELECT ('x' || lpad(split_part(token, '/', 3), 16, '0'))::bit(64)::bigint::text FROM rowferry.ledger WHERE pipeline = 'shop'`
	const ofSlot = `SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint::text FROM pg_replication_slots WHERE slot_name = $1`
	return ask(p.t, p.target, ofLedger), ask(p.t, p.source, ofSlot, p.slot)
}

// TestFault12_StoppedWhileApplying: one SIGTERM lets the transaction in hand finish, and acknowledges it.
func TestFault12_StoppedWhileApplying(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.follow()
	p.equal()
	release := blocked(p, `INSERT INTO items VALUES (1000, 'in hand')`)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.logged("stopping: finishing what was read")
	release()
	select {
	case <-p.Ended():
	case <-p.ctx.Done():
		t.Fatal("the daemon does not end")
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	p.equal() // nothing runs any more: it has to be there
	if ledger, confirmed := held(p); ledger != confirmed {
		t.Errorf("the ledger stands at %s, the slot was told %s: want the same", ledger, confirmed)
	}
}

// TestFault13_StopCutShort: a second SIGTERM, or the end of the grace period, drops the transaction in hand as a kill
// would; the next start applies it.
func TestFault13_StopCutShort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, grace string
		signals     int
		want        int
	}{
		{"second SIGTERM", "60s", 2, 143},
		{"grace period over", "500ms", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := farPair(t, build(t))
			p.Options.Args = []string{"--grace", tt.grace}
			p.follow()
			p.equal()
			release := blocked(p, `INSERT INTO items VALUES (1000, 'in hand')`)
			for range tt.signals {
				if err := p.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				p.logged("stopping: finishing what was read")
			}
			select {
			case <-p.Ended():
			case <-time.After(limit):
				t.Fatal("the daemon does not end while its transaction waits")
			}
			if code := p.ExitCode(); code != tt.want {
				t.Errorf("got exit code %d, want %d", code, tt.want)
			}
			release()
			if got := ask(t, p.target, `SELECT count(*)::text FROM items WHERE id = 1000`); got != "0" {
				t.Errorf("the target has %s rows of the transaction that was dropped, want 0", got)
			}
			p.follow()
			p.equal()
		})
	}
}

// TestFault14_FrozenWhileAnotherLeads: a daemon that is frozen while another takes over writes nothing when it is
// back.
func TestFault14_FrozenWhileAnotherLeads(t *testing.T) {
	t.Parallel()
	replaced(t, newTrial(t, 14, trial.Options{Targets: []trial.Target{trial.Postgres}}))
}

// replaced freezes the daemon of a trial with one pipeline, lets another take over, and wakes the first up. Where the
// machine is busy the other may give up for a moment, too, and the first lead again: with a new claim.
func replaced(t *testing.T, tr *trial.Trial) {
	t.Helper()
	ctx := bounded(t)
	flow(ctx, t, tr)
	more(ctx, t, tr, 60)
	zombie := tr.Daemon
	t.Cleanup(zombie.Kill)
	gone := standsBack(ctx, t, zombie)
	if err := zombie.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	leader, err := tr.Beside(newFolder(t), []string{"--take-over"})
	if err != nil {
		t.Fatal(err)
	}
	tr.Daemon = leader
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	more(ctx, t, tr, 60)
	if err := zombie.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := eventually(ctx, "the zombie to stand back", gone); err != nil {
		t.Fatalf("%v\nthe zombie:\n%s\nthe leader:\n%s", err, zombie.LogEnd(), leader.LogEnd())
	}
	more(ctx, t, tr, 60)
	zombie.Kill()
	if err := tr.AwaitFollowing(ctx); err != nil { // nor does the zombie shut it out
		t.Fatal(err)
	}
	finish(ctx, t, tr)
}

// standsBack gives a function that tells whether a daemon with one pipeline has given up what it does now.
func standsBack(ctx context.Context, t *testing.T, d *daemon.Daemon) func() (bool, string) {
	t.Helper()
	before, err := d.Status(ctx)
	if err != nil || len(before.Pipelines) != 1 {
		t.Fatalf("got %v, %v, want one pipeline", before, err)
	}
	return func() (bool, string) {
		report, err := d.Status(ctx)
		if err != nil || len(report.Pipelines) != 1 {
			return false, "silent"
		}
		s := report.Pipelines[0]
		fenced := s.Halt != nil && s.Halt.Code == "target.fenced"
		return fenced || s.Retries > before.Pipelines[0].Retries, string(s.State) + " " + s.Waiting
	}
}

// TestFault14_FrozenInATransaction: one that is frozen with its transaction open does not keep its successor out.
func TestFault14_FrozenInATransaction(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	p.follow()
	p.equal()
	release := blocked(p, `INSERT INTO items VALUES (1000, 'in hand')`)
	zombie := p.Daemon
	t.Cleanup(zombie.Kill)
	gone := standsBack(p.ctx, t, zombie)
	if err := zombie.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	release()
	p.Folder, p.Options.Args = newFolder(t), []string{"--take-over"}
	p.follow()
	p.equal()
	if err := zombie.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.exec(`INSERT INTO items VALUES (1001, 'after')`)
	p.equal()
	p.eventually("the zombie to stand back", gone)
}

// TestFault15_TwoAtOnce starts two daemons of one configuration at the same time: one works, the other stands by and
// says for whom, and takes over when the first is killed.
func TestFault15_TwoAtOnce(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]trial.Target{"into a database": trial.Postgres, "into a file": trial.File} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := farPair(t, build(t))
			if target == trial.File {
				p.intoFile()
			}
			p.start()
			o := p.Options
			o.Folder = newFolder(t)
			second, err := daemon.Start(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Kill)
			both := []*daemon.Daemon{p.Daemon, second}
			var working, standing *daemon.Daemon
			p.eventually("one to work and one to stand by", func() (bool, string) {
				working, standing = nil, nil
				var how []string
				for _, d := range both {
					report, err := d.Status(p.ctx)
					if err != nil || len(report.Pipelines) != 1 {
						return false, "silent"
					}
					s := report.Pipelines[0]
					switch {
					case s.Halt != nil:
						t.Fatalf("one halted with %s: %s", s.Halt.Code, s.Halt.Happened)
					case s.State == progress.Standby && strings.Contains(s.Waiting, "rowferry:shop"):
						standing = d
					case daemon.Following(s):
						working = d
					}
					how = append(how, string(s.State)+" "+s.Waiting)
				}
				return working != nil && standing != nil, strings.Join(how, "; ")
			})
			working.Kill()
			p.Daemon = standing
			p.awaitFollowing()
			p.exec(`INSERT INTO items VALUES (1000, 'after')`)
			if target == trial.Postgres {
				p.equal()
				return
			}
			p.eventually("the file to hold the row", func() (bool, string) {
				text := content(t, strings.TrimPrefix(p.Pipelines[0].Target, "file:"))
				return strings.Count(text, "\n") == 101, text[max(0, len(text)-200):]
			})
		})
	}
}
