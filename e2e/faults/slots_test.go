package faults

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestFault32_SourceStopsImmediately stops the source's server without a checkpoint while changes flow. What the
// slot was told may be forgotten by it; what comes again is dropped.
func TestFault32_SourceStopsImmediately(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	server := servers.StartForTest(t, servers.Major(t))
	tr := newTrial(t, 32, trial.Options{Source: server.NewDatabase(t), Target: servers.ForTest(t, servers.Major(t)).NewDatabase(t)})
	flow(ctx, t, tr)
	for range 2 {
		more(ctx, t, tr, 60)
		if err := server.Stop(syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
}

// TestFault35_SlotDroppedWhileRunning: a slot that is dropped under a pipeline is a gap, and never made again.
func TestFault35_SlotDroppedWhileRunning(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.follow()
	p.equal()
	const slots = `SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = $1`
	p.eventually("the slot to be gone", func() (bool, string) {
		_, err := query(p.ctx, p.source, `SELECT count(pg_terminate_backend(active_pid))::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot)
		if err != nil {
			return false, err.Error()
		}
		_, err = query(p.ctx, p.source, `SELECT count(pg_drop_replication_slot(slot_name))::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot)
		return err == nil && ask(t, p.source, slots, p.slot) == "0", fmt.Sprint(err)
	})
	p.exec(`INSERT INTO items VALUES (1000, 'in the gap')`)
	p.halted("source.slot_missing", "teardown")
	if got := ask(t, p.source, slots, p.slot); got != "0" {
		t.Error("the slot was made again after the halt")
	}
	p.onTarget(`SELECT count(*)::text FROM items`, "100")
}

// TestFault36_SlotInvalidatedWhileRunning: the server removes log that a pipeline which waits for its target still
// needs.
func TestFault36_SlotInvalidatedWhileRunning(t *testing.T) {
	t.Parallel()
	server := servers.StartForTest(t, servers.Major(t), "max_slot_wal_keep_size=1MB", "max_wal_size=32MB", "min_wal_size=32MB")
	p := pairOf(t, build(t), server.NewDatabase(t), servers.ForTest(t, servers.Major(t)).NewDatabase(t))
	p.follow()
	p.equal()
	release := blocked(p, `INSERT INTO items VALUES (1000, 'waits')`)
	p.eventually("the slot to be invalidated", func() (bool, string) {
		p.exec(`SELECT count(pg_logical_emit_message(false, 'noise', repeat('x', 100000))) FROM generate_series(1, 100)`,
			`SELECT pg_switch_wal()`, `CHECKPOINT`)
		status := ask(t, p.source, `SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1`, p.slot)
		return status == "lost", status
	})
	release()
	p.halted("source.slot_lost", p.slot, "teardown")
}

// TestFault38_SlotReadByAnother: a reader that is not ours is waited for and named, never ended.
func TestFault38_SlotReadByAnother(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.follow()
	p.equal()
	p.stop()
	p.exec(`INSERT INTO items VALUES (1000, 'meanwhile')`)
	end := readSlotAs(p, "somebody_else")
	p.start()
	p.waiting("somebody_else")
	p.onTarget(`SELECT count(*)::text FROM items`, "100")
	end()
	p.equal()
}

// TestFault39_PublicationChangedWhileRunning: what a publication leaves out is never a silent hole.
func TestFault39_PublicationChangedWhileRunning(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, change, code, text string }{
		{"publication dropped", `DROP PUBLICATION pub`, "source.publication_missing", ""},
		{"table removed", `ALTER PUBLICATION pub DROP TABLE items`, "source.publication_changed", "public.items"},
		{"row filter", `ALTER PUBLICATION pub SET TABLE items WHERE (id > 5), other`, "source.publication_changed", "public.items"},
		{"column list", `ALTER PUBLICATION pub SET TABLE items (id), other`, "source.publication_changed", "public.items"},
		{"operations", `ALTER PUBLICATION pub SET (publish = 'insert')`, "source.publication_changed", "publish"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pairWith(t, []string{`CREATE TABLE other (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR TABLE items, other`}, nil)
			p.Pipelines[0].InSource["publication"] = map[string]any{"name": "pub"}
			p.follow()
			p.equal()
			p.exec(tt.change, `INSERT INTO other VALUES (1)`)
			p.halted(tt.code, tt.text)
		})
	}
}

// TestFault50_CopyCutInTheMiddle: rows that COPY wrote share places in the log. A connection that ends among them
// loses none.
func TestFault50_CopyCutInTheMiddle(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	between := proxy.ForTest(t, hostOf(t, p.source))
	p.Pipelines[0].Source = strings.Replace(p.source, hostOf(t, p.source), between.Addr(), 1)
	p.follow()
	p.equal()
	between.Set(proxy.ToClient, proxy.Toxic{CutAfter: 1 << 20})
	copyRows(p, 1001, 60000)
	p.eventually("the connection to be cut", func() (bool, string) {
		report, err := p.Status(p.ctx)
		return err == nil && report.Pipelines[0].Retries > 0, ""
	})
	between.Heal()
	p.equal()
}
