package postgres

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// replayConn is a connection that gives the same bytes again and again.
type replayConn struct {
	net.Conn
	data []byte
	at   int
}

func (c *replayConn) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), 150<<10)], c.data[c.at:])
	c.at = (c.at + n) % len(c.data)
	return n, nil
}

func (c *replayConn) SetReadDeadline(time.Time) error { return nil }
func (c *replayConn) Close() error                    { return nil }

// BenchmarkTail reads transactions of rows with ten columns, about 100 bytes in all. An operation is a row.
func BenchmarkTail(b *testing.B) {
	row := make([]string, 10)
	for i := range row {
		row[i] = strings.Repeat("v", 10)
	}
	names := make([]string, len(row))
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	names[0] += "*"
	for _, size := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(size, "-row transactions"), func(b *testing.B) {
			head := newWAL().begin(1, 0x500).relation(1, 'd', "s.t", names...).insert(1, row...).commit(0x500)
			body := newWAL()
			for range max(1, 20_000/size) {
				body.begin(7, 0x2000)
				for range size {
					body.insert(1, row...)
				}
				body.commit(0x2000)
			}
			files, err := openSpill(filepath.Join(b.TempDir(), "spill"), 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			conn := &replayConn{data: head.out}
			t := newTail(tailConfig{
				from: 0x100, relations: &fakeResolver{}, positionAt: testPosition, barrierEvery: time.Hour,
			}, conn, newWire(conn), files)
			first, err := t.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			first.Release()
			t.wire.rp, t.wire.wp = 0, 0
			conn.data, conn.at = body.out, 0
			t.inTx = false
			t.batches.cur, t.batches.open = nil, false
			b.ReportAllocs()
			b.SetBytes(int64(len(body.out) / (max(1, 20_000/size) * size)))
			b.ResetTimer()
			for rows := 0; rows < b.N; {
				batch, err := t.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				rows += batch.Rows()
				batch.Release()
			}
		})
	}
}
