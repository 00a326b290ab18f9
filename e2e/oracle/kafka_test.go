package oracle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
)

// scripted writes to a topic of two partitions what a script says: begin, commit and abort transactions, and records.
// Record a1 is the first of transaction a; its key is its number, which also says the partition unless @ does. A
// trailing + gives it other bytes.
type scripted struct {
	topic         string
	transactional *kgo.Client
	plain         *kgo.Client
	open          bool
}

func newScripted(t *testing.T, k *servers.Kafka) *scripted {
	t.Helper()
	prefix := k.Prefix(t)
	s := &scripted{topic: prefix + "events"}
	k.CreateTopic(t, s.topic, 2)
	manual := kgo.RecordPartitioner(kgo.ManualPartitioner())
	s.transactional = k.Client(t, manual, kgo.TransactionalID(prefix+"writer"), kgo.ProducerLinger(0))
	s.plain = k.Client(t, manual, kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	return s
}

func (s *scripted) write(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, word := range strings.Fields(script) {
		var err error
		switch word {
		case "begin":
			err, s.open = s.transactional.BeginTransaction(), true
		case "commit":
			err, s.open = s.transactional.EndTransaction(ctx, kgo.TryCommit), false
		case "abort":
			err, s.open = s.transactional.EndTransaction(ctx, kgo.TryAbort), false
		default:
			client := s.plain
			if s.open {
				client = s.transactional
			}
			err = client.ProduceSync(ctx, s.record(word)).FirstErr()
		}
		if err != nil {
			t.Fatalf("%s of %q: %v", word, script, err)
		}
	}
	if !s.open {
		if err := (KafkaReader{Client: s.plain, Topics: []string{s.topic}}).Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *scripted) record(word string) *kgo.Record {
	word, other := strings.CutSuffix(word, "+")
	id, at, set := strings.Cut(word, "@")
	key := id[1:]
	if !set {
		at = key
	}
	r := &kgo.Record{Topic: s.topic, Key: []byte(key), Value: []byte(id), Partition: int32(at[0]-'0') % 2}
	if other {
		r.Headers = []kgo.RecordHeader{{Key: "attempt", Value: []byte("2")}}
	}
	return r
}

// want reads "a1 a2 | b1" as two transactions.
func (s *scripted) want(k *Kafka, script string) {
	for text := range strings.SplitSeq(script, "|") {
		var t KafkaTransaction
		for _, id := range strings.Fields(text) {
			t.ID = id[:1]
			t.Records = append(t.Records, KafkaWanted{ID: id, Topic: s.topic, Key: id[1:]})
		}
		k.Want(t)
	}
}

func byValue(r *kgo.Record) (string, error) {
	if len(r.Value) == 0 {
		return "", errors.New("it has no value")
	}
	return string(r.Value), nil
}

// counts is what a report holds, as in "lost 1 torn 1".
func counts(r *Report) string {
	var found []string
	for _, c := range Classes {
		if n := r.Count(c); n > 0 {
			found = append(found, fmt.Sprintf("%s %d", c, n))
		}
	}
	return strings.Join(found, " ")
}

func TestKafkaFindsWhatWasPlanted(t *testing.T) {
	k := servers.KafkaForTest(t, servers.KafkaNewest)
	const wanted = "a1 a2 a3 | b1 b2 | c1"
	tests := []struct {
		name, wrote string
		extent      KafkaExtent
		repeats     bool
		want        string
	}{
		{name: "all as it should be", wrote: "begin a1 a2 a3 b1 b2 commit begin c1 commit"},
		{name: "aborted and written again", wrote: "begin a1 a2 abort begin a1 a2 a3 commit begin b1 b2 c1 commit"},
		{name: "a record missing", wrote: "begin a1 a2 a3 b1 commit begin c1 commit", want: "lost 1 torn 1"},
		{name: "a transaction missing", wrote: "begin a1 a2 a3 commit begin c1 commit", want: "lost 2"},
		{name: "the end missing", wrote: "begin a1 a2 a3 commit", want: "lost 3"},
		{name: "the end missing, which may be", extent: KafkaSettled, wrote: "begin a1 a2 a3 commit"},
		{name: "a transaction missing before one that is there", extent: KafkaSettled, wrote: "begin a1 a2 a3 c1 commit", want: "lost 2"},
		{name: "half a transaction", extent: KafkaSettled, wrote: "begin a1 a2 commit", want: "lost 1 torn 1"},
		{name: "a partition behind, while moving", extent: KafkaMoving, wrote: "begin a1 a2 a3 commit begin b1 commit"},
		{name: "half of a partition's share, while moving", extent: KafkaMoving, wrote: "begin b1 b2 commit begin a3 commit", want: "lost 2 reordered 1 torn 1"},
		{name: "a gap in a partition, while moving", extent: KafkaMoving, wrote: "begin a1 a2 a3 commit begin c1 commit", want: "lost 1"},
		{name: "twice in one transaction", wrote: "begin a1 a1 a2 a3 b1 b2 c1 commit", want: "doubled 1"},
		{name: "twice", wrote: "begin a1 a2 a3 commit begin a1 a2 a3 b1 b2 c1 commit", want: "doubled 3"},
		{name: "never committed by the source", wrote: "begin a1 a2 a3 b1 b2 z1 c1 commit", want: "doubled 1"},
		{name: "another order", wrote: "begin a3 a1 a2 b1 b2 c1 commit", want: "reordered 1"},
		{name: "another order of transactions", wrote: "begin b1 b2 commit begin a1 a2 a3 commit begin c1 commit", want: "reordered 3"},
		{name: "a key on two partitions", wrote: "begin a1 a2 a3 b1@0 b2 c1 commit", want: "reordered 2"},
		{name: "a transaction in two of Kafka's", wrote: "begin a1 a2 commit begin a3 b1 b2 c1 commit", want: "torn 1"},
		{name: "outside any transaction", wrote: "begin a1 a2 a3 b1 b2 commit c1", want: "wrong 1"},
		{name: "at least once", repeats: true, wrote: "a1 a2 a3 a1 a2 a3 b1 b2 c1"},
		{name: "at least once, with other bytes", repeats: true, wrote: "a1 a2 a1+ a3 b1 b2 c1", want: "wrong 1"},
		{name: "at least once, in another order", repeats: true, wrote: "a3 a1 a2 b1 b2 c1", want: "reordered 1"},
		{name: "at least once, a record missing", repeats: true, wrote: "a1 a2 a3 b2 c1", want: "lost 1 torn 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t, k)
			s.write(t, test.wrote)
			var r Report
			judge := NewKafka(&r, byValue)
			judge.AtLeastOnce = test.repeats
			s.want(judge, wanted)
			for record, err := range (KafkaReader{Client: s.plain, Topics: []string{s.topic}, Markers: true}).Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				judge.Judge(record)
			}
			judge.End(test.extent)
			if got := counts(&r); got != test.want {
				t.Errorf("got %q, want %q\n%s", got, test.want, &r)
			}
		})
	}
}

