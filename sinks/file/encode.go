package file

import (
	"fmt"
	"sync"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/sinks"
)

// maxPooled is the largest buffer that is kept for the next batch.
const maxPooled = 32 << 20

// encoder turns batches into payloads. Several goroutines may use it at once.
type encoder struct {
	json *wire.JSON
	pool sync.Pool // of *payload
}

// payload is the lines of one batch. It does not alias the batch.
type payload struct {
	lines []byte
	rows  int
}

// Rows counts changes.
func (p *payload) Rows() int { return p.rows }

// Bytes is the length of the lines.
func (p *payload) Bytes() int { return len(p.lines) }

func newEncoder(at schema.Position) *encoder { return &encoder{json: wire.NewJSON(at)} }

// encode writes a batch's lines.
func (e *encoder) encode(b *schema.Batch) (sinks.Payload, error) {
	if b.Copy != nil && b.Copy.Raw != nil {
		if err := schema.DecodeCopy(b); err != nil {
			return nil, fmt.Errorf("decoding copied rows: %w", err)
		}
	}
	p, ok := e.pool.Get().(*payload)
	if !ok {
		p = &payload{}
	}
	lines, err := e.json.AppendBatch(p.lines[:0], b)
	if err != nil {
		return nil, err
	}
	p.lines, p.rows = lines, b.Rows()
	return p, nil
}

// recycle takes payloads back once their lines were written.
func (e *encoder) recycle(payloads ...sinks.Payload) {
	for _, p := range payloads {
		if p := p.(*payload); cap(p.lines) <= maxPooled {
			e.pool.Put(p)
		}
	}
}
