package replicator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// halt stops the pipeline until an operator acts, and keeps the reason where `status` finds it.
func (p *pipeline) halt(err error) {
	now := time.Now().UTC()
	h := p.explain(err, now)
	p.track.Halted(h, now)
	p.log.Error().Str("state", string(progress.Halted)).Str("code", h.Code).Str("position", h.Position).
		Str("lost", h.Lost).Strs("remedy", h.Remedy).Msg(h.Happened)
	p.file.halt(h)
}

// explain says what happened, whether data is lost, what was done and what can be done.
func (p *pipeline) explain(err error, now time.Time) progress.Halt {
	last := p.track.Snapshot(now)
	h := progress.Halt{At: now, Position: last.Position}
	e := fault.Of(err)
	h.Code, h.Happened = e.Code, e.Err.Error()
	if broke := (*panicError)(nil); errors.As(err, &broke) {
		h.Code, h.Happened = "engine.panic", broke.Error()
		if file, err := p.keepStack(broke, now); err != nil {
			p.log.Error().Err(err).Msg("keeping the details of a panic")
		} else if file != "" {
			h.Happened += "; details are in " + file
		}
	} else if e.Class == fault.Retryable {
		h.Code = "engine.unknown_error"
		h.Happened = fmt.Sprintf("the same error for %s without progress: %s", p.spec.Retry.Unknown, err)
	}
	if h.Code == "" {
		h.Code = "engine.unknown_error"
	}
	doc := p.codes[h.Code]
	h.Lost = "On the target: no. Nothing was skipped or half applied."
	if doc.DataLost != "" {
		h.Lost = doc.DataLost
	}
	h.Lost += " " + p.stands(last.Copy, h.Position)
	h.Did = "Stopped " + p.spec.Name + " and kept its position; the target stays readable. Other pipelines go on."
	remedy := or(or(e.Remedy, doc.Remedy), "rowferry explain "+h.Code)
	for _, step := range strings.Split(remedy, "\n") {
		if step = strings.TrimSpace(step); step != "" {
			h.Remedy = append(h.Remedy, step)
		}
	}
	return h
}

// stands says what the target holds, as far as this process has seen. Until the first copy is done it holds a part of
// the rows, whatever its position says.
func (p *pipeline) stands(copied *progress.Copy, position string) string {
	switch {
	case !p.read:
		return "Where the target stands was not read yet."
	case p.phase == schema.PhaseStream || copied != nil && !copied.Finished.IsZero():
		return "The target is exact up to " + position + "."
	case copied != nil:
		return "The first copy was under way: until it is done, the target holds a part of the rows."
	default:
		return "The first copy is not done: the target does not hold all rows yet."
	}
}

// keepStack writes a panic's value and stack into a private file and returns its path.
func (p *pipeline) keepStack(e *panicError, now time.Time) (string, error) {
	if p.spec.StateDir == "" {
		return "", nil
	}
	path := filepath.Join(p.spec.StateDir, "panic-"+now.Format("20060102T150405.000")+".txt")
	text := fmt.Sprintf("%v\n\n%s", e.value, e.stack)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing the stack: %w", err)
	}
	return path, nil
}
