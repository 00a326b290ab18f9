package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Identity says which columns the source sends to name an existing row: Postgres' replica identity.
type Identity uint8

// The identities.
const (
	IdentityDefault Identity = iota // the primary key
	IdentityIndex                   // the columns of one unique index
	IdentityFull                    // every column
	IdentityNothing                 // none: updates and deletes cannot be published
)

// Column is one column of a [Table] version.
type Column struct {
	Name      string
	Kind      Kind
	Elem      Kind     // of the elements of an array or range
	Native    string   // the type as the source spells it: numeric(10,2), public.mood, character varying(20)
	Base      string   // for a domain, the type it rests on; otherwise equal to Native
	Labels    []string // of an enum or set, or of the elements of an array, in order
	Precision int32    // decimal digits in all, or of fractional seconds; -1 where the type has none
	Scale     int32    // decimal digits after the point
	NotNull   bool
	Generated bool  // computed by the source's database; targets compute their own
	Always    bool  // an identity column that refuses given values unless overridden
	Ident     bool  // part of the replica identity: present in before images
	KeyPart   int16 // 1-based place in the primary key, 0 when not part of it
	// UniquePart is the 1-based place in the first unique index of a table without a primary key, which may tell rows
	// apart; 0 when not part of it. Like Default it is no part of the definition.
	UniquePart int16
	// Initial is what rows hold here that are older than the column. It is no part of the definition: a target that
	// gains the column needs it once, and the source forgets it when it rewrites the table.
	Initial Initial
	// Default is the expression of the column's default, as the source spells it; empty for none. It is no part of the
	// definition either: the source does not tell when it alone changes.
	Default string
}

// Initial is the value of a column in the rows that were there before it. The zero value says that it is not known, or that
// those rows have different ones.
type Initial struct {
	Known bool
	Text  *string // the canonical text; nil for NULL
}

// Table is one version of a table's definition. It is immutable once a change refers to it: equal pointers mean
// equal definitions, and a definition that changed is another Table.
type Table struct {
	Schema   string
	Name     string
	Columns  []Column
	Identity Identity
	// Version is a hash of everything above but initial values, defaults and unique indexes, so the same definition has the
	// same version wherever it is seen.
	Version string
}

// String is the table's full name, quoted where a plain identifier would not do.
func (t *Table) String() string { return QuoteName(t.Schema) + "." + QuoteName(t.Name) }

// QuoteName quotes an identifier for messages and patterns when it is not plain lower-case.
func QuoteName(name string) string {
	plain := name != ""
	for i, c := range []byte(name) {
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			plain = false
		}
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Key lists the ordinals of the primary key's columns in key order, empty when there is none.
func (t *Table) Key() []int { return t.inOrder(func(c *Column) int16 { return c.KeyPart }) }

// UniqueKey lists the ordinals of the columns of the first unique index of a table without a primary key, in its order,
// empty when there is none. Some of them may be NULL.
func (t *Table) UniqueKey() []int { return t.inOrder(func(c *Column) int16 { return c.UniquePart }) }

// inOrder lists the ordinals of columns that have a 1-based place.
func (t *Table) inOrder(place func(*Column) int16) []int {
	var key []int
	for part := int16(1); ; part++ {
		found := false
		for i := range t.Columns {
			if place(&t.Columns[i]) == part {
				key, found = append(key, i), true
			}
		}
		if !found {
			return key
		}
	}
}

// IdentKey lists the ordinals of the columns that name a row in before images.
func (t *Table) IdentKey() []int {
	var key []int
	for i := range t.Columns {
		if t.Columns[i].Ident {
			key = append(key, i)
		}
	}
	return key
}

// WithVersion sets t.Version from the definition and returns t. Call it once, before t is shared.
func (t *Table) WithVersion() *Table {
	h := sha256.New()
	field(h, t.Schema, t.Name, fmt.Sprint(t.Identity))
	for i := range t.Columns {
		c := &t.Columns[i]
		field(h, c.Name, fmt.Sprint(c.Kind, c.Elem), c.Native, c.Base, fmt.Sprint(c.Precision, c.Scale),
			fmt.Sprint(c.NotNull, c.Generated, c.Always, c.Ident, c.KeyPart), fmt.Sprint(len(c.Labels)))
		field(h, c.Labels...)
	}
	t.Version = hex.EncodeToString(h.Sum(nil)[:8])
	return t
}

// field writes length-prefixed texts, so that no two definitions share one byte sequence.
func field(h hash.Hash, texts ...string) {
	for _, s := range texts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
}
