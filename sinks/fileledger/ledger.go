package fileledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// compactAt is the size, beyond what one full frame takes, at which a ledger is rewritten.
const compactAt = 1 << 20

// Ledger is an open ledger. It has one user at a time.
type Ledger struct {
	State State // as of the last frame; read only

	path  string
	lock  *os.File
	file  *os.File // nil until Take
	size  int64    // bytes of the file
	small int64    // bytes of the file when it was last rewritten
}

// Open locks the ledger at path and reads it. A claim that does not match what it says halts; nothing has been
// changed by then, and nothing is before [Ledger.Take].
func Open(ctx context.Context, path string, c sinks.Claim) (*Ledger, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	f, err := lock(path+".lock", c.Holder)
	if err != nil {
		return nil, err
	}
	l := &Ledger{path: path, lock: f}
	state, size, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		state, err = State{}, nil
	}
	if err == nil && state.Epoch > 0 {
		err = match(path, state.Claim, c)
	}
	if err != nil {
		l.Close()
		return nil, Classify(err)
	}
	l.State, l.size = state, size
	return l, nil
}

// match checks a claim against the last writer's.
func match(path string, was, now sinks.Claim) error {
	if was.Pipeline != now.Pipeline {
		return fault.Halt("target.other_pipeline",
			fmt.Errorf("%s belongs to pipeline %q, not to %q", path, was.Pipeline, now.Pipeline),
			"give this pipeline a target of its own\nor run `rowferry teardown "+was.Pipeline+"` if the other one is gone")
	}
	if was.Source != now.Source {
		return fault.Halt("target.other_source",
			fmt.Errorf("%s was written from source %s, this is %s", path, was.Source, now.Source),
			"point the pipeline at the source it came from\nor run `rowferry teardown "+was.Pipeline+
				"`, move the data away, and copy from the new source")
	}
	if was.Fingerprint != now.Fingerprint {
		return fault.Halt("target.scope_changed",
			fmt.Errorf("tables, filters or renames of pipeline %q are not those %s was written with", was.Pipeline, path),
			"undo the change in the configuration\nor run `rowferry teardown "+was.Pipeline+
				"`, move the data away, and copy again with the new scope")
	}
	return nil
}

// Take makes the caller the writer: the epoch is raised, and the ledger rewritten, so that an older writer finds
// its file replaced. data is how much of the data counts from here on; a move that was under way has been finished.
func (l *Ledger) Take(ctx context.Context, c sinks.Claim, data Extent) error {
	next := l.State
	next.Claim, next.Data, next.Moving = c, data, ""
	next.Epoch++
	if next.Records == nil {
		next.Records, next.Counts = map[string][]byte{}, map[string]Tally{}
	}
	if err := l.rewrite(ctx, &next); err != nil {
		return err
	}
	l.State = next
	return nil
}

// Verify fails when another writer took over or the file was tampered with. It is called before anything of a
// commit is written.
func (l *Ledger) Verify() error {
	named, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return corrupt(l.path, errors.New("gone: somebody removed it while the pipeline was running"))
	}
	if err != nil {
		return Classify(fmt.Errorf("looking at the ledger: %w", err))
	}
	ours, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("looking at the ledger: %w", err)
	}
	if !os.SameFile(named, ours) || named.Size() != l.size {
		return fault.Fence(fmt.Errorf("another writer has replaced %s (ours was epoch %d)", l.path, l.State.Epoch))
	}
	return nil
}

// Write appends the frame of one commit. It counts once it is on disk: after Sync, or after a crash that did not
// lose it. After an error the outcome is unknown until the ledger is opened again.
func (l *Ledger) Write(ctx context.Context, u *Update) error {
	if l.size > l.small+compactAt {
		if err := l.rewrite(ctx, &l.State); err != nil {
			return err
		}
	}
	f := l.State.next(u)
	line, err := appendFrame(nil, f)
	if err != nil {
		return err
	}
	if _, err := l.file.Write(line); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	l.size += int64(len(line))
	return l.State.apply(f, false)
}

// Sync makes everything written durable.
func (l *Ledger) Sync() error {
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("syncing the ledger: %w", err)
	}
	return nil
}

// rewrite replaces the ledger by one that holds s as its only frame.
func (l *Ledger) rewrite(ctx context.Context, s *State) error {
	text, err := appendFrame(fmt.Appendf(nil, "%s%d\n", magic, version), s.full())
	if err != nil {
		return err
	}
	tmp := l.path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Classify(fmt.Errorf("opening a new ledger: %w", err))
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = failpoint.Hit(ctx, "state.tmp_written")
	}
	if err == nil {
		err = failpoint.Hit(ctx, "state.before_rename")
	}
	if err == nil {
		err = os.Rename(tmp, l.path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return Classify(fmt.Errorf("writing a new ledger: %w", err))
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.size, l.small = f, int64(len(text)), int64(len(text))
	if err := failpoint.Hit(ctx, "state.after_rename"); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(l.path))
}

// SyncDir makes names made, changed or removed in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return Classify(fmt.Errorf("opening a folder: %w", err))
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the folder %s: %w", dir, err)
	}
	return nil
}

// Close gives the lock back. It writes nothing.
func (l *Ledger) Close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	if l.lock != nil {
		unlock(l.path+".lock", l.lock)
		l.lock = nil
	}
}

// Read reads what the ledger at path holds of a pipeline, beside whoever writes it. The state is zero when there
// is no ledger, or when it is another pipeline's.
func Read(path, pipeline string) (State, error) {
	s, _, err := load(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.Claim.Pipeline != pipeline {
		return State{}, nil
	}
	return s, Classify(err)
}

// Remove removes the ledger at path, a damaged one too, but not another pipeline's nor that of a live writer.
func Remove(path, pipeline string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := lock(path+".lock", "teardown")
	if err != nil {
		return err
	}
	defer unlock(path+".lock", f)
	s, _, err := load(path)
	if err == nil && s.Claim.Pipeline != pipeline {
		return nil
	}
	for _, name := range []string{path, path + ".tmp"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Classify(fmt.Errorf("removing the ledger: %w", err))
		}
	}
	return SyncDir(filepath.Dir(path))
}
