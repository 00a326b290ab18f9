package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// Stdout writes to standard output, at least once.
type Stdout struct {
	cfg    StdoutConfig
	rt     sinks.Runtime
	out    *os.File
	notice sync.Once
	torn   bool // the last line written has no end; guarded by the lock on the ledger
}

// NewStdout makes standard output a target.
func NewStdout(cfg StdoutConfig, rt sinks.Runtime) (*Stdout, error) {
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, err
	}
	return &Stdout{cfg: cfg, rt: rt, out: os.Stdout}, nil
}

// ledgerPath is where the ledger stands: there is nothing it could stand beside.
func (s *Stdout) ledgerPath() string { return filepath.Join(s.rt.StateDir, "stdout.ledger") }

// Open takes the ledger in the state folder.
func (s *Stdout) Open(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	l, err := fileledger.Open(ctx, s.ledgerPath(), c)
	if err != nil {
		return nil, sinks.Held{}, err
	}
	if err := l.Take(ctx, c, l.State.Data); err != nil {
		l.Close()
		return nil, sinks.Held{}, err
	}
	s.notice.Do(func() {
		s.rt.Log.Info().Msg("standard output is at-least-once: after a crash the last lines may come again")
	})
	held := l.State.Held()
	held.Limits = s.cfg.Batch.limits()
	return &pipe{sink: s, encoder: newEncoder(l.State.Position), ledger: l}, held, nil
}

// Inspect reads the ledger beside whoever writes it.
func (s *Stdout) Inspect(_ context.Context, pipeline string) (sinks.Held, error) {
	state, err := fileledger.Read(s.ledgerPath(), pipeline)
	return state.Held(), err
}

// Forget removes the ledger.
func (s *Stdout) Forget(_ context.Context, pipeline string) error {
	return fileledger.Remove(s.ledgerPath(), pipeline)
}

// pipe is the writer of standard output.
type pipe struct {
	sink    *Stdout
	encoder *encoder

	mu     sync.Mutex // guards everything below; held through each Stage and Commit
	ledger *fileledger.Ledger
	failed error
}

// Encode writes a batch's lines into memory.
func (p *pipe) Encode(b *schema.Batch) (sinks.Payload, error) { return p.encoder.encode(b) }

// Stage writes a part of a big transaction at once: what is printed cannot be kept back, nor held in memory.
func (p *pipe) Stage(ctx context.Context, _ int, part sinks.Payload) error {
	return p.do(ctx, func() error { return p.print(ctx, part) })
}

// Commit writes a group's lines, and then the ledger's frame about them.
func (p *pipe) Commit(ctx context.Context, g sinks.Group) error {
	return p.do(ctx, func() error {
		if err := inOrder(&g, p.ledger.State.Seq); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.before_cas"); err != nil {
			return err
		}
		if err := p.ledger.Verify(); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.after_cas"); err != nil {
			return err
		}
		if err := p.print(ctx, g.Payloads...); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.before_commit"); err != nil {
			return err
		}
		return p.record(ctx, &g)
	})
}

// record notes in the ledger what was printed.
func (p *pipe) record(ctx context.Context, g *sinks.Group) error {
	again := g.Copy == nil && g.Phase == schema.PhaseCreating && p.ledger.State.Phase == schema.PhaseCopy
	u := &fileledger.Update{Seq: g.Seq, Position: g.Upto, Phase: g.Phase, Made: g.Made, State: g.State}
	if err := p.ledger.Write(ctx, u); err != nil {
		return unknown(err)
	}
	if err := failpoint.Hit(ctx, "apply.commit_sent_no_reply"); err != nil {
		return fault.Unknown(err)
	}
	if err := p.ledger.Sync(); err != nil {
		return unknown(err)
	}
	if again {
		p.sink.rt.Log.Warn().Msg("the copy begins again: existing rows that were printed come a second time")
	}
	return failpoint.Hit(ctx, "apply.after_commit")
}

// do runs one call alone. After an error nothing more is done.
func (p *pipe) do(ctx context.Context, call func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return fmt.Errorf("after an earlier error: %w", p.failed)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.failed = call()
	return p.failed
}

// print writes payloads.
func (p *pipe) print(ctx context.Context, payloads ...sinks.Payload) error {
	for _, part := range payloads {
		if err := p.sink.write(ctx, part.(*payload).lines); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.mid"); err != nil {
			return err
		}
	}
	p.encoder.recycle(payloads...)
	return nil
}

// write writes all of lines, and first the end of a line that an earlier writer of this process could not finish.
func (s *Stdout) write(ctx context.Context, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if s.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := writeOut(ctx, s.out, lines)
	if n > 0 {
		s.torn = lines[n-1] != '\n'
	}
	return err
}

// writeOut writes lines and tells how many bytes it wrote. A reader that has stopped reading does not keep it from
// noticing that ctx ended: what is no file is written in pieces that a pipe which has room takes without blocking.
// A line that is begun is ended as long as there is room.
func writeOut(ctx context.Context, out *os.File, lines []byte) (done int, err error) {
	if info, err := out.Stat(); err == nil && info.Mode().IsRegular() {
		done, err = out.Write(lines)
		return done, fileledger.Classify(err)
	}
	const piece, wait = 4096, 100 // bytes, milliseconds
	ready := []unix.PollFd{{Fd: int32(out.Fd()), Events: unix.POLLOUT}}
	for done < len(lines) {
		room, err := unix.Poll(ready, wait)
		if ctx.Err() != nil && (room == 0 || done == 0 || lines[done-1] == '\n') {
			return done, context.Cause(ctx)
		}
		next := lines[done:min(done+piece, len(lines))]
		if ctx.Err() != nil {
			if end := bytes.IndexByte(next, '\n'); end >= 0 {
				next = next[:end+1]
			}
		}
		if err == nil && room > 0 {
			var n int
			n, err = unix.Write(int(ready[0].Fd), next)
			done += max(n, 0)
		}
		switch {
		case errors.Is(err, unix.EPIPE):
			return done, fault.Halt("target.stdout_closed", errors.New("the reader of standard output is gone"),
				"start Rowferry again with its output read by something")
		case err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN):
			return done, fmt.Errorf("writing to standard output: %w", err)
		}
	}
	return done, nil
}

// Close gives the ledger back.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger != nil {
		p.ledger.Close()
		p.ledger, p.failed = nil, errors.New("the writer is closed")
	}
	return nil
}
