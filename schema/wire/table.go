package wire

import (
	"sync"
	"sync/atomic"

	"github.com/rowferry/rowferry/schema"
)

// maxTables is how many table versions an encoder remembers before it begins anew: a daemon may live long and see
// every table change often.
const maxTables = 1 << 17

// tableText is what every line of a table version repeats.
type tableText struct {
	connector string

	names  [][]byte // "name": of each column
	kinds  []schema.Kind
	source []byte // "source":{"connector":…,"schema":…,"table":…,"lsn":
}

// tableCache keeps a tableText for each table version.
type tableCache struct {
	byTable sync.Map // *schema.Table → *tableText
	count   atomic.Int64
}

// get finds or makes the text of a table. A caller that keeps the last table asks once for each run of changes.
func (c *tableCache) get(t *schema.Table, connector string) *tableText {
	if found, ok := c.byTable.Load(t); ok && found.(*tableText).connector == connector {
		return found.(*tableText)
	}
	if c.count.Add(1) > maxTables {
		c.count.Store(1)
		c.byTable.Clear()
	}
	made := newTableText(t, connector)
	c.byTable.Store(t, made)
	return made
}

// newTableText writes what the lines of a table share.
func newTableText(t *schema.Table, connector string) *tableText {
	out := &tableText{
		connector: connector,
		names:     make([][]byte, len(t.Columns)), kinds: make([]schema.Kind, len(t.Columns)),
	}
	for i := range t.Columns {
		name, _ := appendString(nil, []byte(t.Columns[i].Name))
		out.names[i], out.kinds[i] = append(name, ':'), t.Columns[i].Kind
	}
	s := append([]byte(nil), `"source":{"connector":`...)
	s, _ = appendString(s, []byte(connector))
	s = append(s, `,"schema":`...)
	s, _ = appendString(s, []byte(t.Schema))
	s = append(s, `,"table":`...)
	s, _ = appendString(s, []byte(t.Name))
	out.source = append(s, `,"lsn":`...)
	return out
}
