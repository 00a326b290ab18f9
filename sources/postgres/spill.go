package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
)

const (
	spillBuffer    = 128 << 10 // gathered before a write; one for all transactions
	spillIndex     = 64 << 10  // subtransactions of one transaction whose beginning is kept in memory
	spillSuffix    = ".spill"
	remedySpilling = "raise spill_limit, or end the transaction at the source\n" +
		"or set streaming: false, and the server keeps big transactions on its own disk until they commit"
)

// spill keeps the messages of transactions in progress, which the server sends interleaved, one file for each.
// It has one user; bytes and transactions may be read from anywhere.
type spill struct {
	dir   string
	limit int64 // of all files together
	txs   map[uint32]*spilled
	cur   *spilled // of the stream block that is open
	buf   []byte   // frames of cur that are not in its file yet

	bytes        atomic.Int64
	transactions atomic.Int64
}

// spilled is one transaction in progress.
type spilled struct {
	xid     uint32
	file    *os.File
	size    int64 // with what is still in the buffer
	written int64
	origin  []byte
	// Where each subtransaction begins, in order, as far as they are few. All that follows the beginning of one
	// belongs to it or to what is rolled back together with it, so that a rollback cuts the file there.
	index []subtransaction
	first map[uint32]int64
	more  bool // there are subtransactions beyond the index
}

type subtransaction struct {
	xid    uint32
	offset int64
}

// openSpill makes the folder private and removes what a crash left in it: the server sends it again.
func openSpill(dir string, limit int64) (*spill, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of spill files: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of spill files private: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing old spill files: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), spillSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("removing an old spill file: %w", err)
		}
	}
	return &spill{dir: dir, limit: limit, txs: make(map[uint32]*spilled)}, nil
}

// start opens a stream block of a transaction.
func (s *spill) start(xid uint32, first bool) error {
	tx := s.txs[xid]
	switch {
	case s.cur != nil:
		return protocolFault("a stream block of transaction %d begins inside one of %d", xid, s.cur.xid)
	case first && tx != nil:
		return protocolFault("transaction %d in progress begins twice", xid)
	case !first && tx == nil:
		return protocolFault("transaction %d in progress goes on without a beginning", xid)
	case first:
		name := filepath.Join(s.dir, fmt.Sprintf("%d%s", xid, spillSuffix))
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return spillError("making", err)
		}
		tx = &spilled{xid: xid, file: file, first: make(map[uint32]int64)}
		s.txs[xid] = tx
		s.transactions.Store(int64(len(s.txs)))
	}
	s.cur = tx
	return nil
}

// add keeps a message of the open block. It is copied.
func (s *spill) add(ctx context.Context, subxid uint32, lsn LSN, message []byte) error {
	tx := s.cur
	size := int64(frameHeader + len(message))
	if total := s.bytes.Load() + size; total > s.limit {
		return fault.Halt("source.spill_limit", fmt.Errorf(
			"%d transactions in progress take more than the %d bytes they may (spill_limit); the largest is transaction %d",
			len(s.txs), s.limit, s.largest()), remedySpilling)
	}
	if subxid != tx.xid {
		tx.note(subxid)
	}
	if len(s.buf) > 0 && len(s.buf)+int(size) > spillBuffer {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.buf = appendFrame(s.buf, subxid, lsn, message)
	tx.size += size
	s.bytes.Add(size)
	return nil
}

// note remembers where a subtransaction begins.
func (tx *spilled) note(subxid uint32) {
	if _, seen := tx.first[subxid]; seen {
		return
	}
	if len(tx.index) >= spillIndex {
		tx.more = true
		return
	}
	tx.index = append(tx.index, subtransaction{subxid, tx.size})
	tx.first[subxid] = tx.size
}

// largest is the transaction that takes most.
func (s *spill) largest() uint32 {
	var most *spilled
	for _, tx := range s.txs {
		if most == nil || tx.size > most.size {
			most = tx
		}
	}
	return most.xid
}

// stop closes the open block.
func (s *spill) stop(ctx context.Context) error {
	if s.cur == nil {
		return protocolFault("a stream block ends that did not begin")
	}
	err := s.flush(ctx)
	s.cur = nil
	return err
}

// flush writes what is gathered of the open block.
func (s *spill) flush(ctx context.Context) error {
	if len(s.buf) == 0 {
		return nil
	}
	if err := failpoint.Hit(ctx, "spill.write"); err != nil {
		return err
	}
	if _, err := s.cur.file.WriteAt(s.buf, s.cur.written); err != nil {
		return spillError("writing", err)
	}
	s.cur.written += int64(len(s.buf))
	s.buf = s.buf[:0]
	if cap(s.buf) > 2*spillBuffer { // after a large message
		s.buf = nil
	}
	return nil
}

// abort drops a transaction in progress, or what one of its subtransactions did. What was never sent is no loss.
func (s *spill) abort(xid, subxid uint32) error {
	tx := s.txs[xid]
	switch {
	case s.cur != nil:
		return protocolFault("transaction %d is rolled back inside a stream block", xid)
	case tx == nil:
		return nil
	case subxid == xid:
		return s.drop(tx)
	}
	offset, found := tx.first[subxid]
	if !found && tx.more {
		var err error
		if offset, found, err = tx.search(subxid); err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	if err := tx.file.Truncate(offset); err != nil {
		return spillError("cutting", err)
	}
	s.bytes.Add(offset - tx.size)
	tx.size, tx.written = offset, offset
	for n := len(tx.index); n > 0 && tx.index[n-1].offset >= offset; n-- {
		delete(tx.first, tx.index[n-1].xid)
		tx.index = tx.index[:n-1]
	}
	return nil
}

// search finds the beginning of a subtransaction in the file.
func (tx *spilled) search(subxid uint32) (offset int64, found bool, err error) {
	r := newFrameReader(io.NewSectionReader(tx.file, 0, tx.size), tx.size)
	for {
		offset = tx.size - r.left
		f, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return 0, false, nil
		case err != nil:
			return 0, false, err
		case f.subxid == subxid:
			return offset, true, nil
		}
	}
}

// drop forgets a transaction and removes its file.
func (s *spill) drop(tx *spilled) error {
	delete(s.txs, tx.xid)
	s.transactions.Store(int64(len(s.txs)))
	s.bytes.Add(-tx.size)
	err := errors.Join(tx.file.Close(), os.Remove(tx.file.Name()))
	if err != nil {
		return fmt.Errorf("removing a spill file: %w", err)
	}
	return nil
}

// committed gives a transaction that is to be replayed; who replayed it drops it.
func (s *spill) committed(xid uint32) (*spilled, *frameReader, error) {
	tx := s.txs[xid]
	if tx == nil || s.cur != nil {
		return nil, nil, protocolFault("transaction %d commits, but is not in progress", xid)
	}
	return tx, newFrameReader(io.NewSectionReader(tx.file, 0, tx.size), tx.size), nil
}

// close removes all files.
func (s *spill) close() error {
	var errs []error
	for _, tx := range s.txs {
		errs = append(errs, s.drop(tx))
	}
	return errors.Join(errs...)
}

// spillError marks what went wrong with a file. A full disk passes by itself.
func spillError(doing string, err error) error {
	err = fmt.Errorf("%s a spill file: %w", doing, err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wait("source.spill_disk_full", err)
	}
	return err
}
