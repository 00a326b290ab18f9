package kafka

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// layout is how many partitions the topics have that may be written to. It is never changed, only replaced.
type layout map[string]int32

// plan is what all records of a table version share.
type plan struct {
	topic  string
	key    []int           // ordinals of the key's columns, none for a table without a key
	spread []int           // ordinals of the columns that decide the partition, nil for those of the key
	home   []byte          // decides the partition of tables without a key: the table's name
	event  *debezium.Table // nil for the json format
}

// maxPlans is how many table versions are remembered before it is begun anew.
const maxPlans = 1 << 16

// planner makes plans and keeps them. Several goroutines may use it.
type planner struct {
	cfg      *Config
	events   *debezium.Encoder // nil for the json format
	pipeline string
	plans    sync.Map // *schema.Table → *plan
	count    atomic.Int64

	mu     sync.Mutex
	owners map[string]string // table by topic
}

// plan finds or makes the plan of a table.
func (p *planner) plan(t *schema.Table) (*plan, error) {
	if found, ok := p.plans.Load(t); ok {
		return found.(*plan), nil
	}
	made, err := p.make(t)
	if err != nil {
		return nil, err
	}
	if p.count.Add(1) > maxPlans {
		p.count.Store(1)
		p.plans.Clear()
	}
	p.plans.Store(t, made)
	return made, nil
}

// make decides how a table is written.
func (p *planner) make(t *schema.Table) (*plan, error) {
	made := &plan{topic: topic.Pattern(p.cfg.Topic).Name(p.pipeline, t), home: []byte(t.String())}
	if err := p.own(made.topic, t.String()); err != nil {
		return nil, err
	}
	var err error
	if names, ok := p.cfg.Keys[t.String()]; ok {
		made.key, err = ordinals(t, names, "keys")
	} else if p.events != nil {
		made.key = debeziumKey(t)
	} else {
		made.key = keyOf(t)
	}
	if names, ok := p.cfg.PartitionColumns[t.String()]; ok && err == nil {
		made.spread, err = ordinals(t, names, "partition_columns")
	}
	if p.events != nil && err == nil {
		made.event = p.events.Table(t, made.topic, made.key)
	}
	return made, err
}

// debeziumKey is what Debezium takes for a table's key: the primary key, else the columns of the first unique index; also
// where deletes do not bring them.
func debeziumKey(t *schema.Table) []int {
	if key := t.Key(); len(key) > 0 {
		return key
	}
	return t.UniqueKey()
}

// own refuses that two tables meet in one topic because characters of their names had to be replaced.
func (p *planner) own(name, table string) error {
	if !strings.Contains(p.cfg.Topic, "{schema}") || !strings.Contains(p.cfg.Topic, "{table}") {
		return nil // tables are meant to share
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, taken := p.owners[name]; taken && other != table {
		return fault.Halt("target.topic_collision", fmt.Errorf("tables %s and %s would share topic %s", other, table, name),
			"rename one of the two in transforms, or set another topic pattern")
	}
	p.owners[name] = table
	return nil
}

// keyOf is the key of a table: the primary key, where updates and deletes bring it, or the columns of the index that
// is the replica identity.
func keyOf(t *schema.Table) []int {
	key := t.Key()
	brought := !slices.ContainsFunc(key, func(i int) bool { return !t.Columns[i].Ident })
	switch {
	case len(key) > 0 && (brought || t.Identity == schema.IdentityNothing):
		return key
	case t.Identity == schema.IdentityIndex:
		return t.IdentKey()
	}
	return nil
}

// ordinals finds columns by name.
func ordinals(t *schema.Table, names []string, setting string) ([]int, error) {
	out := make([]int, len(names))
	for i, name := range names {
		at := slices.IndexFunc(t.Columns, func(c schema.Column) bool { return c.Name == name })
		if at < 0 {
			return nil, fault.Halt("target.key_column", fmt.Errorf("table %s has no column %q", t, name),
				"correct "+setting+" of the target")
		}
		out[i] = at
	}
	return out, nil
}
