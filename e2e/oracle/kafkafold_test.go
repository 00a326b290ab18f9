package oracle

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicScript plays words into two partitions of a topic: "0:c1@10.11" is a create of key 1 in partition 0, by the
// transaction that ends at 10, at offset 11. Operations are c, u, d, t and r of the format; o and n are the halves of
// a change of key, - is a tombstone, f a t record that begins the copy anew. "0:|" ends a transaction of Kafka there.
func topicScript(t *testing.T, script string) (*topics, []string) {
	t.Helper()
	j := &topics{
		report: &Report{}, sizes: map[string]int32{"t": 2}, java: map[string]kgo.TopicPartitioner{},
		parts: map[place]*topicPart{{"t", 0}: {}, {"t", 1}: {}}, keys: map[keyOf]int32{},
	}
	for i, word := range strings.Fields(script) {
		at, word, _ := strings.Cut(word, ":")
		partition, err := strconv.Atoi(at)
		if err != nil {
			t.Fatal(err)
		}
		j.judge(scriptedRecord(t, int32(partition), int64(i), word))
	}
	var lines []string
	for _, line := range j.merged() {
		lines = append(lines, string(line))
	}
	return j, lines
}

// scriptedRecord makes the record of a word.
func scriptedRecord(t *testing.T, partition int32, offset int64, word string) *kgo.Record {
	t.Helper()
	r := &kgo.Record{Topic: "t", Partition: partition, Offset: offset}
	r.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true, Control: word == "|"})
	if word == "|" {
		return r
	}
	word, place, _ := strings.Cut(word, "@")
	op, key := word[:1], word[1:]
	end, lsn, _ := strings.Cut(place, ".")
	snapshot, before, after := "false", "null", "null"
	image := fmt.Sprintf(`{"id":%q}`, key)
	switch op {
	case "c", "n", "u":
		after = image
	case "d", "o":
		before = image
	case "r", "f":
		snapshot, after = "true", image
	}
	if op != "t" && op != "f" {
		r.Key = []byte(image)
	}
	if end != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "rowferry.end", Value: []byte(end)}, kgo.RecordHeader{Key: "rowferry.lsn", Value: []byte(lsn)})
	}
	switch op {
	case "-":
		return r
	case "o":
		op, r.Headers = "d", append(r.Headers, kgo.RecordHeader{Key: "rowferry.newkey", Value: []byte("{}")})
	case "n":
		op, r.Headers = "c", append(r.Headers, kgo.RecordHeader{Key: "rowferry.oldkey", Value: []byte("{}")})
	case "f":
		op, after = "t", "null"
	}
	r.Value = fmt.Appendf(nil, `{"op":%q,"before":%s,"after":%s,"source":{"schema":"public","table":"t","snapshot":%q}}`, op, before, after, snapshot)
	return r
}

// TestTopics plays scripts in which A and B are keys of partition 0, as Java spreads them, Y and Z of partition 1.
func TestTopics(t *testing.T) {
	probe := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	home := map[string]int{}
	for _, key := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		home[key] = probe.Partition(&kgo.Record{Key: fmt.Appendf(nil, `{"id":%q}`, key)}, 2)
	}
	var zero, one []string // keys by home
	for _, key := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		if home[key] == 0 {
			zero = append(zero, key)
		} else {
			one = append(one, key)
		}
	}
	names := strings.NewReplacer("A", zero[0], "B", zero[1], "Y", one[0], "Z", one[1])
	tests := []struct{ name, script, want, lines string }{
		{"in order", "0:rA 1:rY 0:uA@10.5 0:| 0:uA@20.15 1:cZ@20.16", "", "r r u u c"},
		{"the order is the transactions'", "0:cA@20.15 1:cY@10.5", "", "c c"},
		{"a transaction back", "0:cA@20.15 0:cB@10.5", "reordered 1", "c c"},
		{"an offset back", "0:cA@20.15 0:cB@20.14", "reordered 1", "c c"},
		{"a transaction in two of Kafka's", "0:cA@20.15 0:| 0:cB@20.16", "torn 1", "c c"},
		{"another partition", "1:cA@10.5", "wrong 1", "c"},
		{"two partitions", "0:cA@10.5 1:uA@20.15", "reordered 1", "c u"},
		{"a tombstone", "0:dA@10.5 0:-A@10.5 0:cA@20.15", "", "d c"},
		{"no tombstone", "0:dA@10.5 0:cA@20.15", "lost 1", "d c"},
		{"a tombstone of another", "0:dA@10.5 0:-B@10.5", "wrong 1", "d"},
		{"a key changes", "0:oA@10.5 0:-A@10.5 1:nY@10.5", "", "u"},
		{"half a change", "0:oA@10.5 0:-A@10.5", "torn 1", ""},
		{"a half twice", "0:oA@10.5 0:-A@10.5 1:nY@10.5 1:nY@10.5", "doubled 1", "u"},
		{"emptied", "0:t@10.5 1:t@10.5 0:cA@10.6", "", "t c"},
		{"emptied in one partition", "0:t@10.5", "lost 1", "t"},
		{"emptied twice", "0:t@10.5 1:t@10.5 1:t@10.5", "doubled 1", "t"},
		{"the copy begins anew", "0:rA 1:rY 0:f 1:f 0:rA", "", "r"},
		{"the copy begins anew in one partition", "0:rA 1:rY 0:f 0:rA 1:rY", "", "r r r"},
		{"a copied row after changes", "0:cA@10.5 0:rB", "reordered 1", "r c"},
		{"no place", "0:cA", "wrong 1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, lines := topicScript(t, names.Replace(tt.script))
			if got := counts(j.report); got != tt.want {
				t.Errorf("got %q, want %q:\n%s", got, tt.want, j.report)
			}
			var ops []string
			for _, line := range lines {
				ops = append(ops, line[7:8])
			}
			if diff := cmp.Diff(tt.lines, strings.Join(ops, " ")); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}
