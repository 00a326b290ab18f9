package oracle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topics brings the records of a pipeline's topics, in the json format or that of Debezium with schemas, into the
// source's order, and judges what only topics can have wrong: the order within each partition, keys that share one,
// transactions of the source that more than one transaction of Kafka holds, tombstones.
type topics struct {
	report *Report
	sizes  map[string]int32 // partitions by topic
	java   map[string]kgo.TopicPartitioner
	parts  map[place]*topicPart
	keys   map[keyOf]int32
	read   int

	envelopes Envelopes
}

// topicPart is one partition.
type topicPart struct {
	lines     []topicLine
	streaming bool   // copied rows have ended
	end, lsn  uint64 // of the last change
	ended     bool   // a transaction of Kafka has ended since
	deleted   []byte // key of the delete that a tombstone has to follow
}

// topicLine is one change, or a half of one: an update that changes the key is a delete and a create.
type topicLine struct {
	record   *kgo.Record
	topic    string
	end, lsn uint64
	change   topicChange
	text     []byte // the record's value
	oldHalf  bool
	newHalf  bool
}

// topicChange is what is looked at before a line is folded.
type topicChange struct {
	Op     string `json:"op"`
	Source struct {
		Schema   string `json:"schema"`
		Table    string `json:"table"`
		Snapshot string `json:"snapshot"`
	} `json:"source"`
}

// ReadKafka judges the topics of tables as Read does a file: in the source's order, which records tell. Nobody may
// write to them. Records that belong to a copy which began anew are forgotten, as the records that say so ask for.
func (f *File) ReadKafka(ctx context.Context, reader KafkaReader) error {
	reader.Markers = true
	if err := reader.Settle(ctx); err != nil {
		return err
	}
	if err := reader.Hanging(ctx, f.report); err != nil {
		return err
	}
	partitions, err := reader.Partitions(ctx)
	if err != nil {
		return err
	}
	t := &topics{
		report: f.report, sizes: map[string]int32{}, java: map[string]kgo.TopicPartitioner{},
		parts: map[place]*topicPart{}, keys: map[keyOf]int32{},
	}
	for _, p := range partitions {
		if t.sizes[p.Topic]++; f.Spread > 0 {
			t.sizes[p.Topic] = f.Spread
		}
		t.parts[place{p.Topic, p.Partition}] = &topicPart{}
	}
	for record, err := range reader.Records(ctx) {
		if err != nil {
			return err
		}
		t.judge(record)
	}
	f.report.Looked("kafka records", t.read)
	for _, line := range t.merged() {
		f.line++
		f.judge(line)
	}
	return nil
}

// judge sees the next record of its partition, or the end of a transaction.
func (t *topics) judge(record *kgo.Record) {
	p := t.parts[place{record.Topic, record.Partition}]
	if record.Attrs.IsControl() {
		p.ended = true
		return
	}
	t.read++
	if !record.Attrs.IsTransactional() {
		t.report.Add(Wrong, "%s was written outside any transaction", where(record))
	}
	t.placed(record)
	if record.Value == nil {
		if p.deleted == nil || string(p.deleted) != string(record.Key) || p.ended {
			t.report.Add(Wrong, "%s: a tombstone follows no delete of its key", where(record))
		}
		p.deleted = nil
		return
	}
	if p.deleted != nil {
		t.report.Add(Lost, "%s: a delete before it has no tombstone", where(record))
	}
	p.deleted = nil
	plain, err := t.envelopes.Plain(record)
	if err != nil {
		t.report.Add(Wrong, "%s does not parse: %v", where(record), err)
		return
	}
	record = plain
	line := topicLine{record: record, topic: record.Topic, text: record.Value}
	if err := json.Unmarshal(record.Value, &line.change); err != nil {
		t.report.Add(Wrong, "%s does not parse: %v", where(record), err)
		return
	}
	if line.change.Op == "d" {
		p.deleted = record.Key
	}
	if line.change.Op == "r" || line.change.Source.Snapshot == "true" {
		t.copied(p, line)
		return
	}
	if err := line.headers(record); err != nil {
		t.report.Add(Wrong, "%s: %v", where(record), err)
		return
	}
	t.streamed(p, line)
}

// placed sees that records of a key share the partition that Java's producer would choose.
func (t *topics) placed(record *kgo.Record) {
	if record.Key == nil {
		return
	}
	key := keyOf{record.Topic, string(record.Key)}
	if first, ok := t.keys[key]; ok {
		if first != record.Partition {
			t.report.Add(Reordered, "%s has a key that partition %d holds", where(record), first)
		}
		return
	}
	t.keys[key] = record.Partition
	java := t.java[record.Topic]
	if java == nil {
		java = kgo.StickyKeyPartitioner(nil).ForTopic(record.Topic)
		t.java[record.Topic] = java
	}
	if want := java.Partition(record, int(t.sizes[record.Topic])); want != int(record.Partition) {
		t.report.Add(Wrong, "%s belongs into partition %d", where(record), want)
	}
}

