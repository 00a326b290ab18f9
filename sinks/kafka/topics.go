package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/ledger"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// resume looks at the topics the ledger knows, before anything is written.
func (w *writer) resume(ctx context.Context) error {
	specs := make([]topic.Spec, 0, len(w.state.Topics))
	for _, name := range slices.Sorted(maps.Keys(w.state.Topics)) {
		specs = append(specs, topic.Spec{Name: name})
	}
	return w.ensure(ctx, specs)
}

// announce makes the topics of announced tables, and takes the phases of the copy.
func (w *writer) announce(ctx context.Context, g *sinks.Group, u *ledger.Update) error {
	specs, err := w.specs(g.Tables)
	if err != nil {
		return err
	}
	if err := w.ensure(ctx, specs); err != nil || g.Copy != nil {
		return err
	}
	switch g.Phase {
	case schema.PhaseCreating:
		return w.undo(ctx, u)
	case schema.PhaseCopy:
		for _, t := range g.Tables {
			w.tables[t.String()] = &copied{}
		}
	case schema.PhaseStream:
		for name := range w.state.Copies {
			u.Copies[name] = nil
		}
		clear(w.tables)
	}
	return nil
}

// undo tells readers that the copy begins anew: a t record for each table it had begun.
func (w *writer) undo(ctx context.Context, u *ledger.Update) error {
	clear(w.tables)
	w.encoder.begun.Clear()
	if len(w.state.Copies) == 0 {
		return nil
	}
	r := w.encoder.start()
	if err := r.add(&job{batch: schema.NewBatch(nil)}); err != nil {
		return err
	}
	r.tell(nil, "true")
	names := slices.Sorted(maps.Keys(w.state.Copies))
	for _, name := range names {
		c := w.state.Copies[name]
		if err := r.empty(c); err != nil {
			return err
		}
		u.Copies[name] = nil
	}
	if err := r.finish(); err != nil {
		return err
	}
	if err := w.producer.Produce(ctx, r.batches(nil)); err != nil {
		return err
	}
	w.encoder.recycle(r)
	w.sink.rt.Log.Warn().Strs("tables", names).
		Msg("the copy was interrupted and begins anew; a t record in its topics tells readers to forget the rows they have of each table")
	return nil
}

// empty writes a t record into every partition of a table's topic.
func (r *run) empty(c ledger.Copy) error {
	use, err := r.use(c.Topic)
	if err != nil {
		return err
	}
	r.headers = r.headers[:0]
	t := &schema.Table{Schema: c.Schema, Name: c.Table}
	if r.events != nil {
		r.value = r.events.AppendTruncate(r.value[:0], r.enc.events.Table(t, c.Topic, nil), 0, debezium.Place{})
	} else {
		r.value = r.records.AppendTruncate(r.value[:0], t, 0)
	}
	for partition := range r.layout[c.Topic] {
		if err := r.send(use, partition, nil, r.value); err != nil {
			return err
		}
	}
	return nil
}

// specs are the topics of tables.
func (w *writer) specs(tables []*schema.Table) ([]topic.Spec, error) {
	var out []topic.Spec
	for _, t := range tables {
		p, err := w.encoder.plans.plan(t)
		if err != nil {
			return nil, err
		}
		out = append(out, w.sink.cfg.spec(p.topic, t))
	}
	return out, nil
}

// spec is how a topic is to be made; t is nil for those that are no table's.
func (c *Config) spec(name string, t *schema.Table) topic.Spec {
	s := topic.Spec{
		Name: name, Partitions: c.CreateTopics.Partitions, Replication: c.CreateTopics.Replication, Configs: c.CreateTopics.Configs,
	}
	if t == nil {
		return s
	}
	for i := range c.CreateTopics.Rules {
		r := &c.CreateTopics.Rules[i]
		for _, p := range r.Tables {
			if !p.Match(t.Schema, t.Name) {
				continue
			}
			if r.Partitions > 0 {
				s.Partitions = r.Partitions
			}
			if r.Replication > 0 {
				s.Replication = r.Replication
			}
			s.Configs = maps.Clone(s.Configs)
			if s.Configs == nil {
				s.Configs = map[string]string{}
			}
			maps.Copy(s.Configs, r.Configs)
			return s
		}
	}
	return s
}

// look makes sure of every topic a batch goes to that this call has not looked at.
func (w *writer) look(ctx context.Context, b *schema.Batch) error {
	var tables []*schema.Table
	add := func(t *schema.Table) {
		if !w.looked[t] {
			w.looked[t] = true
			tables = append(tables, t)
		}
	}
	cfg := &w.sink.cfg
	messages := false
	for i := range b.Changes {
		switch c := &b.Changes[i]; c.Op {
		case schema.OpSchema:
		case schema.OpMessage:
			messages = true
		case schema.OpTruncate:
			for _, t := range c.Truncate.Tables {
				add(t)
			}
		default:
			add(c.Table)
		}
	}
	specs, err := w.specs(tables)
	if err != nil {
		return err
	}
	if messages {
		specs = append(specs, cfg.spec(cfg.Messages.Topic, nil))
	}
	if cfg.TransactionTopic != "" && len(b.Transactions) > 0 {
		specs = append(specs, cfg.spec(cfg.TransactionTopic, nil))
	}
	return w.ensure(ctx, specs)
}

