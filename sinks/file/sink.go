package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// Sink writes into a file.
type Sink struct {
	cfg  Config
	rt   sinks.Runtime
	path string
}

// New makes a file target. It does not touch the file.
func New(cfg Config, rt sinks.Runtime) (*Sink, error) {
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, err
	}
	path, err := pathOf(cfg.URL)
	if err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, rt: rt, path: path}, nil
}

// ledgerPath is where the ledger of the file at path stands.
func ledgerPath(path string) string { return path + ".ledger" }

// Open takes the lock, checks the claim, finishes what a crash interrupted, cuts the file back to what counts, and
// raises the epoch, in this order.
func (s *Sink) Open(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	l, err := fileledger.Open(ctx, ledgerPath(s.path), c)
	if err != nil {
		return nil, sinks.Held{}, err
	}
	w, err := s.open(ctx, l, c)
	if err != nil {
		l.Close()
		return nil, sinks.Held{}, err
	}
	held := l.State.Held()
	held.Limits = s.cfg.Batch.limits()
	return w, held, nil
}

// open does the part of Open that follows the lock.
func (s *Sink) open(ctx context.Context, l *fileledger.Ledger, c sinks.Claim) (*writer, error) {
	x, err := s.extent(ctx, &l.State)
	if err != nil {
		return nil, err
	}
	d, err := openData(s.path, x)
	if err != nil {
		return nil, err
	}
	if err := l.Take(ctx, c, x); err != nil {
		_ = d.file.Close()
		return nil, err
	}
	return &writer{rotate: s.cfg.Rotate, encoder: newEncoder(l.State.Position), ledger: l, data: d}, nil
}

// extent is how much of the file counts, once the move the ledger knows to be under way is finished.
func (s *Sink) extent(ctx context.Context, state *fileledger.State) (fileledger.Extent, error) {
	switch {
	case state.Epoch == 0:
		return s.begin()
	case state.Moving == fileledger.Rotating:
		return finishRotation(ctx, s.path, state.Data)
	case state.Moving == fileledger.Undoing:
		return finishUndo(s.path, state.Data, *state.Undo)
	}
	if _, err := os.Lstat(s.path); errors.Is(err, fs.ErrNotExist) && state.Data.Length > 0 {
		return state.Data, damaged(fmt.Errorf("%s is gone; the ledger says it holds %d bytes", s.path, state.Data.Length))
	}
	return state.Data, nil
}

// begin looks at a file that no ledger stands beside.
func (s *Sink) begin() (fileledger.Extent, error) {
	number, err := firstNumber(s.path)
	if err != nil {
		return fileledger.Extent{}, err
	}
	x := fileledger.Extent{File: number}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return x, fileledger.Classify(fmt.Errorf("opening the file: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return x, fmt.Errorf("looking at the file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return x, nil // opening it for writing tells what else is wrong
	}
	if s.cfg.Existing != "append" {
		return x, fault.Halt("target.file_not_empty",
			fmt.Errorf("%s holds %d bytes, and no ledger says what they are", s.path, info.Size()),
			"name another file, or move this one away\nor set existing: append on the target to write behind what is there")
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return x, fmt.Errorf("reading the end of the file: %w", err)
	}
	if last[0] != '\n' {
		return x, fault.Halt("target.file_not_empty", fmt.Errorf("%s does not end with a whole line", s.path),
			"end its last line, or name another file")
	}
	x.Length, x.From, x.Since = info.Size(), info.Size(), info.ModTime().Unix()
	return x, nil
}

// Inspect reads the ledger beside whoever writes it.
func (s *Sink) Inspect(_ context.Context, pipeline string) (sinks.Held, error) {
	state, err := fileledger.Read(ledgerPath(s.path), pipeline)
	return state.Held(), err
}

// Forget removes the ledger. The file stays, as long as it is then.
func (s *Sink) Forget(_ context.Context, pipeline string) error {
	return fileledger.Remove(ledgerPath(s.path), pipeline)
}

// Check looks at the folder, the file and the ledger.
func (s *Sink) Check(_ context.Context, _ []*schema.Table) ([]schema.Finding, error) {
	dir := filepath.Dir(s.path)
	findings := []schema.Finding{finding("folder", dir+" can be written", folderError(dir))}
	state, err := fileledger.Read(ledgerPath(s.path), s.rt.Pipeline)
	text := "none yet: the pipeline begins anew"
	if state.Epoch > 0 {
		text = fmt.Sprintf("%s, %d bytes count, at %s", s.path, state.Data.Length, state.Position)
	}
	findings = append(findings, finding("ledger", text, err))
	if err == nil && state.Epoch == 0 {
		_, err := s.begin()
		findings = append(findings, finding("file", s.path+" is free to be written", err))
	}
	return findings, nil
}

// folderError tells why nothing can be made in a folder.
func folderError(dir string) error {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	if err != nil {
		err = &fs.PathError{Op: "writing into", Path: dir, Err: err}
	}
	return fileledger.Classify(err)
}

// finding is a pass with the text given, or the problem err is.
func finding(name, text string, err error) schema.Finding {
	if err == nil {
		return schema.Finding{Area: "target", Name: name, Text: text}
	}
	e := fault.Of(err)
	return schema.Finding{
		Area: "target", Name: name, Severity: schema.Problem, Text: e.Err.Error(), Code: e.Code, Fix: e.Remedy,
	}
}
