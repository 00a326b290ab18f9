package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/schema/wire/debezium"
)

// encodeTime is how long, of CPU, each side encodes in a round.
const encodeTime = 300 * time.Millisecond

// measureEncode measures the json format against encoding/json. Both begin with the same batch, whose values are text,
// and write the same bytes. encoding/json gets a struct made for this one table, which is the quickest it can be given,
// and a buffer to use again.
func (b *bench) measureEncode() error {
	const rows = 1000
	batch := encodeRows(rows)
	encoder := wire.NewJSON(schema.Position{Format: "postgres/1"})
	var ours []byte
	var theirs bytes.Buffer
	mine := func() (err error) {
		ours, err = encoder.AppendBatch(ours[:0], batch)
		return err
	}
	other := func() error {
		theirs.Reset()
		to := json.NewEncoder(&theirs)
		for i := range batch.Transactions {
			t := &batch.Transactions[i]
			for n := t.First; n < t.First+t.Count; n++ {
				line, err := jsonLineOf(batch, t, &batch.Changes[n])
				if err == nil {
					err = to.Encode(line)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	var fast, slow, allocations []sample
	for range b.options.rounds {
		a, err := repeat(other)
		if err != nil {
			return fmt.Errorf("encoding with encoding/json: %w", err)
		}
		m, err := repeat(mine)
		if err != nil {
			return fmt.Errorf("encoding: %w", err)
		}
		content := bytes.Equal(ours, theirs.Bytes())
		slow = append(slow, sample{value: a.speed * rows, content: true})
		fast = append(fast, sample{value: m.speed * rows, cpu: 1e6 / (m.speed * rows), content: content})
		allocations = append(allocations, sample{value: m.allocations / rows, cpu: 1e6 / (m.speed * rows), content: content})
	}
	b.add("json_encode", fast, slow)
	b.add("json_allocations", allocations, nil)
	return nil
}

// repeated is how often something could be done.
type repeated struct {
	speed       float64 // in a second of CPU
	allocations float64 // on the heap, each time
}

// repeat does something for a while, once before it counts.
func repeat(do func() error) (repeated, error) {
	if err := do(); err != nil {
		return repeated{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n, took := cpuTime(), 0, time.Duration(0)
	for ; took < encodeTime; n++ {
		if err := do(); err != nil {
			return repeated{}, err
		}
		took = cpuTime() - began
	}
	runtime.ReadMemStats(&after)
	// Whole ones, as testing.AllocsPerRun counts: the runtime's own are not of what is done.
	return repeated{speed: float64(n) / took.Seconds(), allocations: float64((after.Mallocs - before.Mallocs) / uint64(n))}, nil
}

// cpuTime is what this process has used. A busy machine does not lengthen it as it does time.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it has no reason to fail
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// The rows as encoding/json gets them.
type (
	jsonLine struct {
		Op     string     `json:"op"`
		Before *jsonRow   `json:"before"`
		After  *jsonRow   `json:"after"`
		Source jsonSource `json:"source"`
		Time   int64      `json:"ts_ms"`
	}
	jsonSource struct {
		Connector string `json:"connector"`
		Schema    string `json:"schema"`
		Table     string `json:"table"`
		LSN       uint64 `json:"lsn"`
		TxID      uint64 `json:"txId"`
		Time      int64  `json:"ts_ms"`
		Snapshot  string `json:"snapshot"`
	}
	jsonRow struct {
		ID       int64   `json:"id"`
		Customer int64   `json:"customer"`
		State    string  `json:"state"`
		Total    string  `json:"total"`
		Paid     bool    `json:"paid"`
		Ratio    float64 `json:"ratio"`
		At       string  `json:"at"`
		Note     string  `json:"note"`
		Ref      string  `json:"ref"`
		Count    int64   `json:"count"`
	}
)

// jsonLineOf is an insert as encoding/json gets it.
func jsonLineOf(b *schema.Batch, t *schema.Transaction, c *schema.Change) (*jsonLine, error) {
	row := b.Row(c.After)
	text := func(column int) string { return string(row[column].Bytes(b.Arena)) }
	var errs [4]error
	var after jsonRow
	after.ID, errs[0] = strconv.ParseInt(text(0), 10, 64)
	after.Customer, errs[1] = strconv.ParseInt(text(1), 10, 32)
	after.State, after.Total, after.Paid = text(2), text(3), text(4) == "t"
	after.Ratio, errs[2] = strconv.ParseFloat(text(5), 64)
	after.At, after.Note, after.Ref = text(6), text(7), text(8)
	after.Count, errs[3] = strconv.ParseInt(text(9), 10, 64)
	ms := t.CommitTime / 1000
	return &jsonLine{
		Op: "c", After: &after, Time: ms,
		Source: jsonSource{Connector: "postgres", Schema: c.Table.Schema, Table: c.Table.Name, LSN: c.Offset, TxID: t.ID, Time: ms, Snapshot: "false"},
	}, errors.Join(errs[:]...)
}

// column is a nullable column.
func column(name string, kind schema.Kind, native string) schema.Column {
	return schema.Column{Name: name, Kind: kind, Native: native, Base: native}
}

// measureFormat measures debezium-json without schemas against json, each record with its key.
func (b *bench) measureFormat() error {
	const rows = 1000
	rowsOf := encodeRows(rows)
	table := rowsOf.Changes[0].Table
	key := []int{0}
	plain := wire.NewJSON(schema.Position{Format: "postgres/1"}).Records(rowsOf)
	encoder, err := debezium.New(debezium.Config{}.WithDefaults("bench"), "postgres:1/shop/bench")
	if err != nil {
		return err
	}
	compiled, events := encoder.Table(table, "bench.public.orders", key), encoder.Records()
	var dst []byte
	mine := func() error {
		events.Reset(rowsOf, time.Now())
		return eachChange(rowsOf, func(t *schema.Transaction) { events.Enter(t, "false") }, func(c *schema.Change) (err error) {
			dst = events.AppendKey(dst[:0], compiled, rowsOf.Row(c.After))
			dst, err = events.AppendChange(dst, compiled, c, debezium.Place{})
			return err
		})
	}
	other := func() error {
		plain.Reset(rowsOf)
		return eachChange(rowsOf, func(t *schema.Transaction) { plain.Enter(t, "false") }, func(c *schema.Change) (err error) {
			dst, _ = plain.AppendKey(dst[:0], table, key, rowsOf.Row(c.After), nil)
			dst, err = plain.AppendValue(dst, c)
			return err
		})
	}
	var ours, theirs []sample
	for range b.options.rounds {
		a, err := repeat(other)
		if err != nil {
			return fmt.Errorf("encoding json: %w", err)
		}
		m, err := repeat(mine)
		if err != nil {
			return fmt.Errorf("encoding debezium-json: %w", err)
		}
		theirs = append(theirs, sample{value: 1e6 / (a.speed * rows), content: true})
		ours = append(ours, sample{value: 1e6 / (m.speed * rows), content: m.allocations == 0})
	}
	b.add("debezium_json_cpu", ours, theirs)
	return nil
}

// eachChange goes through a batch of whole transactions.
func eachChange(b *schema.Batch, enter func(*schema.Transaction), change func(*schema.Change) error) error {
	for i := range b.Transactions {
		t := &b.Transactions[i]
		enter(t)
		for n := t.First; n < t.First+t.Count; n++ {
			if err := change(&b.Changes[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeRows makes inserts of ten columns, in transactions of a hundred.
func encodeRows(rows int) *schema.Batch {
	const each, commit, begin = 100, 1_795_000_000_000_000, 1 << 34
	table := (&schema.Table{Schema: "public", Name: "orders", Columns: []schema.Column{
		column("id", schema.KindInt64, "bigint"), column("customer", schema.KindInt32, "integer"),
		column("state", schema.KindText, "text"), column("total", schema.KindDecimal, "numeric(12,2)"),
		column("paid", schema.KindBool, "boolean"), column("ratio", schema.KindFloat64, "double precision"),
		column("at", schema.KindTimestampTZ, "timestamp with time zone"), column("note", schema.KindText, "text"),
		column("ref", schema.KindUUID, "uuid"), column("count", schema.KindInt64, "bigint"),
	}}).WithVersion()
	b := schema.NewBatch(nil)
	for i := range rows {
		if i%each == 0 {
			b.Transactions = append(b.Transactions, schema.Transaction{ID: uint64(i/each + 700), CommitTime: commit, First: int32(i), Count: each})
		}
		first := int32(len(b.Values))
		for _, text := range []string{
			strconv.Itoa(i * 7919), strconv.Itoa(i % 977), "shipped", strconv.Itoa(i) + ".50", "tf"[i%2 : i%2+1], "0.25", "2026-11-22 10:00:00+00",
			"a note that somebody wrote, of some length", "6b3c5c8e-6d7b-4a55-9b0e-7a52f6a0f7c1", strconv.Itoa(i),
		} {
			b.Values = append(b.Values, schema.TextAt(len(b.Arena), len(text)))
			b.Arena = append(b.Arena, text...)
		}
		row := schema.Row{First: first, Count: int32(len(b.Values)) - first}
		b.Changes = append(b.Changes, schema.Change{Op: schema.OpCreate, Table: table, After: row, Offset: uint64(begin + i*200)})
	}
	return b
}
