package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema/fault"
)

func newSpill(t *testing.T, limit int64) *spill {
	t.Helper()
	s, err := openSpill(filepath.Join(t.TempDir(), "spill"), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	return s
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSpillIsPrivateAndForgetsOldFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	check(t, os.Mkdir(dir, 0o755))
	old, other := filepath.Join(dir, "7.spill"), filepath.Join(dir, "notes")
	check(t, os.WriteFile(old, []byte("x"), 0o600))
	check(t, os.WriteFile(other, []byte("x"), 0o600))
	s, err := openSpill(dir, 1<<20)
	check(t, err)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file: got %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another's file: got %v", err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v", info.Mode())
	}
	check(t, s.start(7, true))
	if info, err := os.Stat(old); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: got %v, %v", info, err)
	}
	check(t, s.close())
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after close: got %v", err)
	}
}

func TestSpillQuota(t *testing.T) {
	s := newSpill(t, 1000)
	check(t, s.start(7, true))
	check(t, s.add(t.Context(), 7, 1, make([]byte, 900)))
	err := s.add(t.Context(), 7, 2, make([]byte, 100))
	if f := fault.Of(err); f.Code != "source.spill_limit" || f.Class != fault.Terminal || f.Remedy == "" {
		t.Fatalf("got %v", err)
	}
	check(t, s.stop(t.Context()))
	check(t, s.abort(7, 7))
	if n := s.bytes.Load(); n != 0 {
		t.Errorf("after the abort: got %d bytes", n)
	}
	check(t, s.start(8, true))
	check(t, s.add(t.Context(), 8, 2, make([]byte, 900)))
}

func TestSpillDiskFull(t *testing.T) {
	err := spillError("writing", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	if f := fault.Of(err); f.Code != "source.spill_disk_full" || !f.Endless {
		t.Errorf("got %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	s := newSpill(t, 1<<20)
	s.cur = &spilled{xid: 7, file: full, first: map[uint32]int64{}}
	check(t, s.add(t.Context(), 7, 1, []byte("x")))
	if f := fault.Of(s.flush(t.Context())); f.Code != "source.spill_disk_full" {
		t.Errorf("writing to a full disk: got %v", f)
	}
	_ = full.Close()
	s.cur = nil
}

func TestSpillManySubtransactions(t *testing.T) {
	s := newSpill(t, 64<<20)
	ctx := t.Context()
	check(t, s.start(1, true))
	for xid := range uint32(spillIndex + 100) {
		check(t, s.add(ctx, xid+2, LSN(xid), []byte("m")))
	}
	check(t, s.stop(ctx))
	const beyond = spillIndex + 50
	check(t, s.abort(1, beyond+2))
	if got, want := s.txs[1].size, int64(beyond*(frameHeader+1)); got != want {
		t.Errorf("cut beyond the index: got %d bytes, want %d", got, want)
	}
	check(t, s.abort(1, 1_000_000_000)) // never seen
	check(t, s.abort(1, 12))
	if got, want := s.txs[1].size, int64(10*(frameHeader+1)); got != want {
		t.Errorf("cut within the index: got %d bytes, want %d", got, want)
	}
	if n := len(s.txs[1].first); n != 10 || len(s.txs[1].index) != 10 {
		t.Errorf("index: got %d and %d entries, want 10", n, len(s.txs[1].index))
	}
}

// TestSpillFollowsSavepoints plays random transactions with nested savepoints, each write to the server's rules, and
// compares what is replayed with what the transaction kept.
func TestSpillFollowsSavepoints(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		s, err := openSpill(filepath.Join(dir, fmt.Sprint(n)), 1<<30)
		check(rt, err)
		defer func() { check(rt, s.close()) }()
		ctx := context.Background()
		type level struct {
			xids []uint32 // of the savepoint and of those released into it
			rows int      // kept rows when it began
		}
		var (
			rows   []string
			open   []level
			xid    = uint32(100)
			next   = uint32(101)
			first  = true
			serial int
		)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				open = append(open, level{xids: []uint32{next}, rows: len(rows)})
				next++
			case 1: // release
				if k := len(open); k > 1 {
					open[k-2].xids = append(open[k-2].xids, open[k-1].xids...)
					open = open[:k-1]
				}
			case 2: // roll back
				if k := len(open); k > 0 {
					back := open[k-1]
					for i := range back.xids {
						check(rt, s.abort(xid, back.xids[len(back.xids)-1-i]))
					}
					rows, open = rows[:back.rows], open[:k-1]
				}
			default: // a block of writes, all by the innermost
				check(rt, s.start(xid, first))
				first = false
				writer := xid
				if k := len(open); k > 0 {
					writer = open[k-1].xids[0]
				}
				for range rapid.IntRange(1, 3).Draw(rt, "rows") {
					serial++
					row := fmt.Sprint(serial, strings.Repeat("x", rapid.IntRange(0, 50).Draw(rt, "size")))
					rows = append(rows, row)
					check(rt, s.add(ctx, writer, LSN(serial), []byte(row)))
				}
				check(rt, s.stop(ctx))
			}
		}
		if first {
			return
		}
		tx, frames, err := s.committed(xid)
		check(rt, err)
		for i := 0; ; i++ {
			f, err := frames.next()
			if errors.Is(err, io.EOF) {
				if i != len(rows) {
					rt.Fatalf("got %d rows, want %d", i, len(rows))
				}
				break
			}
			check(rt, err)
			if i >= len(rows) || string(f.message) != rows[i] {
				rt.Fatalf("row %d: got %q", i, f.message)
			}
		}
		check(rt, s.drop(tx))
		if s.bytes.Load() != 0 || s.transactions.Load() != 0 {
			rt.Fatalf("left: %d bytes, %d transactions", s.bytes.Load(), s.transactions.Load())
		}
	})
}