// known tells whether the topics of an encoded batch have as many partitions as when it was encoded.
func (w *writer) known(ctx context.Context, r *run) (bool, error) {
	var specs []topic.Spec
	last := ""
	for i := range r.refs {
		if name := r.refs[i].topic; name != last {
			last, specs = name, append(specs, topic.Spec{Name: name})
		}
	}
	if err := w.ensure(ctx, specs); err != nil {
		return false, err
	}
	now := *w.encoder.layout.Load()
	for i := range specs {
		if now[specs[i].Name] != r.layout[specs[i].Name] {
			return false, nil
		}
	}
	return true, nil
}

// ensure makes topics that are missing and notes how many partitions they have. A topic written to before is never
// made: what it held is gone, and nobody but an operator can say what that means.
func (w *writer) ensure(ctx context.Context, specs []topic.Spec) error {
	slices.SortFunc(specs, func(a, b topic.Spec) int { return strings.Compare(a.Name, b.Name) })
	specs = slices.CompactFunc(specs, func(a, b topic.Spec) bool { return a.Name == b.Name })
	if len(specs) == 0 {
		return nil
	}
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Name
	}
	counts, err := w.counts(ctx, names)
	if err != nil {
		return err
	}
	var missing []topic.Spec
	for i := range specs {
		if counts[specs[i].Name] == 0 {
			missing = append(missing, specs[i])
		}
	}
	if len(missing) > 0 {
		if !w.sink.cfg.CreateTopics.Enabled {
			return topic.Missing(missing)
		}
		made, err := topic.Create(ctx, w.cluster, missing)
		if err != nil {
			return err
		}
		maps.Copy(counts, made)
		w.sink.rt.Log.Info().Int("topics", len(missing)).Str("first", missing[0].Name).Msg("topics made")
	}
	return w.settle(counts)
}

// settle decides which partitions of topics are used from now on.
func (w *writer) settle(counts map[string]int32) error {
	old := *w.encoder.layout.Load()
	next := layout{}
	for name, n := range counts {
		was := w.state.Topics[name]
		if m := w.learned[name]; m > 0 {
			was = m
		}
		if was > 0 && n > was {
			switch w.sink.cfg.AddedPartitions {
			case "keep":
				n = was
			case "halt":
				return fault.Halt("target.partitions_added",
					fmt.Errorf("topic %s has %d partitions, keys were spread over %d: changes of a row could overtake each other", name, n, was),
					"let readers finish what they have, then set added_partitions: use on the target (order of a row across the change is not kept)\n"+
						"or set added_partitions: keep to go on with the partitions known")
			}
		}
		if n != was {
			if w.learned == nil {
				w.learned = map[string]int32{}
			}
			w.learned[name] = n
		}
		if old[name] != n {
			next[name] = n
		}
	}
	if len(next) > 0 {
		all := maps.Clone(old)
		maps.Copy(all, next)
		w.encoder.layout.Store(&all)
	}
	return nil
}

// counts looks up partitions. Topics that were written to before have to be there, and whole.
func (w *writer) counts(ctx context.Context, names []string) (map[string]int32, error) {
	const looks, between = 5, 200 * time.Millisecond // a broker that has just started may not know every topic
	for look := 1; ; look++ {
		counts, err := topic.Partitions(ctx, w.cluster, names)
		if err != nil {
			return nil, err
		}
		gone := slices.IndexFunc(names, func(name string) bool { return counts[name] < max(w.state.Topics[name], w.learned[name]) })
		if gone < 0 {
			return counts, nil
		}
		if look == looks {
			name := names[gone]
			return nil, fault.Halt("target.topic_gone",
				fmt.Errorf("topic %s had %d partitions and has %d now: it was deleted, and its records with it", name, w.state.Topics[name], counts[name]),
				"run `rowferry teardown` and copy again\nor make the topic again with as many partitions, to go on without what it held:\n"+
					(&topic.Spec{Name: name, Partitions: int(w.state.Topics[name])}).Command())
		}
		if err := cluster.Pause(ctx, between); err != nil {
			return nil, err
		}
		if err := w.cluster.Refresh(ctx); err != nil {
			return nil, cluster.Classify(err)
		}
	}
}

// beat writes a heartbeat when a group moves the position and holds no change.
func (w *writer) beat(ctx context.Context, g *sinks.Group) error {
	name := w.sink.cfg.HeartbeatTopic
	if name == "" || g.Copy != nil || g.Phase != schema.PhaseStream ||
		slices.ContainsFunc(g.Payloads, func(p sinks.Payload) bool { return p.Rows() > 0 }) {
		return nil
	}
	if err := w.ensure(ctx, []topic.Spec{w.sink.cfg.spec(name, nil)}); err != nil {
		return err
	}
	r := w.encoder.start()
	use, err := r.use(name)
	if err != nil {
		return err
	}
	key := fmt.Appendf(nil, `{"pipeline":%q}`, w.claim.Pipeline)
	value := fmt.Appendf(nil, `{"position":%q,"ts_ms":%d}`, g.Upto.Token, r.now)
	if r.enc.events != nil {
		key, value = r.enc.events.AppendHeartbeat(nil, nil, r.now)
	}
	r.headers = r.headers[:0]
	if err := r.send(use, topic.Partition(key, r.layout[name]), key, value); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	var batches []producer.Batch
	if err := w.producer.Produce(ctx, r.batches(batches)); err != nil {
		return err
	}
	w.encoder.recycle(r)
	return nil
}
