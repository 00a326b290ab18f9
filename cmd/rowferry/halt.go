package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
)

// haltText is a halt in the form every halt has: what happened, is data lost, what we did, what you can do.
func haltText(pipeline string, h *progress.Halt, now time.Time, p ink) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s   %s   since %s (%s)\n", p.red(p.bold("HALTED")), p.bold(pipeline), h.Code,
		h.At.UTC().Format("2006-01-02 15:04:05Z"), formatDuration(now.Sub(h.At)))
	out.WriteString(labelled("What happened", h.Happened, 96))
	out.WriteString(labelled("Is data lost?", h.Lost, 96))
	out.WriteString(labelled("What we did", h.Did, 96))
	for i, step := range h.Remedy {
		label := ""
		if i == 0 {
			label = "What you can do"
		}
		if len(h.Remedy) > 1 {
			step = fmt.Sprintf("%d  %s", i+1, step)
		}
		out.WriteString(labelled(label, step, unwrapped))
	}
	out.WriteString(labelled("More", "rowferry explain "+h.Code+" · rowferry status "+pipeline, 96))
	return out.String()
}

// unwrapped is a width for lines that are to be copied as they are: statements, commands.
const unwrapped = 1 << 20

// labelled puts a text beside its label, wrapped and indented.
func labelled(label, text string, width int) string {
	const column = 17
	var out strings.Builder
	for i, line := range wrap(text, width-column) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(&out, "%-*s%s\n", column, label, line)
	}
	return out.String()
}
