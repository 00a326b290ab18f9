package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rowferry/rowferry/replicator/progress"
)

// statusLine keeps lines of progress at the foot of a terminal, below what is written through it. On anything but
// a terminal it only passes writes on.
type statusLine struct {
	out      io.Writer
	terminal bool
	width    func() int

	mu    sync.Mutex // guards what follows and keeps writes whole
	lines []string   // on the screen now
}

func newStatusLine(c *console) *statusLine {
	return &statusLine{out: c.err, terminal: c.errTerminal && !c.quiet, width: c.width}
}

// Write puts text above the lines.
func (s *statusLine) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return s.out.Write(text)
	}
	frame := s.erased()
	frame.Write(text)
	s.draw(frame)
	if _, err := io.WriteString(s.out, frame.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// show replaces the lines; none takes them away.
func (s *statusLine) show(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal || (len(lines) == 0 && len(s.lines) == 0) {
		return
	}
	frame := s.erased()
	s.lines = lines
	s.draw(frame)
	_, _ = io.WriteString(s.out, frame.String()) // a terminal that is gone is no reason to stop
}

// erased begins a frame that takes the present lines off the screen.
func (s *statusLine) erased() *strings.Builder {
	frame := &strings.Builder{}
	for range s.lines {
		frame.WriteString("\x1b[1A\x1b[2K")
	}
	return frame
}

// draw adds the lines to a frame, cut to the terminal's width so that each stays one line.
func (s *statusLine) draw(frame *strings.Builder) {
	width := s.width() - 1
	for _, line := range s.lines {
		if utf8.RuneCountInString(line) > width {
			line = string([]rune(line)[:max(width, 0)])
		}
		frame.WriteString(line + "\n")
	}
}

// copyLines says how far each copy is, one line a pipeline.
func copyLines(report progress.Report, c *console) []string {
	var lines []string
	for i := range report.Pipelines {
		p := &report.Pipelines[i]
		if p.State == progress.Copying && p.Copy != nil {
			lines = append(lines, copyLine(p, c.plainText()))
		}
	}
	return lines
}

// copyLine is one copy: share, bar, rows, rates, time left. Bytes are left out: what a table takes on disk, the only
// estimate there is, is not what its rows take on the way.
func copyLine(p *progress.Pipeline, plain bool) string {
	const width = 24
	full, empty := "█", "░"
	if plain {
		full, empty = "#", "."
	}
	done := min(max(int(p.Copy.Ratio*width), 0), width)
	bar := strings.Repeat(full, done) + strings.Repeat(empty, width-done)
	line := fmt.Sprintf("%s  %2.0f%% %s  %s", p.Name, 100*p.Copy.Ratio, bar, formatCount(float64(p.Copy.Rows)))
	if p.Copy.ExpectedRows >= 0 {
		line += " of ~" + formatCount(float64(p.Copy.ExpectedRows))
	}
	line += fmt.Sprintf(" rows   %s/s   %s rows/s", formatBytes(int64(p.Copy.BytesPerSecond)), formatCount(p.Copy.RowsPerSecond))
	if p.Copy.ETASeconds >= 0 {
		line += "   " + formatDuration(seconds(p.Copy.ETASeconds)) + " left"
	}
	return line
}
