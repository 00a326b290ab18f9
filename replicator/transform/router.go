package transform

import (
	"fmt"
	"slices"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// Router applies a route to the batches of one stream, in order. It is not safe for use by several goroutines.
type Router struct {
	route  Route
	routed map[*schema.Table]*schema.Table
	owners map[name]name // which table of the source a target name belongs to
}

// Router makes a router of the route.
func (r Route) Router() *Router {
	return &Router{route: r, routed: map[*schema.Table]*schema.Table{}, owners: map[name]name{}}
}

// maxRouted bounds the memory of table versions; beyond it the router begins to learn again.
const maxRouted = 8192

// Apply renames the tables of a batch. Changes are rewritten where they are; every other slice or struct that names
// tables is replaced, as the source may still hold it. It costs a comparison of pointers for each change.
func (r *Router) Apply(b *schema.Batch) error {
	if r.route.Empty() {
		return nil
	}
	if len(r.routed) > maxRouted {
		clear(r.routed)
	}
	var err error
	if b.Tables, err = r.tables(b.Tables); err != nil {
		return err
	}
	if len(b.Takeovers) > 0 {
		b.Takeovers = slices.Clone(b.Takeovers)
		for i := range b.Takeovers {
			if b.Takeovers[i].Table, err = r.table(b.Takeovers[i].Table); err != nil {
				return err
			}
		}
	}
	if len(b.Plan) > 0 {
		b.Plan = slices.Clone(b.Plan)
		for i := range b.Plan {
			if b.Plan[i].Table, err = r.table(b.Plan[i].Table); err != nil {
				return err
			}
		}
	}
	if b.Copy != nil {
		c := *b.Copy
		if c.Table, err = r.table(c.Table); err != nil {
			return err
		}
		b.Copy = &c
	}
	return r.changes(b.Changes)
}

// Target is what a table of the source became; itself when no batch with it was applied.
func (r *Router) Target(t *schema.Table) *schema.Table {
	if to, ok := r.routed[t]; ok {
		return to
	}
	return t
}

func (r *Router) changes(changes []schema.Change) (err error) {
	var last, to *schema.Table
	for i := range changes {
		c := &changes[i]
		if c.Table != last {
			last = c.Table
			if to, err = r.table(last); err != nil {
				return err
			}
		}
		c.Table = to
		if c.Previous != nil {
			if c.Previous, err = r.table(c.Previous); err != nil {
				return err
			}
		}
		if c.Truncate != nil {
			t := *c.Truncate
			if t.Tables, err = r.tables(t.Tables); err != nil {
				return err
			}
			c.Truncate = &t
		}
	}
	return nil
}

func (r *Router) tables(tables []*schema.Table) ([]*schema.Table, error) {
	if len(tables) == 0 {
		return tables, nil
	}
	out := make([]*schema.Table, len(tables))
	for i, t := range tables {
		var err error
		if out[i], err = r.table(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// table is the target's version of a table: the same pointer for the same table.
func (r *Router) table(t *schema.Table) (*schema.Table, error) {
	if t == nil {
		return nil, nil
	}
	if to, ok := r.routed[t]; ok {
		return to, nil
	}
	from, to := name{t.Schema, t.Name}, name{}
	to.schema, to.table = r.route.Name(t.Schema, t.Name)
	if owner, ok := r.owners[to]; ok && owner != from {
		return nil, fault.Halt("engine.route_collision",
			fmt.Errorf("%s and %s of the source would both be %s at the target", owner, from, to),
			"give one of the two another name under transforms, or exclude it under source.tables")
	}
	r.owners[to] = from
	routed := t
	if to != from {
		clone := *t
		clone.Schema, clone.Name = to.schema, to.table
		routed = clone.WithVersion()
	}
	r.routed[t] = routed
	return routed, nil
}

// String is the name as messages spell it.
func (n name) String() string { return schema.QuoteName(n.schema) + "." + schema.QuoteName(n.table) }
