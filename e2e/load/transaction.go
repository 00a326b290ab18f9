package load

import (
	"fmt"
	"strings"
)

// Kind is a unit of work: the smallest thing the generator puts into a transaction.
type Kind string

// The kinds.
const (
	Transfer  Kind = "transfer"   // between two accounts of the bank
	Append    Kind = "append"     // to a list, and a row for the element
	Hot       Kind = "hot"        // one more in the one row everybody updates
	Doc       Kind = "doc"        // an out-of-line value: written, left alone by an update, or taken away
	Move      Kind = "move"       // a row's key changes
	Wipe      Kind = "wipe"       // TRUNCATE of one table or two
	Refill    Kind = "refill"     // rows for the next TRUNCATE
	Big       Kind = "big"        // thousands of rows, in or out
	Sub       Kind = "sub"        // a row at some savepoint depth
	AddColumn Kind = "add_column" // a table grows a column and gets a row that uses it
	Change    Kind = "change"     // rows that were there before the load
)

// Statement is one statement of a transaction.
type Statement struct {
	Kind Kind // empty for what frames the transaction
	SQL  string
	// Factor is how many changes the log holds for each row the command tag counts: an upsert that also inserts
	// has 2. Savepoints, truncates and DDL have 0.
	Factor int
}

// Transaction is what one worker does at once.
type Transaction struct {
	// ID is the number the ledger tables carry: worker and count, unique over a run.
	ID         int64
	Statements []Statement // between BEGIN and the end
	Commit     bool        // false: it is rolled back
}

// Script is the transaction as SQL text.
func (t *Transaction) Script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "BEGIN; -- %d\n", t.ID)
	for _, s := range t.Statements {
		b.WriteString(s.SQL)
		b.WriteString(";\n")
	}
	if t.Commit {
		b.WriteString("COMMIT;\n")
	} else {
		b.WriteString("ROLLBACK;\n")
	}
	return b.String()
}

// Kinds counts the statements of the transaction by kind, those that a savepoint takes back too.
func (t *Transaction) Kinds() map[Kind]int {
	kinds := map[Kind]int{}
	for _, s := range t.Statements {
		if s.Kind != "" {
			kinds[s.Kind]++
		}
	}
	return kinds
}
