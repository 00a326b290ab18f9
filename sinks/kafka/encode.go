package kafka

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
)

const (
	// smallBatch is the size below which a batch is encoded by the Commit it comes in, together with its neighbours:
	// otherwise each of many small transactions would be a record batch, and a round trip, of its own.
	smallBatch = 32 << 10
	// keptBytes is the largest memory kept for the next run, or the next encoding.
	keptBytes = 32 << 20
)

// errNoTopic says that a topic's partitions are not known, so that Commit has to look first.
var errNoTopic = errors.New("a topic is not known yet")

// encoder turns batches into record batches. Several goroutines may use it.
type encoder struct {
	cfg    *Config
	json   *wire.JSON
	events *debezium.Encoder // nil for the json format
	plans  planner
	layout atomic.Pointer[layout]
	begun  sync.Map  // full names of tables whose copy has begun
	runs   sync.Pool // of *run
	spaces sync.Pool // of *workspace
}

// newEncoder makes an encoder; events is nil for the json format.
func newEncoder(cfg *Config, pipeline string, events *debezium.Encoder, at schema.Position) *encoder {
	e := &encoder{
		cfg: cfg, json: wire.NewJSON(at), events: events,
		plans: planner{cfg: cfg, pipeline: pipeline, events: events, owners: map[string]string{}},
	}
	e.layout.Store(&layout{})
	return e
}

// payload is a batch, encoded unless that is left to its Commit.
type payload struct {
	batch *schema.Batch
	run   *run // nil when not encoded yet
	bytes int
}

// Rows counts changes.
func (p *payload) Rows() int { return p.batch.Rows() }

// Bytes is what will be sent, as far as is known.
func (p *payload) Bytes() int { return p.bytes }

// encode prepares a batch. What depends on what was committed before, or on topics nobody has looked at, waits.
func (e *encoder) encode(b *schema.Batch) (sinks.Payload, error) {
	if b.Copy != nil && b.Copy.Raw != nil {
		if err := schema.DecodeCopy(b); err != nil {
			return nil, fmt.Errorf("decoding copied rows: %w", err)
		}
	}
	p := &payload{batch: b, bytes: b.Bytes()}
	if b.Bytes() < smallBatch || b.Part != schema.Whole && e.cfg.TransactionTopic != "" {
		return p, nil
	}
	if b.Copy != nil {
		if _, begun := e.begun.Load(b.Copy.Table.String()); !begun || b.Copy.Done {
			return p, nil
		}
	}
	r := e.start()
	err := r.add(&job{batch: b})
	if err == nil {
		err = r.finish()
	}
	switch {
	case errors.Is(err, errNoTopic):
		e.recycle(r)
	case err != nil:
		e.recycle(r)
		return nil, err
	default:
		p.run, p.bytes = r, len(r.out)
	}
	return p, nil
}

// start begins a run over batches.
func (e *encoder) start() *run {
	r, ok := e.runs.Get().(*run)
	if !ok {
		r = &run{enc: e}
	}
	if r.workspace, ok = e.spaces.Get().(*workspace); !ok {
		r.workspace = &workspace{topics: map[string]*topicRun{}}
		r.compressor, r.failed = batch.NewCompressor(e.cfg.Compression)
	}
	r.layout, r.at = *e.layout.Load(), time.Now()
	r.now = r.at.UnixMilli()
	return r
}

// recycle takes runs back.
func (e *encoder) recycle(runs ...*run) {
	for _, r := range runs {
		e.clear(r)
		if cap(r.out) <= keptBytes {
			r.out, r.refs, r.claims = r.out[:0], r.refs[:0], nil
			e.runs.Put(r)
		}
	}
}

// clear takes a run's workspace back, if it has one still.
func (e *encoder) clear(r *run) {
	w := r.workspace
	if w == nil {
		return
	}
	r.workspace = nil
	room := 0
	for _, t := range w.topics {
		t.used = false
		for _, b := range t.parts {
			if b != nil {
				b.Reset()
				room += b.Room()
			}
		}
	}
	if w.failed != nil || room > keptBytes || len(w.topics) > 1024 {
		return
	}
	w.order, w.plan, w.table = w.order[:0], nil, nil
	e.spaces.Put(w)
}

// job is a batch with what only its Commit knows of it.
type job struct {
	batch       *schema.Batch
	first, last string // source.snapshot of the first and the last copied row; empty for "true"
}

// ref is a finished record batch in a run's memory.
type ref struct {
	topic      string
	partition  int32
	start, end int
}

// claim is a value kept elsewhere.
type claim struct {
	id    string // SHA-256 of the value
	value []byte
}

// run encodes one batch, or several after another. Its memory is used again. Many wait for their commit, so a finished
// one holds no more than the record batches.
type run struct {
	*workspace // nil when it is finished

	enc    *encoder
	layout layout
	at     time.Time // when it began
	now    int64     // the same in milliseconds: the records' timestamp, which brokers' retention goes by
	out    []byte
	refs   []ref
	claims []claim
}

