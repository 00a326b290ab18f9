package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
)

// statusView prints a report for people.
type statusView struct {
	*app
	report statusReport
	now    time.Time
	ink    ink
}

// urgency orders states: what needs somebody first.
var urgency = map[progress.State]int{
	progress.Halted: 0, progress.Retrying: 1, progress.Starting: 2, progress.Copying: 3, progress.CatchingUp: 4,
	progress.Standby: 5, progress.Streaming: 6, progress.Stopped: 7,
}

// table prints one line a pipeline, with the reason under those that need somebody.
func (v *statusView) table() {
	slices.SortStableFunc(v.report.Pipelines, func(a, b pipelineStatus) int {
		return cmp.Compare(urgency[a.State], urgency[b.State])
	})
	v.print("%s\n", v.headline())
	since := "SINCE"
	if !v.report.Live {
		since = "SEEN"
	}
	rows := [][]string{{"PIPELINE", "STATE", since, "LAG", "ROWS/S", "SOURCE HOLDS", "COPY"}}
	for i := range v.report.Pipelines {
		rows = append(rows, v.row(&v.report.Pipelines[i]))
	}
	lines := strings.SplitAfter(columns(rows, v.paint), "\n")
	for i, line := range lines {
		v.print("%s", line)
		if i > 0 && i <= len(v.report.Pipelines) {
			v.reason(&v.report.Pipelines[i-1])
		}
	}
	v.next()
}

// headline counts the states and says what answered.
func (v *statusView) headline() string {
	counts := map[progress.State]int{}
	for i := range v.report.Pipelines {
		counts[v.report.Pipelines[i].State]++
	}
	var parts []string
	states := slices.Clone(progress.States)
	slices.SortStableFunc(states, func(a, b progress.State) int { return cmp.Compare(urgency[a], urgency[b]) })
	for _, s := range states {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], stateText(s)))
		}
	}
	if counts[""] > 0 {
		parts = append(parts, fmt.Sprintf("%d never run here", counts[""]))
	}
	head := strings.Join(parts, " · ")
	if !v.report.Live {
		return v.ink.yellow("no daemon answers") + "; last known: " + head
	}
	return fmt.Sprintf("%s   %s", v.ink.bold(head),
		v.ink.dim(fmt.Sprintf("rowferry %s, up %s", v.report.Version, formatDuration(v.now.Sub(v.report.Started)))))
}

// stateText is a state for people.
func stateText(s progress.State) string {
	if s == progress.Halted {
		return "HALTED"
	}
	return strings.ReplaceAll(string(s), "_", " ")
}

// row is a pipeline's line of the table.
func (v *statusView) row(p *pipelineStatus) []string {
	if p.State == "" {
		return []string{p.Name, "never run", "-", "-", "-", "-", "-"}
	}
	since, lag, rate := formatDuration(v.now.Sub(p.Since)), formatDuration(seconds(p.LagSeconds)), formatCount(p.RowsPerSecond)
	if !v.report.Live {
		since, lag, rate = formatDuration(v.now.Sub(p.At))+" ago", "-", "-"
	}
	if p.State == progress.Copying || p.State == progress.Starting {
		lag = "-"
	}
	return []string{p.Name, stateText(p.State), since, lag, rate, retained(&p.Pipeline), copied(&p.Pipeline)}
}

// retained says how much log the source keeps for a pipeline, and of how much it may.
func retained(p *progress.Pipeline) string {
	text := formatBytes(p.RetainedBytes)
	if p.RetentionLimit > 0 {
		text += " of " + formatBytes(p.RetentionLimit)
		if p.RetainedBytes*10 >= p.RetentionLimit*7 {
			text += " !"
		}
	}
	return text
}

// copied says how far the first copy is.
func copied(p *progress.Pipeline) string {
	switch {
	case p.Copy == nil:
		return "-"
	case !p.Copy.Finished.IsZero():
		return "done"
	case p.Copy.ETASeconds < 0:
		return fmt.Sprintf("%.0f%%", 100*p.Copy.Ratio)
	}
	return fmt.Sprintf("%.0f%%, %s left", 100*p.Copy.Ratio, formatDuration(seconds(p.Copy.ETASeconds)))
}

// paint colours the table.
func (v *statusView) paint(row, column int, cell string) string {
	if row == 0 {
		return v.ink.dim(cell)
	}
	if column != 1 {
		return cell
	}
	switch v.report.Pipelines[row-1].State {
	case progress.Halted:
		return v.ink.red(cell)
	case progress.Retrying:
		return v.ink.yellow(cell)
	case progress.Streaming:
		return v.ink.green(cell)
	}
	return cell
}

