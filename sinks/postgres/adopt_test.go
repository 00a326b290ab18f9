package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema/fault"
)

// TestColumnsAddedWhileNobodyLooked: after a restart, or a copy that begins again, the version before is not known.
// What the target's table has seen says whether the column can be new.
func TestColumnsAddedWhileNobodyLooked(t *testing.T) {
	wider := tableOf("accounts", "*id integer", "owner text", "email text", "born date")
	tests := []struct {
		name, target string
		want         []string // nil: it halts
	}{
		{"the table is as it was made", `INSERT INTO accounts VALUES (1, 'a')`, []string{"1|a|<NULL>|<NULL>", "2|b|<NULL>|2020-01-02"}},
		{"it lost a column, and is empty", `ALTER TABLE accounts ADD born date; ALTER TABLE accounts DROP born`, []string{"2|b|<NULL>|2020-01-02"}},
		{"it lost a column, and has rows", `INSERT INTO accounts VALUES (1, 'a'); ALTER TABLE accounts ADD born date; ALTER TABLE accounts DROP born`, nil},
		{"a column was renamed", `INSERT INTO accounts VALUES (1, 'a'); ALTER TABLE accounts ADD birthday date`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDB(t, 15, accountsDDL, test.target)
			s := d.stream(func(c *Config) { c.SchemaChanges = "add_columns" })
			err := s.commit(newBatch().insert(wider, 2, "b", nil, "2020-01-02"))
			if test.want == nil {
				if fault.Of(err).Code != "target.schema_mismatch" {
					t.Errorf("got %v, want target.schema_mismatch", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
