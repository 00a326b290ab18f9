package postgres

import (
	"slices"

	"github.com/rowferry/rowferry/schema"
)

// A column that is added with a default gives it to the rows that are there, and nothing in the log says so. What they hold is
// asked of the catalog when the first message with the column comes, which may be long after: the answer counts only for a
// column that is certainly the one of the message.

// initialOf reads what the catalog says of the rows that are older than a column.
func initialOf(state, text string) schema.Initial {
	switch state {
	case "v":
		return schema.Initial{Known: true, Text: &text}
	case "n":
		return schema.Initial{Known: true}
	}
	return schema.Initial{}
}

// takeInitial gives the columns that v has over the version before what the catalog says of them, the present version being
// now. Only a column that got its number after that version is new, and the one of the same name and type in the catalog is
// the same as long as no column in between is gone: else it may have been dropped and added again with another default.
func (v *tableVersion) takeInitial(before, now *tableVersion) {
	if before.table == nil {
		return
	}
	if v.highest == 0 && before.within(v) { // made from a message alone
		v.highest = before.highest
	}
	for i := range v.columns {
		c := &v.columns[i]
		if c.computed || before.column(c.Name) != nil {
			v.highest = max(v.highest, c.number)
			continue
		}
		var initial schema.Initial
		if k := now.column(c.Name); k != nil && k.typ == c.typ && k.typmod == c.typmod && now.gained(before.highest, k.number) {
			initial, c.number = k.Initial, k.number
		}
		c.Initial = initial
		v.highest = max(v.highest, c.number)
		v.table.Columns[i].Initial = c.Initial
	}
}

// within tells whether v has every column of this version. If not, this one may be the later.
func (v *tableVersion) within(other *tableVersion) bool {
	for i := range v.columns {
		if other.column(v.columns[i].Name) == nil {
			return false
		}
	}
	return true
}

// gained tells whether a column's number was given after another, with none between them gone.
func (v *tableVersion) gained(after, number int16) bool {
	if number <= after {
		return false
	}
	for n := after + 1; n < number; n++ {
		if !slices.Contains(v.live, n) {
			return false
		}
	}
	return true
}

// doubt forgets what the catalog says of the columns that the target was never told of, unless they certainly came right after
// those it was told of: while nobody read the log, one may have been added, dropped and added again with another default.
func (v *tableVersion) doubt(told tableNames) {
	var last int16
	for i := range v.columns {
		if c := &v.columns[i]; slices.Contains(told.Columns, c.Name) {
			last = max(last, c.number)
		}
	}
	for i := range v.columns {
		c := &v.columns[i]
		if !slices.Contains(told.Columns, c.Name) && !v.gained(last, c.number) {
			c.Initial = schema.Initial{}
			v.table.Columns[i].Initial = c.Initial
		}
	}
}
