package progress

import (
	"time"
)

// knowable is the share of a copy below which no estimate of the rest is given.
const knowable = 0.01

// copying is the progress of a first copy, table by table.
type copying struct {
	started, finished time.Time
	tables            []*copyingTable
	byName            map[string]*copyingTable
}

type copyingTable struct {
	CopyTable
	handed, durable int // batches
	last            bool
}

// Planned is what is known of a table before it is copied; -1 is "not known".
type Planned struct {
	Name        string
	Rows, Bytes int64
}

// BeginCopy starts the progress of a copy anew.
func (t *Tracker) BeginCopy(plan []Planned, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.samples = t.samples[:0]
	t.copying = &copying{started: now, byName: map[string]*copyingTable{}}
	for _, p := range plan {
		c := t.copying.table(p.Name)
		c.ExpectedRows, c.ExpectedBytes = p.Rows, p.Bytes
	}
}

// CopyRead notes a batch of copied rows on its way; last marks the last one of its table.
func (t *Tracker) CopyRead(table string, last bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastRead = now
	if t.copying == nil {
		return
	}
	c := t.copying.table(table)
	c.handed++
	c.last = c.last || last
}

// Copied notes a batch of copied rows at the target.
func (t *Tracker) Copied(table string, rows, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(Amount{Rows: rows, Bytes: bytes})
	if t.copying == nil {
		return
	}
	c := t.copying.table(table)
	c.durable++
	c.Rows += rows
	c.Bytes += bytes
	c.Done = c.last && c.durable == c.handed
}

// EndCopy notes that every row is at the target.
func (t *Tracker) EndCopy(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copying == nil || !t.copying.finished.IsZero() {
		return
	}
	t.copying.finished = now
	for _, c := range t.copying.tables {
		c.Done = true
	}
}

func (c *copying) table(name string) *copyingTable {
	if t, ok := c.byName[name]; ok {
		return t
	}
	t := &copyingTable{CopyTable: CopyTable{Name: name, ExpectedRows: -1, ExpectedBytes: -1}}
	c.tables, c.byName[name] = append(c.tables, t), t
	return t
}

// ratio weighs tables by their expected size. Estimates may be wrong, so a table counts as at most 99 % until its
// last row is durable.
func (c *copying) ratio() float64 {
	if !c.finished.IsZero() {
		return 1
	}
	var done, all float64
	for _, t := range c.tables {
		weight := float64(max(t.ExpectedBytes, 1))
		all += weight
		switch {
		case t.Done:
			done += weight
		case t.ExpectedRows > 0:
			done += weight * min(0.99, float64(t.Rows)/float64(t.ExpectedRows))
		case t.ExpectedBytes > 0:
			done += weight * min(0.99, float64(t.Bytes)/float64(t.ExpectedBytes))
		}
	}
	if all == 0 {
		return 0
	}
	return min(0.999, done/all)
}

// snapshot is the progress for a report; rates come from the samples.
func (c *copying) snapshot(samples []sample) *Copy {
	s := &Copy{Started: c.started, Finished: c.finished, Ratio: c.ratio(), ETASeconds: -1}
	for _, t := range c.tables {
		s.Tables = append(s.Tables, t.CopyTable)
		s.Rows += t.Rows
		s.Bytes += t.Bytes
		s.ExpectedRows = sum(s.ExpectedRows, t.ExpectedRows)
		s.ExpectedBytes = sum(s.ExpectedBytes, t.ExpectedBytes)
	}
	if !c.finished.IsZero() {
		s.ETASeconds = 0
		if span := c.finished.Sub(c.started).Seconds(); span > 0 {
			s.RowsPerSecond, s.BytesPerSecond = float64(s.Rows)/span, float64(s.Bytes)/span
		}
		return s
	}
	if len(samples) < 2 {
		return s
	}
	first, last := samples[0], samples[len(samples)-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 {
		return s
	}
	s.RowsPerSecond = float64(last.rows-first.rows) / span
	s.BytesPerSecond = float64(last.bytes-first.bytes) / span
	// The rate of the last seconds swings with the size of chunks; the mean since the start does not follow a
	// change of speed. Half of each is steady enough to show and late by little.
	elapsed := last.at.Sub(c.started).Seconds()
	if s.Ratio >= knowable && elapsed > 0 {
		speed := (max(0, last.ratio-first.ratio)/span + s.Ratio/elapsed) / 2
		s.ETASeconds = (1 - s.Ratio) / speed
	}
	return s
}

// sum adds estimates; one that is not known makes the sum unknown.
func sum(a, b int64) int64 {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}
