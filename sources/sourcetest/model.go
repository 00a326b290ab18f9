package sourcetest

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/rowferry/rowferry/schema"
)

// model is a target that is strict: what does not fit what it holds is an error.
type model struct {
	rows  map[int64]string
	at    schema.Position
	phase schema.Phase
	state map[string][]byte
	made  map[string]bool
	open  *schema.Transaction // of a transaction in parts
	table *schema.Table
}

// newModel is a target that holds nothing.
func newModel() *model {
	return &model{rows: map[int64]string{}, state: map[string][]byte{}, made: map[string]bool{}}
}

// clone is the target at this moment.
func (m *model) clone() *model {
	c := *m
	c.rows, c.state, c.made = maps.Clone(m.rows), maps.Clone(m.state), maps.Clone(m.made)
	return &c
}

// states is the source state the target hands back.
func (m *model) states() []schema.State {
	var list []schema.State
	for key, value := range m.state {
		list = append(list, schema.State{Key: key, Value: value})
	}
	return list
}

// take applies a batch and checks its shape. each is called after every whole transaction with its position.
func (m *model) take(b *schema.Batch, each func(schema.Position)) error {
	if err := m.shape(b); err != nil {
		return err
	}
	switch {
	case b.Copy != nil:
		return m.copyRows(b)
	case len(b.Transactions) > 0:
		for i := range b.Transactions {
			if err := m.transaction(b, &b.Transactions[i]); err != nil {
				return err
			}
			if b.Part == schema.Whole {
				m.at = b.PositionAt(i)
				each(m.at)
			}
		}
	}
	m.move(b)
	return nil
}

// shape checks what holds of every batch.
func (m *model) shape(b *schema.Batch) error {
	unmoved := b.Copy != nil || b.Part == schema.PartMore
	if unmoved != b.Upto.IsZero() {
		return fmt.Errorf("a batch of phase %q, part %d, copy %t moves to %v", b.Phase, b.Part, b.Copy != nil, b.Upto)
	}
	if b.Copy != nil && (len(b.Transactions) > 0 || b.Part != schema.Whole) {
		return fmt.Errorf("a batch holds copied rows and transactions")
	}
	if b.Part != schema.Whole && len(b.Transactions) != 1 {
		return fmt.Errorf("a part holds %d transactions, want the one it is of", len(b.Transactions))
	}
	if m.open != nil && (b.Part == schema.Whole || b.Transactions[0].ID != m.open.ID) {
		return fmt.Errorf("parts of transaction %d are followed by something else", m.open.ID)
	}
	var next int32
	for i := range b.Transactions {
		t := &b.Transactions[i]
		if t.First != next || t.Count < 0 {
			return fmt.Errorf("transaction %d of a batch begins at change %d, want %d", i, t.First, next)
		}
		next += t.Count
	}
	if int(next) != len(b.Changes) {
		return fmt.Errorf("transactions of a batch hold %d changes of %d", next, len(b.Changes))
	}
	if n := len(b.Transactions); n > 0 && b.Part == schema.Whole && b.PositionAt(n-1) != b.Upto {
		return fmt.Errorf("the last transaction ends at %v, the batch at %v", b.PositionAt(n-1), b.Upto)
	}
	if m.phase == schema.PhaseStream && b.Copy != nil {
		return fmt.Errorf("copied rows come in phase stream")
	}
	return nil
}

// move records what the batch makes durable.
func (m *model) move(b *schema.Batch) {
	m.open = nil
	if b.Part == schema.PartMore {
		t := b.Transactions[0]
		m.open = &t
		return
	}
	m.at = b.Upto
	if b.Phase != "" {
		m.phase = b.Phase
	}
	if b.Phase == schema.PhaseCreating { // what a copy brought is undone
		clear(m.rows)
	}
	for _, s := range b.State {
		if s.Value == nil {
			delete(m.state, s.Key)
			continue
		}
		m.state[s.Key] = s.Value
	}
	for _, name := range b.Made {
		m.made[name] = true
	}
}

// copyRows inserts copied rows.
func (m *model) copyRows(b *schema.Batch) error {
	if m.phase != schema.PhaseCopy {
		return fmt.Errorf("copied rows come in phase %q", m.phase)
	}
	want := b.Copy.Rows
	if b.Copy.Raw != nil {
		if err := schema.DecodeCopy(b); err != nil {
			return err
		}
	}
	if len(b.Changes) != want {
		return fmt.Errorf("a copied batch says %d rows and holds %d", want, len(b.Changes))
	}
	for i := range b.Changes {
		if err := m.change(b, &b.Changes[i]); err != nil {
			return fmt.Errorf("copying: %w", err)
		}
	}
	return nil
}

// transaction applies one transaction, or a part of one.
func (m *model) transaction(b *schema.Batch, t *schema.Transaction) error {
	for i := range b.Changes[t.First : t.First+t.Count] {
		if err := m.change(b, &b.Changes[int(t.First)+i]); err != nil {
			return fmt.Errorf("transaction %d: %w", t.ID, err)
		}
	}
	return nil
}

// change applies one change.
func (m *model) change(b *schema.Batch, c *schema.Change) error {
	switch c.Op {
	case schema.OpSchema:
		return nil
	case schema.OpRead, schema.OpCreate:
		key, text, err := m.row(b, c, c.After)
		if err != nil {
			return err
		}
		if _, there := m.rows[key]; there {
			return fmt.Errorf("row %d comes twice", key)
		}
		m.rows[key] = *text
		return nil
	case schema.OpUpdate, schema.OpDelete:
		return m.alter(b, c)
	}
	return fmt.Errorf("operation %d was not made", c.Op)
}

// alter updates or deletes one row.
func (m *model) alter(b *schema.Batch, c *schema.Change) error {
	image := c.Before
	if image.Count == 0 {
		image = c.After
	}
	old, _, err := m.row(b, c, image)
	if err != nil {
		return err
	}
	before, there := m.rows[old]
	if !there {
		return fmt.Errorf("row %d changes and is not there", old)
	}
	delete(m.rows, old)
	if c.Op == schema.OpDelete {
		return nil
	}
	key, text, err := m.row(b, c, c.After)
	if err != nil {
		return err
	}
	if text == nil {
		text = &before
	}
	if _, there := m.rows[key]; there {
		return fmt.Errorf("row %d is moved onto another one", key)
	}
	m.rows[key] = *text
	return nil
}

// row reads an image: the first column is the key, the second the text, nil when it was not sent.
func (m *model) row(b *schema.Batch, c *schema.Change, image schema.Row) (key int64, text *string, err error) {
	values := b.Row(image)
	if len(values) < 2 || len(values) != len(c.Table.Columns) {
		return 0, nil, fmt.Errorf("an image holds %d values for the %d columns of %s", len(values), len(c.Table.Columns), c.Table)
	}
	m.table = c.Table
	if key, err = strconv.ParseInt(string(values[0].AppendText(nil, b.Arena)), 10, 64); err != nil {
		return 0, nil, fmt.Errorf("reading a key: %w", err)
	}
	if !values[1].Absent() {
		s := string(values[1].AppendText(nil, b.Arena))
		text = &s
	}
	return key, text, nil
}
