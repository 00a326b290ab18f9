package file

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// flushAt is how many small payloads are gathered into one write.
const flushAt = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// data is the open data file. Bytes are appended by the kernel (O_APPEND): should a shut-out writer still write,
// its bytes come behind ours, where the next look at the size finds them, and never over ours.
type data struct {
	path    string
	file    *os.File
	size    int64  // bytes written to the file, those of no commit yet included
	crc     uint32 // of the bytes since the last frame
	pending []byte // not yet written
}

// numbered is the name a file gets when it is rotated: events.jsonl becomes events-000001.jsonl.
func numbered(path string, number int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%06d%s", strings.TrimSuffix(path, ext), number, ext)
}

// firstNumber is one more than the highest number a rotated file of this name has.
func firstNumber(path string) (int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return 0, fileledger.Classify(fmt.Errorf("listing the target's folder: %w", err))
	}
	next := 1
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "-"
	for _, e := range entries {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ext), prefix)
		if n, err := strconv.Atoi(digits); ok && err == nil && n >= next {
			next = n + 1
		}
	}
	return next, nil
}

// openData opens the file at what counts of it: bytes beyond are cut off, and the last ones that count have to be
// those that were written.
func openData(path string, x fileledger.Extent) (*data, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fileledger.Classify(fmt.Errorf("opening the file: %w", err))
	}
	d := &data{path: path, file: f, size: x.Length}
	if err := d.settle(x); err != nil {
		_ = f.Close()
		return nil, err
	}
	return d, nil
}

// settle makes the open file exactly as long as counts, durably.
func (d *data) settle(x fileledger.Extent) error {
	info, err := d.file.Stat()
	if err != nil {
		return fmt.Errorf("looking at the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fault.Halt("target.file_access", fmt.Errorf("%s is no regular file", d.path), "name another file")
	}
	if info.Size() < x.Length {
		return damaged(fmt.Errorf("%s holds %d bytes; the ledger says %d", d.path, info.Size(), x.Length))
	}
	if !cutBack {
		d.size = info.Size()
		return nil
	}
	if info.Size() > x.Length {
		if err := d.file.Truncate(x.Length); err != nil {
			return fmt.Errorf("cutting the file back: %w", err)
		}
		if err := d.file.Sync(); err != nil {
			return fmt.Errorf("syncing the file: %w", err)
		}
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(d.file, x.From, x.Length-x.From)); err != nil {
		return fmt.Errorf("reading the end of the file: %w", err)
	}
	if sum.Sum32() != x.CRC {
		return damaged(fmt.Errorf("%s: bytes %d to %d are not those that were written", d.path, x.From, x.Length))
	}
	return fileledger.SyncDir(filepath.Dir(d.path))
}

// damaged is the halt for a file that is not what the ledger says.
func damaged(err error) error {
	return fault.Halt("target.file_damaged", err,
		"put the file and its ledger back from a backup of both\n"+
			"or run `rowferry teardown PIPELINE`, move the file away, and copy again")
}

// verify fails when the file is not as this writer left it.
func (d *data) verify() error {
	named, err := os.Stat(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileledger.Classify(fmt.Errorf("looking at the file: %w", err))
	}
	ours, ourErr := d.file.Stat()
	if ourErr != nil {
		return fmt.Errorf("looking at the file: %w", ourErr)
	}
	if err != nil || !os.SameFile(named, ours) {
		return damaged(fmt.Errorf("%s was moved, removed or replaced while the pipeline was running", d.path))
	}
	if ours.Size() != d.size {
		return fmt.Errorf("%s has %d bytes and not the %d written: somebody else writes it", d.path, ours.Size(), d.size)
	}
	return nil
}

// append adds lines; small ones are gathered.
func (d *data) append(lines []byte) error {
	if len(d.pending)+len(lines) > flushAt {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if len(lines) > flushAt {
		return d.write(lines)
	}
	d.pending = append(d.pending, lines...)
	return nil
}

// flush writes what was gathered.
func (d *data) flush() error {
	lines := d.pending
	d.pending = d.pending[:0]
	return d.write(lines)
}

// write writes to the file.
func (d *data) write(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	n, err := d.file.Write(lines)
	d.size += int64(n)
	if err != nil {
		return fileledger.Classify(fmt.Errorf("writing the file: %w", err))
	}
	d.crc = crc32.Update(d.crc, castagnoli, lines)
	return nil
}

// sync makes everything written durable and says what counts from now on, once the ledger says so too.
func (d *data) sync(was fileledger.Extent) (fileledger.Extent, error) {
	if err := d.flush(); err != nil {
		return was, err
	}
	if d.size == was.Length {
		return was, nil
	}
	if err := d.file.Sync(); err != nil {
		return was, fileledger.Classify(fmt.Errorf("syncing the file: %w", err))
	}
	x := fileledger.Extent{File: was.File, Length: d.size, From: was.Length, CRC: d.crc, Since: was.Since}
	if was.Length == 0 || was.Since == 0 {
		x.Since = time.Now().Unix()
	}
	d.crc = 0
	return x, nil
}

// cut drops bytes of no commit, as far as that can be done now; opening does it in any case.
func (d *data) cut(x fileledger.Extent) {
	if d.size > x.Length && cutBack {
		_ = d.file.Truncate(x.Length)
	}
}

// due tells whether a file is big or old enough to be rotated.
func (r Rotate) due(x fileledger.Extent) bool {
	if x.Length == 0 {
		return false
	}
	return r.Size > 0 && x.Length >= int64(r.Size) ||
		r.Age > 0 && time.Since(time.Unix(x.Since, 0)) >= time.Duration(r.Age)
}

// checkNumber fails when the name that rotation would give is taken.
func checkNumber(path string, number int) error {
	name := numbered(path, number)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return fileledger.Classify(fmt.Errorf("looking for %s: %w", name, err))
		}
		return fault.Halt("target.file_exists", fmt.Errorf("%s exists: %s cannot be given that name", name, path),
			"move "+name+" somewhere else, then start the pipeline again")
	}
	return nil
}

// finishRotation gives the file its number, if it has not got it yet. The ledger says that this is under way.
func finishRotation(ctx context.Context, path string, x fileledger.Extent) (fileledger.Extent, error) {
	name := numbered(path, x.File)
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(path, name)
		if err == nil {
			err = failpoint.Hit(ctx, "state.after_rename")
		}
	}
	if err == nil {
		err = fileledger.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return x, fileledger.Classify(fmt.Errorf("rotating the file: %w", err))
	}
	return fileledger.Extent{File: x.File + 1}, nil
}

// finishUndo takes back everything written since the copy began: files with numbers first, so that what is left
// after a crash is still told from what has to stay. The ledger says that this is under way.
func finishUndo(path string, now, begin fileledger.Extent) (fileledger.Extent, error) {
	for n := now.File - 1; n > begin.File; n-- {
		if err := os.Remove(numbered(path, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return now, fileledger.Classify(fmt.Errorf("taking the copy back: %w", err))
		}
	}
	if now.File > begin.File {
		err := os.Rename(numbered(path, begin.File), path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return now, fileledger.Classify(fmt.Errorf("taking the copy back: %w", err))
		}
	}
	return begin, fileledger.SyncDir(filepath.Dir(path))
}