// reason is the line under a pipeline that needs somebody.
func (v *statusView) reason(p *pipelineStatus) {
	_, _, _, arrow := v.symbols()
	if p.Halt != nil {
		v.print("  %s: %s %s rowferry explain %s\n", v.ink.red(p.Halt.Code), firstSentence(p.Halt.Happened), arrow, p.Halt.Code)
	} else if p.Waiting != "" {
		v.print("  waiting: %s\n", p.Waiting)
	}
	if p.Ledger != nil && p.Ledger.Error != "" {
		v.print("  target not read: %s\n", p.Ledger.Error)
	} else if p.Ledger != nil {
		v.print("  %s\n", v.ink.dim("target stands at "+p.Ledger.Position))
	}
}

// next proposes the command to go on with.
func (v *statusView) next() {
	if v.quiet {
		return
	}
	for i := range v.report.Pipelines {
		if v.report.Pipelines[i].Halt != nil {
			v.say("Next: rowferry status %s\n", v.report.Pipelines[i].Name)
			return
		}
	}
	if !v.report.Live {
		v.say("Next: rowferry run\n")
	}
}

// detail prints everything about one pipeline.
func (v *statusView) detail(p *pipelineStatus) {
	if p.Halt != nil {
		v.print("%s", haltText(p.Name, p.Halt, v.now, v.ink))
	} else {
		state := stateText(p.State)
		if p.State == "" {
			state = "never run here"
		}
		v.print("%s  %s\n", v.ink.bold(p.Name), state)
	}
	v.print("%s", labelled("From", p.Source, unwrapped))
	v.print("%s", labelled("To", p.Target, unwrapped))
	if p.State != "" {
		v.facts(p)
	}
	if l := p.Ledger; l != nil && l.Error == "" {
		v.print("%s", labelled("Ledger", fmt.Sprintf("phase %s, position %s, group %d", cmp.Or(string(l.Phase), "none"), l.Position, l.Seq), unwrapped))
		if len(l.Made) > 0 {
			v.print("%s", labelled("Made by us", strings.Join(l.Made, ", "), unwrapped))
		}
	} else if l != nil {
		v.print("%s", labelled("Ledger", "not read: "+l.Error, unwrapped))
	}
}

// facts prints what a daemon knows of a pipeline.
func (v *statusView) facts(p *pipelineStatus) {
	line := func(label, format string, args ...any) {
		v.print("%s", labelled(label, fmt.Sprintf(format, args...), unwrapped))
	}
	if v.report.Live {
		line("Since", "%s (%s)", p.Since.UTC().Format("2006-01-02 15:04:05Z"), formatDuration(v.now.Sub(p.Since)))
	} else {
		line("Last seen", "%s (%s ago); no daemon answers now", p.At.UTC().Format("2006-01-02 15:04:05Z"), formatDuration(v.now.Sub(p.At)))
	}
	if p.Waiting != "" {
		line("Waiting", "%s", p.Waiting)
	}
	line("Position", "%s", cmp.Or(p.Position, "none"))
	if !p.PositionTime.IsZero() {
		line("Exact up to", "%s", p.PositionTime.UTC().Format("2006-01-02 15:04:05.000Z"))
	}
	if v.report.Live {
		line("Lag", "%s", formatDuration(seconds(p.LagSeconds)))
		line("Rows", "%s/s, %d since the daemon started, in %s", formatCount(p.RowsPerSecond), p.Rows, plural(int(p.Transactions), "transaction"))
	}
	line("Source holds", "%s", retained(&p.Pipeline))
	if p.SpilledBytes > 0 {
		line("Spilled", "%s of open transactions on disk", formatBytes(p.SpilledBytes))
	}
	if p.Retries > 0 {
		line("Retries", "%d since the daemon started", p.Retries)
	}
	if p.Copy != nil {
		v.copyTables(p.Copy)
	}
}

// copyTables prints the copy, what is under way first.
func (v *statusView) copyTables(c *progress.Copy) {
	done := 0
	for i := range c.Tables {
		if c.Tables[i].Done {
			done++
		}
	}
	summary := fmt.Sprintf("%.0f%%, %d of %s", 100*c.Ratio, done, plural(len(c.Tables), "table"))
	if c.Finished.IsZero() && c.ETASeconds >= 0 {
		summary += ", " + formatDuration(seconds(c.ETASeconds)) + " left"
	}
	v.print("%s", labelled("Copy", summary+fmt.Sprintf(", %s, %d rows", formatBytes(c.Bytes), c.Rows), unwrapped))
	const most = 12
	shown := 0
	for i := range c.Tables {
		t := &c.Tables[i]
		if t.Done || t.Rows == 0 || shown == most {
			continue
		}
		shown++
		text := fmt.Sprintf("%s  %d", t.Name, t.Rows)
		if t.ExpectedRows >= 0 {
			text += fmt.Sprintf(" of ~%d", t.ExpectedRows)
		}
		v.print("%s", labelled("", text+" rows", unwrapped))
	}
}
