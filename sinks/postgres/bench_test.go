package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/schema"
)

// BenchmarkCommit measures groups of 1000 rows of about 100 bytes, from batch to commit, on a real server. The
// server's part is the greater one.
func BenchmarkCommit(b *testing.B) {
	const rows = 1000
	table := tableOf("bench", "*id bigint", "n integer", "v text")
	ddl := `CREATE TABLE bench (id bigint PRIMARY KEY, n int, v text)`
	text := strings.Repeat("x", 80)
	kinds := []struct {
		name string
		make func(g *batch, i int)
		copy int
	}{
		{"insert by COPY", func(g *batch, i int) { g.insert(table, i, i, text) }, 500},
		{"insert by unnest", func(g *batch, i int) { g.insert(table, i, i, text) }, 1 << 30},
		{"update", func(g *batch, i int) { g.update(table, i%rows, i, text) }, 500},
	}
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			d := newDB(b, 15, ddl, fmt.Sprintf(`INSERT INTO bench SELECT -i, 0, 'x' FROM generate_series(1, %d) i`, rows))
			if kind.name == "update" {
				d.exec(`UPDATE bench SET id = -id - 1`)
			}
			s := d.stream(nil)
			s.w.copyMin = kind.copy
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				g := newBatch()
				for range rows {
					kind.make(g, n)
					n++
				}
				b.StartTimer()
				s.must(g)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// BenchmarkSmallCommit measures a transaction of one row, which is two round trips.
func BenchmarkSmallCommit(b *testing.B) {
	table := tableOf("bench", "*id bigint", "v text")
	d := newDB(b, 15, `CREATE TABLE bench (id bigint PRIMARY KEY, v text)`)
	s := d.stream(nil)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.must(newBatch().insert(table, n, "x"))
	}
}

// BenchmarkCopyRaw measures COPY text passed through, 4 MiB at a time.
func BenchmarkCopyRaw(b *testing.B) {
	table := tableOf("bench", "id bigint", "v text")
	d := newDB(b, 15, `CREATE TABLE bench (id bigint, v text)`)
	c := d.copyTest(nil)
	if err := c.phase(schema.PhaseCopy, table); err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("123456\t"+strings.Repeat("x", 80)+"\n", 4<<20/88)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.rows(1, table, text, 0, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendElement measures a value on its way into an array.
func BenchmarkAppendElement(b *testing.B) {
	arena := []byte(strings.Repeat("some text of a row, ", 5))
	v := schema.TextAt(0, len(arena))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = appendElement(dst[:0], v, arena)
	}
}
