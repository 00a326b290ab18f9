package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// TestColumnsThatTakeTheNamesOfOthersHalt: rows of the target have values of the columns before, if it has rows, and holds these columns.
func TestColumnsThatTakeTheNamesOfOthersHalt(t *testing.T) {
	tests := []struct {
		name, target string
		columns      []string
		says         string // what the halt names; nothing for none
	}{
		{"with rows", `INSERT INTO accounts VALUES (1, 'a')`, []string{"email", "owner"}, "table public.accounts has other columns at the source now under the names owner, email:"},
		{"one that is not at the target", `INSERT INTO accounts VALUES (1, 'a')`, []string{"born", "email"}, "under the names email:"},
		{"none that is at the target", `INSERT INTO accounts VALUES (1, 'a')`, []string{"born"}, ""},
		{"without rows", `SELECT 1`, []string{"email"}, ""},
		{"computed at the target", `ALTER TABLE accounts DROP email; ALTER TABLE accounts ADD email text GENERATED ALWAYS AS (owner || '@') STORED;
			INSERT INTO accounts VALUES (1, 'a')`, []string{"email"}, ""},
		{"rows in a partition", `DROP TABLE accounts; CREATE TABLE accounts (id int PRIMARY KEY, email text) PARTITION BY RANGE (id);
			CREATE TABLE low PARTITION OF accounts FOR VALUES FROM (0) TO (9); INSERT INTO accounts VALUES (1)`, []string{"email"}, "email"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDB(t, 15, accountsDDL, test.target)
			s := d.stream(nil)
			b := &batch{Batch: schema.NewBatch(nil)}
			b.Takeovers = []schema.Takeover{{Table: &schema.Table{Schema: "public", Name: "accounts"}, Columns: test.columns}}
			err := s.commit(b)
			if test.says == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if got := fault.Of(err); got.Code != "target.schema_mismatch" || got.Class != fault.Terminal ||
				!containsAll(got.Error(), test.says) || !containsAll(got.Remedy, "source.publication.changed: accept") {
				t.Fatalf("got %v, want target.schema_mismatch that says %q and how to go on", err, test.says)
			}
			_ = s.w.Close()
			_, held := d.open(nil)
			if held.Seq != s.seq {
				t.Errorf("the position moved from %d to %d", s.seq, held.Seq)
			}
			if diff := cmp.Diff([]string{"1"}, d.lines(`SELECT count(*) FROM accounts`)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestColumnsThatTakeTheNamesOfOthersInATableThatIsGone: under another name, nobody would look at it again.
func TestColumnsThatTakeTheNamesOfOthersInATableThatIsGone(t *testing.T) {
	d := newDB(t, 15, accountsDDL, `ALTER TABLE accounts RENAME TO clients`)
	s := d.stream(nil)
	b := &batch{Batch: schema.NewBatch(nil)}
	b.Takeovers = []schema.Takeover{{Table: &schema.Table{Schema: "public", Name: "accounts"}, Columns: []string{"email"}}}
	if got := fault.Of(s.commit(b)); got.Code != "target.table_missing" || !containsAll(got.Error(), "public.accounts", "email") {
		t.Errorf("got %v, want target.table_missing that names table and column", got)
	}
}
