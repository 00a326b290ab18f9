package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is one of partition 0 or 1 of topic x, which a test writes as "partition place op id": the place is
// end.lsn.seq, or - for none. A headers' name and value may follow.
func record(t *testing.T, text string, offset int64) *kgo.Record {
	t.Helper()
	part := strings.Fields(text)
	r := &kgo.Record{
		Topic: "x", Partition: int32(part[0][0] - '0'), Offset: offset, Key: []byte(part[3]),
		Attrs: kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true}),
	}
	if place := strings.Split(part[1], "."); len(place) == 3 {
		for i, name := range []string{"end", "lsn", "seq"} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "rowferry." + name, Value: []byte(place[i])})
		}
	}
	if len(part) == 6 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: part[4], Value: []byte(part[5])})
	}
	if part[2] == "t" {
		r.Key = nil
	}
	if part[2] != "tombstone" {
		r.Value = fmt.Appendf(nil, `{"op":%q,"before":null,"after":%q,"source":{"schema":"s","table":"x"}}`, part[2], part[3])
	}
	if part[2] == "d" {
		r.Value = fmt.Appendf(nil, `{"op":"d","before":%q,"after":null,"source":{"schema":"s","table":"x"}}`, part[3])
	}
	return r
}

func TestAssembly(t *testing.T) {
	tests := []struct {
		name          string
		records, want []string // what is wanted are op, before and after, or what is wrong
	}{
		{"copied, then changed", []string{"0 - r 1", "0 5.4.0 c 3", "1 - r 2"}, []string{"r null 1", "r null 2", "c null 3"}},
		{"between partitions", []string{"0 9.8.0 c 1", "0 20.12.1 c 2", "1 9.8.1 c 3", "1 20.11.0 c 4"}, []string{"c null 1", "c null 3", "c null 4", "c null 2"}},
		{"numbers, not text", []string{"0 9.8.9 c 1", "0 9.8.10 c 2", "1 10.8.0 c 3"}, []string{"c null 1", "c null 2", "c null 3"}},
		{"a copy that began anew", []string{"0 - r 1", "0 - t 0", "0 - r 2", "1 - r 3", "1 - t 0"}, []string{"r null 2"}},
		{"deleted", []string{"0 5.4.0 d 1", "0 5.4.0 tombstone 1"}, []string{"d 1 null"}},
		{"a key that changed", []string{"0 5.4.7 c 2 rowferry.oldkey 1", "1 5.4.7 d 1 rowferry.newkey 2", "1 5.4.7 tombstone 1"}, []string{"u 1 2"}},
		{"truncated", []string{"0 5.4.0 t 0", "1 5.4.0 t 0"}, []string{"t null 0"}},
		{"a message outside any transaction", []string{"0 - m 1"}, []string{"m null 1"}},

		{"reordered", []string{"0 9.8.1 c 1", "0 9.8.0 c 2"}, []string{"c null 2", "c null 1", "! x/0 at 1: it belongs before the record at 0"}},
		{"doubled", []string{"0 9.8.1 c 1", "0 9.8.1 c 1"}, []string{"c null 1", "c null 1", "! x/0 at 1: another record has its place"}},
		{"doubled elsewhere", []string{"0 9.8.1 c 1", "1 9.8.1 c 1"}, []string{"c null 1", "c null 1", "! x/1 at 1: another record has its place"}},
		{"truncated in part", []string{"0 5.4.0 t 0"}, []string{"t null 0", "! x/0 at 0: a truncate in 1 of 2 partitions"}},
		{"half a change of key", []string{"0 5.4.7 c 2 rowferry.oldkey 1"}, []string{"c null 2", "! x/0 at 0: half of a change of key"}},
		{"halves that do not fit", []string{"0 5.4.7 c 2 rowferry.oldkey 3", "1 5.4.7 d 1 rowferry.newkey 2", "1 5.4.7 tombstone 1"},
			[]string{"c null 2", "d 1 null", "! x/1 at 1: the halves of a change of key do not fit"}},
		{"no tombstone", []string{"0 5.4.0 d 1", "1 5.5.0 c 2"}, []string{"d 1 null", "c null 2", "! x/0 at 0: a delete without its tombstone"}},
		{"no delete", []string{"0 5.4.0 tombstone 1"}, []string{"! x/0 at 0: a tombstone without its delete"}},
		{"copied late", []string{"0 5.4.0 c 1", "0 - r 2"}, []string{"c null 1", "! x/0 at 1: a copied row after changes"}},
		{"no headers", []string{"0 - c 1"}, []string{"! x/0 at 0: it does not say which transaction it belongs to"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := assembly{partitions: map[string]int{"x": 2}}
			for i, text := range tt.records {
				a.add(record(t, text, int64(i)))
			}
			if diff := cmp.Diff(tt.want, short(t, a.lines())); diff != "" {
				t.Errorf("got other lines than wanted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssemblyObjectsToRecordsOutsideTransactions(t *testing.T) {
	r := record(t, "0 5.4.0 c 1", 0)
	r.Attrs = kgo.RecordAttrs{}
	a := assembly{}
	a.add(r)
	want := []string{"c null 1", "! x/0 at 0: it was written outside any transaction"}
	if diff := cmp.Diff(want, short(t, a.lines())); diff != "" {
		t.Errorf("got other lines than wanted (-want +got):\n%s", diff)
	}
}

// short says of each line op, before and after, or what is wrong.
func short(t *testing.T, text []byte) []string {
	t.Helper()
	var short []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "! ") {
			var event struct{ Op, Before, After any }
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatalf("got line %s: %v", line, err)
			}
			line = strings.ReplaceAll(fmt.Sprintf("%v %v %v", event.Op, event.Before, event.After), "<nil>", "null")
		}
		short = append(short, line)
	}
	return short
}
