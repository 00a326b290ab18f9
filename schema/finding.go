package schema

// Severity ranks a [Finding].
type Severity uint8

// The severities.
const (
	Pass Severity = iota
	Warning
	Problem
)

// Finding is one line of a check: what was looked at, what was found, and how to mend it.
type Finding struct {
	Area     string   // "source", "tables", "target"
	Name     string   // "wal_level", "replication slot", "public.orders"
	Severity Severity //
	Text     string   // what was found
	Code     string   // the fault it would lead to, empty for a pass
	Fix      string   // exact SQL or setting, one step a line
}