func TestFramesNoticeDamage(t *testing.T) {
	file := appendFrame(appendFrame(nil, 1, 2, []byte("first")), 3, 4, []byte("second message"))
	read := func(b []byte) (n int, err error) {
		r := newFrameReader(bytes.NewReader(b), int64(len(b)))
		for {
			if _, err = r.next(); err != nil {
				return n, err
			}
			n++
		}
	}
	if n, err := read(file); n != 2 || !errors.Is(err, io.EOF) {
		t.Fatalf("whole: got %d, %v", n, err)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x40
		if n, err := read(bad); n == 2 || !errors.Is(err, errSpill) || fault.Of(err).Code != "source.spill_damaged" {
			t.Errorf("byte %d flipped: got %d frames, %v", i, n, err)
		}
		if n, err := read(file[:i]); i > 0 && i != frameHeader+5 && !errors.Is(err, errSpill) {
			t.Errorf("cut at %d: got %d frames, %v", i, n, err)
		}
	}
	short := newFrameReader(bytes.NewReader(file[:30]), int64(len(file)))
	_, _ = short.next()
	if _, err := short.next(); !errors.Is(err, errSpill) {
		t.Errorf("a file shorter than it was: got %v", err)
	}
}

// FuzzSpillFile reads arbitrary bytes as a spill file: frames or an error, and no memory beyond the file's size.
func FuzzSpillFile(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, 1, 2, []byte("first")), 3, 4, nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		r := newFrameReader(bytes.NewReader(file), int64(len(file)))
		var again []byte
		for {
			fr, err := r.next()
			if errors.Is(err, io.EOF) {
				if !bytes.Equal(again, file) {
					t.Errorf("got frames that do not make the file")
				}
				return
			}
			if err != nil {
				if !errors.Is(err, errSpill) {
					t.Errorf("got %v", err)
				}
				return
			}
			if cap(r.buf) > len(file)+4<<10 {
				t.Errorf("allocated %d bytes for a file of %d", cap(r.buf), len(file))
			}
			again = appendFrame(again, fr.subxid, fr.lsn, fr.message)
		}
	})
}
