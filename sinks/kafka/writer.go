package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/ledger"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
)

// closeTime bounds the abort of what was staged, at Close.
const closeTime = 5 * time.Second

// writer is the only one that may write for its pipeline, until another is opened.
type writer struct {
	sink    *Sink
	cluster *cluster.Cluster
	encoder *encoder
	claim   sinks.Claim

	mu       sync.Mutex // guards everything below; held through each Stage and Commit
	producer *producer.Producer
	state    ledger.State
	claimed  bool                   // the claim is in the ledger
	learned  map[string]int32       // partitions of topics, to be noted by the next commit
	tables   map[string]*copied     // of the copy under way
	looked   map[*schema.Table]bool // whose topics this call has looked at
	mark     mark                   // of the transaction that comes in parts
	failed   error                  // why nothing more may be done but Close
	closed   bool
}

// copied is how far the copy of a table is.
type copied struct{ begun, done bool }

// Encode prepares a batch.
func (w *writer) Encode(b *schema.Batch) (sinks.Payload, error) { return w.encoder.encode(b) }

// Stage produces a part of a big transaction into the open Kafka transaction.
func (w *writer) Stage(ctx context.Context, _ int, p sinks.Payload) error {
	return w.do(ctx, func() error {
		e, err := w.gather(ctx, []sinks.Payload{p}, nil)
		if err != nil {
			return err
		}
		return w.produce(ctx, e)
	})
}

// Commit produces a group's records and the ledger's, and ends the transaction.
func (w *writer) Commit(ctx context.Context, g sinks.Group) error {
	return w.do(ctx, func() error {
		if err := inOrder(&g, w.state.Seq); err != nil {
			return err
		}
		u := ledger.Update{
			Seq: g.Seq, Position: g.Upto, Phase: g.Phase, Made: g.Made, State: g.State, Copies: map[string]*ledger.Copy{},
		}
		if err := w.announce(ctx, &g, &u); err != nil {
			return err
		}
		e, err := w.gather(ctx, g.Payloads, &u)
		if err != nil {
			return err
		}
		if err := w.beat(ctx, &g); err != nil {
			return err
		}
		return w.record(ctx, &u, e)
	})
}

// do runs one call alone. After an error nothing more is done.
func (w *writer) do(ctx context.Context, call func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return fmt.Errorf("after an earlier error: %w", w.failed)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := call()
	if errors.Is(err, errNoTopic) {
		err = fault.Wait("target.cluster_moving", err)
	}
	if err != nil {
		w.failed = w.sink.overdue(cluster.Classify(err), w.state.Seq)
	}
	return w.failed
}

// inOrder checks a group's number against the last one's; copied rows have none.
func inOrder(g *sinks.Group, last int64) error {
	if g.Copy != nil && g.Seq == 0 && g.Upto.IsZero() || g.Copy == nil && g.Seq == last+1 && !g.Upto.IsZero() {
		return nil
	}
	return fault.Halt("target.out_of_order",
		fmt.Errorf("group %d, position %s, came after group %d", g.Seq, g.Upto, last),
		"report it, with the log around it\nstart the pipeline again: it goes on from the ledger")
}

// encoded is record batches, and the runs whose memory they are in.
type encoded struct {
	batches []producer.Batch
	runs    []*run
}

// produce sends what was encoded.
func (w *writer) produce(ctx context.Context, e encoded) error {
	if err := w.producer.Produce(ctx, e.batches); err != nil {
		return err
	}
	w.encoder.recycle(e.runs...)
	return nil
}

// gather gives the record batches of payloads, in order. u is nil for a part that is staged.
func (w *writer) gather(ctx context.Context, payloads []sinks.Payload, u *ledger.Update) (e encoded, err error) {
	clear(w.looked)
	var joined *run // of small batches in a row
	end := func() error {
		if joined == nil {
			return nil
		}
		err := joined.finish()
		joined = nil
		return err
	}
	for _, one := range payloads {
		p := one.(*payload)
		if p.run != nil {
			same, err := w.known(ctx, p.run)
			if err = errors.Join(err, end()); err != nil {
				return encoded{}, err
			}
			r := p.run
			p.run = nil
			if same {
				e.runs = append(e.runs, r)
				continue
			}
			w.encoder.recycle(r)
		}
		if err := w.look(ctx, p.batch); err != nil {
			return encoded{}, err
		}
		if joined == nil {
			joined = w.encoder.start()
			e.runs = append(e.runs, joined)
		}
		joined.layout = *w.encoder.layout.Load()
		if err := w.encodeNow(joined, p.batch, u); err != nil {
			return encoded{}, err
		}
	}
	if err := end(); err != nil {
		return encoded{}, err
	}
	for _, r := range e.runs {
		if err := w.keep(ctx, r.claims); err != nil {
			return encoded{}, err
		}
		e.batches = r.batches(e.batches)
	}
	return e, nil
}