func TestKafkaReaderStopsAtOpenTransactions(t *testing.T) {
	k := servers.KafkaForTest(t, servers.KafkaNewest)
	s := newScripted(t, k)
	reader := KafkaReader{Client: s.plain, Topics: []string{s.topic}}
	s.write(t, "begin a1 a2 a3+ commit begin b1 b2 abort begin c2 commit begin d1 d2")
	read := func() (got []string) {
		all, err := reader.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			got = append(got, fmt.Sprintf("%d %s %v", r.Partition, r.Value, r.Headers))
		}
		return got
	}
	want := []string{"0 a2 []", "0 c2 []", "1 a1 []", "1 a3 [{attempt [50]}]"}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("reading beside an open transaction (-want +got):\n%s", diff)
	}
	var r Report
	if err := reader.Hanging(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if got := counts(&r); got != "leaked 2" {
		t.Errorf("got %q while a transaction is open, want leaked 2", got)
	}
	s.write(t, "commit")
	want = []string{"0 a2 []", "0 c2 []", "0 d2 []", "1 a1 []", "1 a3 [{attempt [50]}]", "1 d1 []"}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("reading after it (-want +got):\n%s", diff)
	}
	r = Report{}
	if err := reader.Hanging(t.Context(), &r); err != nil || !r.Clean() {
		t.Errorf("got %v and %s when all have ended, want nothing", err, &r)
	}
}

func TestKafkaReaderOfMuchOverABadNetwork(t *testing.T) {
	k := servers.KafkaForTest(t, servers.KafkaNewest)
	s := newScripted(t, k)
	const n, bytes = 1000, 10_000 // more than one answer holds
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range n {
		value := fmt.Appendf(nil, "%04d %s", i, strings.Repeat("x", bytes))
		s.plain.Produce(ctx, &kgo.Record{Topic: s.topic, Value: value}, nil)
	}
	if err := s.plain.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	bad := k.ProxyForTest(t)[0]
	bad.Set(proxy.ToClient, proxy.Toxic{CutAfter: n * bytes / 2})
	client := k.Client(t, kgo.SeedBrokers(k.AddrOf(servers.KafkaProxied)))
	all, err := KafkaReader{Client: client, Topics: []string{s.topic}}.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if passed := bad.Passed(proxy.ToClient); passed <= n*bytes/2 {
		t.Errorf("got %d bytes through the proxy, want more than before it cut", passed)
	}
	for i, record := range all {
		if want := fmt.Sprintf("%04d", i); string(record.Value[:4]) != want {
			t.Fatalf("got %s at %d, want %s", record.Value[:4], i, want)
		}
	}
	if len(all) != n {
		t.Errorf("got %d records, want %d", len(all), n)
	}
}

func TestKafkaReaderOfNoTopic(t *testing.T) {
	k := servers.KafkaForTest(t, servers.KafkaNewest)
	_, err := KafkaReader{Client: k.Client(t), Topics: []string{k.Prefix(t) + "absent"}}.All(t.Context())
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("got %v, want an unknown topic", err)
	}
}
