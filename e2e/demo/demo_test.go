package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/e2e/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFoldFindsWhatIsWrong(t *testing.T) {
	line := func(op, lsn, before, after string) string {
		return fmt.Sprintf(`{"op":%q,"before":%s,"after":%s,"source":{"table":"order_items","lsn":%s}}`+"\n", op, before, after, lsn)
	}
	const one, two = `{"order_id":1,"line":1,"quantity":7}`, `{"order_id":1,"line":2,"quantity":8}`
	tests := []struct{ name, lines, want string }{
		{"as it should be", line("r", "5", "null", one) + line("u", "6", one, `{"order_id":1,"line":2}`) + line("d", "7", two, "null"), ""},
		{"doubled insert", line("c", "5", "null", one) + line("c", "5", "null", one), "there already"},
		{"lost insert", line("u", "5", "null", one), "is not there"},
		{"lost before a delete", line("d", "5", one, "null"), "is not there"},
		{"reordered", line("c", "6", "null", one) + line("u", "5", "null", one), "goes back"},
		{"key taken", line("c", "5", "null", one) + line("c", "6", "null", two) + line("u", "7", one, two), "there already"},
		{"torn line", `{"op":"c"`, "has no end"},
		{"no JSON", "x\n", "line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			if err := os.WriteFile(path, []byte(tt.lines), 0o600); err != nil {
				t.Fatal(err)
			}
			state, _, err := foldFile(path)
			if tt.want == "" && (err != nil || len(state["order_items"]) != 0) {
				t.Errorf("got %v and error %v, want neither", state["order_items"], err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestShopAndComparisons(t *testing.T) {
	server := servers.ForTest(t, major)
	shop := server.NewDatabase(t)
	if _, err := fill(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	w := startWriter(t.Context(), shop)
	for deadline := time.Now().Add(20 * time.Second); w.counts().transactions < 300 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if total, err := w.stop(); err != nil || total.transactions < 300 {
		t.Fatalf("got %d transactions and error %v, want 300 and none", total.transactions, err)
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	writeAsFile(t, shop, path)

	if _, rows, err := compareFile(t.Context(), shop, path); err != nil || rows < 4*orderCount {
		t.Errorf("comparing an equal file: got %d rows and error %v, want none", rows, err)
	}
	if rows, err := compareDatabases(t.Context(), shop, shop); err != nil || rows < 4*orderCount {
		t.Errorf("comparing a database with itself: got %d rows and error %v, want none", rows, err)
	}
	servers.Exec(t, shop, `UPDATE products SET price = price + 0.01 WHERE id = 77`)
	if _, _, err := compareFile(t.Context(), shop, path); err == nil || !strings.Contains(err.Error(), "row 77, column price") {
		t.Errorf("comparing a file that differs: got error %v, want one about the row", err)
	}
	other := server.NewDatabase(t)
	servers.Exec(t, other, shopSchema)
	if _, err := compareDatabases(t.Context(), shop, other); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("comparing with an empty database: got error %v, want a missing row", err)
	}
}

// writeAsFile writes every row as the target file would hold it after a copy.
func writeAsFile(t *testing.T, url, path string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET timezone = 'UTC'`); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := json.NewEncoder(f)
	for _, table := range tables {
		result := conn.PgConn().ExecParams(ctx, `SELECT * FROM `+table.name, nil, nil, nil, nil)
		for result.NextRow() {
			after := map[string]any{}
			for i, field := range result.FieldDescriptions() {
				after[field.Name] = columnText(field, result.Values()[i])
				if result.Values()[i] == nil {
					after[field.Name] = nil
				}
			}
			line := map[string]any{"op": "r", "after": after, "source": map[string]any{"table": table.name, "lsn": 1}}
			if err := out.Encode(line); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := result.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