// encodeNow encodes a batch whose encoding was left to its commit.
func (w *writer) encodeNow(r *run, b *schema.Batch, u *ledger.Update) error {
	j := job{batch: b}
	if b.Copy != nil && u != nil {
		w.copying(&j, u)
	}
	if w.sink.cfg.TransactionTopic == "" || b.Part == schema.Whole {
		return r.add(&j)
	}
	t := &b.Transactions[0]
	w.mark.count(b, t)
	if !w.mark.began {
		w.mark.began = true
		if err := r.mark(&w.mark, b, t, true); err != nil {
			return err
		}
	}
	r.marking = &w.mark
	err := r.add(&j)
	r.marking = nil
	if err != nil || b.Part != schema.PartLast {
		return err
	}
	err = r.mark(&w.mark, b, t, false)
	w.mark = mark{}
	return err
}

// copying notes how far the copy of a batch's table is, and what its first and last rows are called.
func (w *writer) copying(j *job, u *ledger.Update) {
	t := j.batch.Copy.Table
	name := t.String()
	c := w.tables[name]
	if c == nil {
		c = &copied{}
		w.tables[name] = c
	}
	if !c.begun && len(j.batch.Changes) > 0 {
		j.first = "first_in_data_collection"
		if w.none(func(c *copied) bool { return c.begun }) {
			j.first = "first"
		}
		c.begun = true
		w.encoder.begun.Store(name, true)
		p, err := w.encoder.plans.plan(t)
		if err == nil { // else encoding tells
			u.Copies[name] = &ledger.Copy{Schema: t.Schema, Table: t.Name, Topic: p.topic}
		}
	}
	if j.batch.Copy.Done {
		c.done = true
		j.last = "last_in_data_collection"
		if w.none(func(c *copied) bool { return !c.done }) {
			j.last = "last"
		}
	}
}

// none tells whether no table of the copy is so.
func (w *writer) none(so func(c *copied) bool) bool {
	for _, c := range w.tables {
		if so(c) {
			return false
		}
	}
	return true
}

// record produces a group's records and the ledger's, and ends the transaction: everything in it becomes visible at once,
// so they go together, which saves two round trips. Without transactions the position follows what it stands for.
func (w *writer) record(ctx context.Context, u *ledger.Update, e encoded) error {
	if apart || w.sink.cfg.Delivery == atLeastOnce {
		if err := w.produce(ctx, e); err != nil {
			return err
		}
		e = encoded{}
	}
	if apart {
		if err := w.producer.Commit(ctx); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "kafka.before_offsets"); err != nil {
		return err
	}
	if !w.claimed {
		u.Claim = &w.claim
	}
	u.Topics = w.learned
	if !u.Empty() {
		e.batches = append(e.batches, w.ledgerBatches(u)...)
	}
	if err := w.produce(ctx, e); err != nil {
		return err
	}
	if err := w.producer.Commit(ctx); err != nil {
		return err
	}
	w.claimed, w.learned = true, nil
	return w.state.Play(u)
}

// ledgerBatches are the ledger's records of an update, the position last.
func (w *writer) ledgerBatches(u *ledger.Update) []producer.Batch {
	var out []producer.Batch
	var b batch.Builder
	flush := func() {
		if b.Count() > 0 {
			out = append(out, producer.Batch{Topic: w.sink.cfg.Ledger.Topic, Batch: b.AppendTo(nil, nil)})
			b.Reset()
		}
	}
	now := time.Now().UnixMilli()
	for _, r := range u.Records() {
		record := batch.Record{Key: r.Key, Value: r.Value, Timestamp: now}
		if b.SizeWith(&record) > int(w.sink.cfg.MaxMessage) {
			flush()
		}
		b.Append(&record)
	}
	flush()
	return out
}

// Close drops what was staged and ends the connections. The transaction is aborted, so that readers do not wait for
// its timeout: by raising the epoch, which tells the next writer that it was not committed. An older broker does so and then
// refuses the old epoch.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if _, open := w.producer.Open(); open && fault.ClassOf(w.failed) != fault.Fenced {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if err := w.producer.Init(ctx); err != nil && fault.ClassOf(err) != fault.Fenced {
			w.sink.rt.Log.Debug().Err(err).Msg("the open transaction could not be aborted; the brokers do after its timeout")
		}
	}
	if w.failed == nil {
		w.failed = errors.New("the writer is closed")
	}
	return w.cluster.Close()
}