// workspace is what a run needs while it encodes: record batches before they are compressed, above all.
type workspace struct {
	records    *wire.Records
	events     *debezium.Records // nil for the json format
	marking    *mark             // counts the changes of the transaction whose records tell their place in it, nil for none
	compressor *batch.Compressor
	failed     error

	topics map[string]*topicRun
	order  []*topicRun // those in use

	table   *schema.Table // whose plan and topic are at hand
	plan    *plan
	topic   *topicRun
	key     []byte
	old     []byte
	spread  []byte
	value   []byte
	headers []batch.Header
	end     [20]byte
	lsn     [20]byte
	seq     [20]byte
	endText []byte
}

// topicRun is a topic in a run.
type topicRun struct {
	name  string
	used  bool
	parts []*batch.Builder
}

// batches are the record batches of a finished run.
func (r *run) batches(dst []producer.Batch) []producer.Batch {
	for i := range r.refs {
		f := &r.refs[i]
		dst = append(dst, producer.Batch{Topic: f.topic, Partition: f.partition, Batch: batch.Batch(r.out[f.start:f.end:f.end])})
	}
	return dst
}

// add encodes a batch's changes.
func (r *run) add(j *job) error {
	if r.failed != nil {
		return r.failed
	}
	b := j.batch
	if r.records == nil {
		r.records = r.enc.json.Records(b)
	} else {
		r.records.Reset(b)
	}
	if r.enc.events != nil {
		if r.events == nil {
			r.events = r.enc.events.Records()
		}
		r.events.Reset(b, r.at)
	}
	next := int32(0)
	for i := range b.Transactions {
		t := &b.Transactions[i]
		if err := r.stretch(j, next, t.First, nil); err != nil {
			return err
		}
		next = t.First + t.Count
		if err := r.transaction(j, t); err != nil {
			return err
		}
	}
	return r.stretch(j, next, int32(len(b.Changes)), nil)
}

// transaction encodes one transaction, or a part of one, with the records that mark its ends.
func (r *run) transaction(j *job, t *schema.Transaction) error {
	if r.enc.cfg.TransactionTopic == "" || j.batch.Part != schema.Whole {
		return r.stretch(j, t.First, t.First+t.Count, t)
	}
	if r.enc.events != nil && t.ID == 0 { // a message of no transaction
		return r.stretch(j, t.First, t.First+t.Count, t)
	}
	var m mark
	m.count(j.batch, t)
	if err := r.mark(&m, j.batch, t, true); err != nil {
		return err
	}
	r.marking = &m
	err := r.stretch(j, t.First, t.First+t.Count, t)
	r.marking = nil
	if err != nil {
		return err
	}
	return r.mark(&m, j.batch, t, false)
}

// stretch encodes changes of one transaction, or of none.
func (r *run) stretch(j *job, first, end int32, t *schema.Transaction) error {
	if first >= end {
		return nil
	}
	usual := "false"
	if j.batch.Copy != nil {
		usual = "true"
	}
	r.tell(t, usual)
	r.endText = r.end[:0]
	if t != nil {
		r.endText = strconv.AppendUint(r.endText, t.End, 10)
	}
	for i := first; i < end; i++ {
		mark := ""
		if i == first {
			mark = j.first
		}
		if i == end-1 && j.last != "" && (mark != "first" || j.last == "last") {
			mark = j.last
		}
		if mark != "" {
			r.tell(t, mark)
		}
		if err := r.change(j.batch, &j.batch.Changes[i], t, i-first); err != nil {
			return err
		}
		if mark != "" {
			r.tell(t, usual)
		}
	}
	return nil
}

// tell says which transaction the changes that follow belong to, and what source.snapshot is.
func (r *run) tell(t *schema.Transaction, snapshot string) {
	r.records.Enter(t, snapshot)
	if r.events != nil {
		r.events.Enter(t, snapshot)
	}
}

// finish ends all record batches and gives the workspace back. The run can be sent then.
func (r *run) finish() error {
	for _, t := range r.order {
		for partition, b := range t.parts {
			if b != nil {
				r.flush(t, int32(partition), b)
			}
		}
	}
	r.enc.clear(r)
	return nil
}

// flush ends the record batch of one partition.
func (r *run) flush(t *topicRun, partition int32, b *batch.Builder) {
	if b.Count() == 0 {
		return
	}
	start := len(r.out)
	r.out = b.AppendTo(r.out, r.compressor)
	r.refs = append(r.refs, ref{topic: t.name, partition: partition, start: start, end: len(r.out)})
	b.Reset()
}

// use makes a topic the one records go to.
func (r *run) use(name string) (*topicRun, error) {
	n := r.layout[name]
	if n == 0 {
		return nil, fmt.Errorf("%w: %s", errNoTopic, name)
	}
	t := r.topics[name]
	if t == nil {
		t = &topicRun{name: name}
		r.topics[name] = t
	}
	for len(t.parts) < int(n) {
		t.parts = append(t.parts, nil)
	}
	if !t.used {
		t.used = true
		r.order = append(r.order, t)
	}
	return t, nil
}
