package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sources"
	"github.com/rowferry/rowferry/sources/sourcetest"
)

func TestConformance(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Harness{New: func(t *testing.T) sourcetest.Database { return newDatabase(t, major) }})
		})
	}
}

// newDatabase is a database for one case of the suite.
func newDatabase(t *testing.T, major int) sourcetest.Database {
	url := servers.ForTest(t, major).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE items (id bigint PRIMARY KEY, v text)`)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	var mu sync.Mutex // guards conn: Read may be called beside Apply
	return sourcetest.Database{
		Source: func(t testing.TB) sources.Source {
			return newSource(t, url, func(_ *Config, rt *sources.Runtime) { rt.Snapshot.ChunkSize = 64 << 10 })
		},
		Apply: func(t testing.TB, ops ...sourcetest.Op) {
			mu.Lock()
			defer mu.Unlock()
			if err := apply(conn, ops); err != nil {
				t.Errorf("changing the source: %v", err)
			}
		},
		Read: func(t testing.TB) map[int64]string {
			mu.Lock()
			defer mu.Unlock()
			rows, err := conn.Query(context.Background(), `SELECT id, v FROM items`)
			if err != nil {
				t.Fatal(err)
			}
			held := map[int64]string{}
			var id int64
			var v string
			if _, err := pgx.ForEachRow(rows, []any{&id, &v}, func() error { held[id] = v; return nil }); err != nil {
				t.Fatal(err)
			}
			return held
		},
		Made: func(t testing.TB) []string {
			text := value(t, url, `SELECT string_agg(name, ' ') FROM (
				SELECT 'slot:' || slot_name AS name FROM pg_replication_slots WHERE database = current_database()
				UNION ALL SELECT 'publication:' || pubname FROM pg_publication) AS made`)
			if text == "<null>" {
				return nil
			}
			return strings.Fields(text)
		},
		Acked: func(t testing.TB) uint64 {
			lsn, err := parseLSN(value(t, url, `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()`))
			if err != nil {
				t.Fatal(err)
			}
			return uint64(lsn)
		},
	}
}

// apply makes changes in one transaction, pipelined.
func apply(conn *pgx.Conn, ops []sourcetest.Op) error {
	ctx := context.Background()
	batch := &pgx.Batch{}
	for _, op := range ops {
		switch op.Op {
		case schema.OpCreate:
			batch.Queue(`INSERT INTO items VALUES ($1, $2)`, op.Key, op.Text)
		case schema.OpUpdate:
			batch.Queue(`UPDATE items SET id = $2, v = $3 WHERE id = $1`, op.Key, op.To, op.Text)
		case schema.OpDelete:
			batch.Queue(`DELETE FROM items WHERE id = $1`, op.Key)
		}
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
}
