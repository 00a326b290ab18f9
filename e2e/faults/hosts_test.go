package faults

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault29_SeveralHosts: with several hosts in the URL, in whatever order, the one that takes writes is used, on
// both sides; and a target whose standby was promoted is followed there.
func TestFault29_SeveralHosts(t *testing.T) {
	t.Parallel()
	primary := servers.StartForTest(t, servers.Major(t))
	standby := servers.StandbyForTest(t, primary)
	source, target := "shop_source", "shop_target"
	servers.Exec(t, primary.URL("postgres"), "CREATE DATABASE "+source, "CREATE DATABASE "+target)
	p := pairOf(t, build(t), primary.URL(source), primary.URL(target))
	p.level(primary, standby)
	hosts := func(database string, in ...*servers.Server) string {
		return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&connect_timeout=2", servers.Hosts(in...), database)
	}
	p.Pipelines[0].Source = hosts(source, standby, primary)
	p.Pipelines[0].Target = hosts(target, standby, primary)
	p.follow()
	p.equal()
	p.stop()
	p.Pipelines[0].Source = hosts(source, primary, standby)
	p.Pipelines[0].Target = hosts(target, primary, standby)
	p.follow()
	p.exec(`INSERT INTO items VALUES (1000, 'other order')`)
	p.equal()
	if log := p.Log(); strings.Contains(log, "target.read_only") || strings.Contains(log, "pipeline retrying") {
		t.Error("a standby was taken for a target")
	}
}

// level waits until a standby has all that its primary has.
func (p *pair) level(primary, standby *servers.Server) {
	p.t.Helper()
	p.eventually("the standby to be level", func() (bool, string) {
		end := ask(p.t, primary.URL("postgres"), `SELECT pg_current_wal_flush_lsn()::text`)
		level, err := query(p.ctx, standby.URL("postgres"), `SELECT (pg_last_wal_replay_lsn() >= $1)::text`, end)
		return err == nil && level == "true", fmt.Sprint(level, err)
	})
}

// TestFault29_TargetFailsOver: when a target's standby is promoted, the pipeline finds it and goes on.
func TestFault29_TargetFailsOver(t *testing.T) {
	t.Parallel()
	primary := servers.StartForTest(t, servers.Major(t))
	standby := servers.StandbyForTest(t, primary)
	servers.Exec(t, primary.URL("postgres"), "CREATE DATABASE shop")
	p := pairOf(t, build(t), servers.ForTest(t, servers.Major(t)).NewDatabase(t), primary.URL("shop"))
	p.Pipelines[0].Target = fmt.Sprintf("postgres://postgres@%s/shop?sslmode=disable", servers.Hosts(primary, standby))
	p.follow()
	p.exec(`INSERT INTO items VALUES (1000, 'before')`)
	p.equal()
	p.level(primary, standby)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	p.exec(`INSERT INTO items VALUES (1001, 'while there is none')`)
	p.waiting("target") // a standby takes no writes
	if n := ask(t, standby.URL("shop"), `SELECT count(*)::text FROM items WHERE id = 1001`); n != "0" {
		t.Errorf("the standby has %s rows it should not", n)
	}
	servers.Exec(t, standby.URL("postgres"), `SELECT pg_promote()`)
	p.target = standby.URL("shop")
	p.equal()
	p.stop()
}

// pooler stands before a server as pgbouncer does: the process number that clients are given is its own.
func pooler(t *testing.T, of string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { pool(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	u.Host = listener.Addr().String()
	return u.String()
}

// pool carries one connection and changes the process number in BackendKeyData.
func pool(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	defer up.Wait()
	defer client.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if i := strings.Index(string(buffer[:n]), "K\x00\x00\x00\x0c"); i >= 0 && i+9 <= n {
			buffer[i+8] ^= 0xff
		}
		if _, writing := client.Write(buffer[:n]); err != nil || writing != nil {
			return
		}
	}
}

// TestFault31_Pooler: a pooler before source or target is found by check, and by run, which makes nothing behind it.
func TestFault31_Pooler(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, code string
		put        func(*testing.T, *pair)
	}{
		{"before the source", "source.pooler", func(t *testing.T, p *pair) { p.Pipelines[0].Source = pooler(t, p.source) }},
		{"before the target", "target.pooler", func(t *testing.T, p *pair) { p.Pipelines[0].Target = pooler(t, p.target) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := farPair(t, build(t))
			tt.put(t, p)
			p.start()
			p.halted(tt.code, "pgbouncer", "own address and port")
			p.stop()
			out, code := run(t, p, "check")
			if code == 0 || !strings.Contains(out, tt.code) {
				t.Errorf("check: got exit code %d, want %s:\n%s", code, tt.code, out)
			}
			if n := ask(t, p.source, `SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot); n != "0" {
				t.Error("a slot was made")
			}
			if n := ask(t, p.target, `SELECT coalesce(to_regnamespace('rowferry')::text, 'none')`); n != "none" {
				t.Error("a ledger was made")
			}
		})
	}
}
