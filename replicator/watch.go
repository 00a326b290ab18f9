package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// watch keeps rates, the status file and the progress lines of a copy up to date.
func (p *pipeline) watch(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	written, lined := time.Time{}, time.Now()
	for {
		changed := written.IsZero()
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed = true
		case now := <-second.C:
			p.measure()
			if p.track.Tick(now) {
				p.announce()
			}
			if now.Sub(lined) >= p.spec.Intervals.Progress {
				lined = now
				p.line(now)
			}
		}
		now := time.Now()
		if changed || now.Sub(written) >= p.spec.Intervals.Progress {
			written = now
			p.file.write(p.track.Snapshot(now))
		}
	}
}

// measure notes what waits in memory and on disk.
func (p *pipeline) measure() {
	f := p.flow.Load()
	if f == nil {
		p.track.Held(0, 0)
		return
	}
	var spilled int64
	if c, ok := f.stream.(sources.Counter); ok {
		spilled = c.Counts().SpilledBytes
	}
	p.track.Held(f.budget.bytes(), spilled)
}

// line logs the progress of a copy.
func (p *pipeline) line(now time.Time) {
	s := p.track.Snapshot(now)
	if p.bar || s.State != progress.Copying || s.Copy == nil {
		return
	}
	done := 0
	for _, t := range s.Copy.Tables {
		if t.Done {
			done++
		}
	}
	event := p.log.Info().Str("phase", "copy").Str("pct", fmt.Sprintf("%.1f", s.Copy.Ratio*100)).
		Int64("rows", s.Copy.Rows).Int64("rows_s", int64(s.Copy.RowsPerSecond)).
		Int64("bytes_s", int64(s.Copy.BytesPerSecond)).Int("tables", len(s.Copy.Tables)).Int("tables_done", done)
	if s.Copy.ETASeconds >= 0 {
		event = event.Str("eta", time.Duration(s.Copy.ETASeconds*float64(time.Second)).Round(time.Second).String())
	}
	event.Msg("copying")
}

// observe looks at what the reader costs the source, for as long as the pipeline lives: a target that is down does
// not stop the source from keeping log. A problem found ends the pipeline.
func (p *pipeline) observe(ctx context.Context) error {
	source, ok := p.spec.Source.(sources.Observer)
	if !ok {
		return nil
	}
	tick := time.NewTicker(p.spec.Intervals.Observe)
	defer tick.Stop()
	var known guard
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s := p.track.State(); !p.opened.Load() || s == progress.Standby || s == progress.Halted {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, p.spec.Intervals.Observe)
		o, err := source.Observe(bounded)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if known.unseen(err != nil) && err != nil {
			p.log.Warn().Err(err).Msg("the source cannot be observed: what its log costs is not known")
		}
		if err != nil {
			continue
		}
		p.track.Observed(o.RetainedBytes, o.RetentionLimit)
		if err := p.warn(&known, o); err != nil {
			return err
		}
	}
}

// warn logs what is new about an observation, and returns the problem it found.
func (p *pipeline) warn(known *guard, o sources.Observation) error {
	if percent, rose := known.level(o.RetainedBytes, o.RetentionLimit); rose {
		p.log.Warn().Int64("retained_bytes", o.RetainedBytes).Int64("retention_limit_bytes", o.RetentionLimit).
			Int("percent", percent).Msg("the source keeps much log for this pipeline")
	}
	for _, f := range known.fresh(o.Findings) {
		if f.Severity == schema.Problem {
			return fault.Halt(or(f.Code, "source.problem"), errors.New(f.Text), f.Fix)
		}
		p.log.Warn().Str("code", f.Code).Str("what", f.Name).Str("fix", f.Fix).Msg(f.Text)
	}
	return nil
}

// guard remembers what was said of a source, so that each thing is said once. It is pure.
type guard struct {
	blind   bool
	reached int
	said    map[string]bool
}

// guardLevels are the shares of the limit, in percent, that are worth a line each.
var guardLevels = []int{50, 70, 80, 90, 95}

// unseen tells whether failing to observe is new.
func (g *guard) unseen(blind bool) bool {
	was := g.blind
	g.blind = blind
	return blind != was
}

// level is the highest level reached, and whether it is higher than before.
func (g *guard) level(retained, limit int64) (percent int, rose bool) {
	if limit <= 0 {
		g.reached = 0
		return 0, false
	}
	share := int(float64(retained) / float64(limit) * 100)
	reached := 0
	for _, l := range guardLevels {
		if share >= l {
			reached = l
		}
	}
	rose = reached > g.reached
	g.reached = reached
	return share, rose
}

// fresh is what was not found the time before, problems and warnings only.
func (g *guard) fresh(findings []schema.Finding) []schema.Finding {
	said, out := map[string]bool{}, []schema.Finding(nil)
	for _, f := range findings {
		if f.Severity == schema.Pass {
			continue
		}
		key := f.Code + "\x00" + f.Name
		if said[key] = true; !g.said[key] || f.Severity == schema.Problem {
			out = append(out, f)
		}
	}
	g.said = said
	return out
}
