package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place is where a change stands in the source's log, as its record's headers say.
type place struct{ end, lsn, seq uint64 }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.end, q.end), cmp.Compare(p.lsn, q.lsn), cmp.Compare(p.seq, q.seq))
}

// change is a record that is no tombstone.
type change struct {
	place
	placed bool // false for what belongs to no transaction of the source: the copy
	record *kgo.Record
	op     string
	table  string // schema and name
	newKey []byte // of the delete that is one half of an update that gave its row another key
	oldKey []byte // of the other half, the create
}

// assembly makes one list out of the records of topics, in the order of the source, by what readers are told of them:
// rows of a copy that began anew are forgotten, a truncate, which is in every partition, counts once, and the two halves
// of a change of key are one update again. What is not as readers are told becomes a line that is no JSON.
type assembly struct {
	partitions map[string]int // by topic
	copied     []change
	changes    []change
	wrong      []string

	// Of the partition at hand.
	topic     string
	partition int32
	rows      []change // copied
	last      *change  // in the log
	deleted   *change  // whose tombstone is still to come
}

// add takes the next record; those of a partition come together, in their order.
func (a *assembly) add(record *kgo.Record) {
	if a.topic != record.Topic || a.partition != record.Partition {
		a.turn()
		a.topic, a.partition = record.Topic, record.Partition
	}
	if !record.Attrs.IsTransactional() {
		a.object(record, "it was written outside any transaction")
	}
	if record.Value == nil {
		if a.deleted == nil || !bytes.Equal(a.deleted.record.Key, record.Key) {
			a.object(record, "a tombstone without its delete")
		}
		a.deleted = nil
		return
	}
	if a.deleted != nil {
		a.object(a.deleted.record, "a delete without its tombstone")
		a.deleted = nil
	}
	c, err := read(record)
	switch {
	case err != nil:
		a.object(record, err.Error())
	case c.placed:
		a.change(c)
	case a.last != nil:
		a.object(record, "a copied row after changes")
	case c.op == "r":
		a.rows = append(a.rows, c)
	case c.op == "t":
		a.rows = slices.DeleteFunc(a.rows, func(row change) bool { return row.table == c.table })
	default:
		a.object(record, "it does not say which transaction it belongs to")
	}
}

// change takes the next change of the log.
func (a *assembly) change(c change) {
	if a.last != nil && c.compare(a.last.place) < 0 {
		a.object(c.record, fmt.Sprintf("it belongs before the record at %d", a.last.record.Offset))
	}
	a.changes = append(a.changes, c)
	a.last = &c
	if c.op == "d" && c.record.Key != nil {
		a.deleted = &c
	}
}

// turn ends a partition.
func (a *assembly) turn() {
	if a.deleted != nil {
		a.object(a.deleted.record, "a delete without its tombstone")
	}
	a.copied = append(a.copied, a.rows...)
	a.rows, a.last, a.deleted = nil, nil, nil
}

func (a *assembly) object(record *kgo.Record, why string) {
	a.wrong = append(a.wrong, fmt.Sprintf("%s/%d at %d: %s", record.Topic, record.Partition, record.Offset, why))
}

// lines ends the last partition and writes everything, a line each: copied rows, changes, and what is wrong.
func (a *assembly) lines() []byte {
	a.turn()
	var out []byte
	line := func(text []byte) { out = append(append(out, text...), '\n') }
	for _, c := range a.copied {
		line(c.record.Value)
	}
	slices.SortStableFunc(a.changes, func(x, y change) int { return x.compare(y.place) })
	for left := a.changes; len(left) > 0; {
		n := slices.IndexFunc(left, func(c change) bool { return c.place != left[0].place })
		if n < 0 {
			n = len(left)
		}
		for _, text := range a.one(left[:n]) {
			line(text)
		}
		left = left[n:]
	}
	for _, text := range a.wrong {
		line([]byte("! " + text))
	}
	return out
}

// one makes out of the records of one place the change they tell.
func (a *assembly) one(same []change) [][]byte {
	switch {
	case same[0].op == "t":
		return a.truncates(same)
	case len(same) == 2 && same[0].table == same[1].table && same[0].newKey == nil != (same[1].newKey == nil):
		removed, added := same[0], same[1]
		if removed.newKey == nil {
			removed, added = added, removed
		}
		update, err := join(removed, added)
		if err == nil {
			return [][]byte{update}
		}
		a.object(removed.record, err.Error())
	case len(same) > 1:
		a.object(same[1].record, "another record has its place")
	case same[0].newKey != nil || same[0].oldKey != nil:
		a.object(same[0].record, "half of a change of key")
	}
	var texts [][]byte
	for _, c := range same {
		texts = append(texts, c.record.Value)
	}
	return texts
}

// truncates takes each table once. Every partition of its topic must say so.
func (a *assembly) truncates(same []change) [][]byte {
	var texts [][]byte
	for len(same) > 0 {
		first := same[0]
		texts = append(texts, first.record.Value)
		there := len(same)
		same = slices.DeleteFunc(slices.Clone(same), func(c change) bool {
			return c.table == first.table && c.op == "t" && bytes.Equal(c.record.Value, first.record.Value)
		})
		if there -= len(same); there != a.partitions[first.record.Topic] {
			a.object(first.record, fmt.Sprintf("a truncate in %d of %d partitions", there, a.partitions[first.record.Topic]))
		}
	}
	return texts
}

// join makes an update of its two halves.
func join(removed, added change) ([]byte, error) {
	if removed.op != "d" || added.op != "c" || !bytes.Equal(removed.newKey, added.record.Key) || !bytes.Equal(added.oldKey, removed.record.Key) {
		return nil, errors.New("the halves of a change of key do not fit")
	}
	var before struct{ Before json.RawMessage }
	if err := json.Unmarshal(removed.record.Value, &before); err != nil {
		return nil, err
	}
	var update map[string]json.RawMessage
	if err := json.Unmarshal(added.record.Value, &update); err != nil {
		return nil, err
	}
	update["op"], update["before"] = json.RawMessage(`"u"`), before.Before
	return json.Marshal(update)
}

// read reads a record that is no tombstone.
func read(record *kgo.Record) (change, error) {
	var value struct {
		Op     string
		Source struct{ Schema, Table string }
	}
	if err := json.Unmarshal(record.Value, &value); err != nil {
		return change{}, fmt.Errorf("reading its value: %w", err)
	}
	c := change{record: record, op: value.Op, table: value.Source.Schema + "." + value.Source.Table}
	for _, header := range record.Headers {
		var err error
		switch header.Key {
		case "rowferry.end":
			c.placed = true
			c.end, err = number(header)
		case "rowferry.lsn":
			c.lsn, err = number(header)
		case "rowferry.seq":
			c.seq, err = number(header)
		case "rowferry.newkey":
			c.newKey = header.Value
		case "rowferry.oldkey":
			c.oldKey = header.Value
		}
		if err != nil {
			return change{}, err
		}
	}
	if !c.placed && c.op == "m" { // outside any transaction, it stands where it was written
		c.placed, c.end = true, c.lsn
	}
	return c, nil
}

func number(header kgo.RecordHeader) (uint64, error) {
	n, err := strconv.ParseUint(string(header.Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading its header %s: %w", header.Key, err)
	}
	return n, nil
}