// copied takes a copied row, or the news that a table's copy begins anew.
func (t *topics) copied(p *topicPart, line topicLine) {
	if p.streaming {
		t.report.Add(Reordered, "%s: a record of the copy comes after changes", where(line.record))
	}
	if line.change.Op == "t" {
		p.lines = slices.DeleteFunc(p.lines, func(old topicLine) bool { return old.change.Source.Table == line.change.Source.Table })
		return
	}
	p.lines = append(p.lines, line)
}

// streamed takes a change.
func (t *topics) streamed(p *topicPart, line topicLine) {
	switch {
	case !p.streaming || line.end > p.end:
	case line.end < p.end || line.lsn < p.lsn:
		t.report.Add(Reordered, "%s: transaction up to %d, offset %d, comes after %d, %d", where(line.record), line.end, line.lsn, p.end, p.lsn)
	case p.ended:
		t.report.Add(Torn, "%s: the source's transaction up to %d goes on after a transaction of Kafka has ended", where(line.record), line.end)
	}
	p.streaming, p.ended, p.end, p.lsn = true, false, line.end, line.lsn
	p.lines = append(p.lines, line)
}

// headers reads where a change belongs.
func (l *topicLine) headers(record *kgo.Record) error {
	found := map[string]string{}
	for _, h := range record.Headers {
		found[h.Key] = string(h.Value)
	}
	_, l.oldHalf = found["rowferry.newkey"]
	_, l.newHalf = found["rowferry.oldkey"]
	var err error
	if l.end, err = strconv.ParseUint(found["rowferry.end"], 10, 64); err != nil {
		return fmt.Errorf("reading the header rowferry.end: %w", err)
	}
	if l.lsn, err = strconv.ParseUint(found["rowferry.lsn"], 10, 64); err != nil {
		return fmt.Errorf("reading the header rowferry.lsn: %w", err)
	}
	return nil
}

// merged is everything in the source's order. Changes of one offset are either rows of one statement that touch
// different keys, or the halves of one change, or one TRUNCATE in several partitions.
func (t *topics) merged() [][]byte {
	var all []topicLine
	for _, at := range slices.SortedFunc(maps.Keys(t.parts), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	}) {
		all = append(all, t.parts[at].lines...)
	}
	slices.SortStableFunc(all, func(a, b topicLine) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.lsn, b.lsn))
	})
	lines := make([][]byte, 0, len(all))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].end == all[0].end && all[n].lsn == all[0].lsn && all[0].end > 0 {
			n++
		}
		lines = t.whole(lines, all[:n])
		all = all[n:]
	}
	return lines
}

// whole appends the changes of one offset.
func (t *topics) whole(lines [][]byte, group []topicLine) [][]byte {
	var halves [2]*topicLine
	truncates := map[string]int32{}
	for i := range group {
		l := &group[i]
		switch {
		case l.change.Op == "t":
			if truncates[l.topic]++; truncates[l.topic] == 1 {
				lines = append(lines, l.text)
			}
		case l.oldHalf || l.newHalf:
			half := 0
			if l.newHalf {
				half = 1
			}
			if halves[half] != nil {
				t.report.Add(Doubled, "%s: a half of a change was there before", where(l.record))
			}
			halves[half] = l
		default:
			lines = append(lines, l.text)
		}
	}
	for topic, n := range truncates {
		switch size := t.sizes[topic]; {
		case n < size:
			t.report.Add(Lost, "%s: a TRUNCATE at %d is in %d of %d partitions", topic, group[0].lsn, n, size)
		case n > size:
			t.report.Add(Doubled, "%s: a TRUNCATE at %d is there %d times in %d partitions", topic, group[0].lsn, n, size)
		}
	}
	return t.rejoined(lines, halves)
}

// rejoined appends the update whose halves these are.
func (t *topics) rejoined(lines [][]byte, halves [2]*topicLine) [][]byte {
	if halves[0] == nil && halves[1] == nil {
		return lines
	}
	if halves[0] == nil || halves[1] == nil {
		t.report.Add(Torn, "one half of a change is missing beside %s%s", halves[0].place(), halves[1].place())
		return lines
	}
	var removed, added change
	for i, into := range []*change{&removed, &added} {
		if err := json.Unmarshal(halves[i].text, into); err != nil {
			t.report.Add(Wrong, "%s does not parse: %v", where(halves[i].record), err)
			return lines
		}
	}
	added.Op, added.Before = "u", removed.Before
	text, err := json.Marshal(added)
	if err != nil {
		t.report.Add(Wrong, "%s cannot be joined: %v", where(halves[1].record), err)
		return lines
	}
	return append(lines, text)
}

// place is where a line was, for messages; nothing for none.
func (l *topicLine) place() string {
	if l == nil {
		return ""
	}
	return where(l.record)
}
