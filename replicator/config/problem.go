package config

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong, or doubtful, in a configuration file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 when the problem has no place
	Column  int    `json:"column"` // in characters, from 1
	Code    string `json:"code"`   // "config.unknown_key"
	Path    string `json:"path,omitempty"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"` // the way out
	Warning bool   `json:"warning,omitempty"`

	width  int    // characters to underline, at least 1
	source string // the line of the file, with secrets masked
}

// Problems is everything that was found in one file, in the order of the lines.
type Problems []Problem

// Errors counts those that are no mere warnings.
func (p Problems) Errors() int {
	n := 0
	for i := range p {
		if !p[i].Warning {
			n++
		}
	}
	return n
}

// Error lists the errors in one line each, for callers that need an error value.
func (p Problems) Error() string {
	var lines []string
	for i := range p {
		if !p[i].Warning {
			lines = append(lines, p[i].String())
		}
	}
	return strings.Join(lines, "\n")
}

// String is the problem in one line: place, code, text.
func (p *Problem) String() string {
	severity := "error"
	if p.Warning {
		severity = "warning"
	}
	return fmt.Sprintf("%s: %s %s: %s", p.Place(), severity, p.Code, p.Text)
}

// Place is file:line:column, as editors read it.
func (p *Problem) Place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Print writes the problem with the line it is about and a mark under the place.
func (p *Problem) Print(w io.Writer) {
	fmt.Fprintln(w, p.String())
	if p.source == "" {
		if p.Hint != "" {
			fmt.Fprintf(w, "  → %s\n", p.Hint)
		}
		return
	}
	number := fmt.Sprintf("%4d", p.Line)
	fmt.Fprintf(w, "%s | %s\n", number, p.source)
	mark := strings.Repeat(" ", max(p.Column-1, 0)) + strings.Repeat("^", max(p.width, 1))
	fmt.Fprintf(w, "%s | %s\n", strings.Repeat(" ", len(number)), strings.TrimRight(mark+" "+p.Hint, " "))
}

// sorted puts problems in the order of their places and drops repetitions.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code))
	})
	return slices.CompactFunc(p, func(a, b Problem) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Code == b.Code && a.Text == b.Text
	})
}

var secretPlaces = []*regexp.Regexp{
	regexp.MustCompile(`://[^:/@\s"']*:([^@\s]+)@`),
	regexp.MustCompile(`(?i)(?:password|passwd|secret|token|sslpassword)["']?\s*[:=]\s*(?:"((?:[^"\\]|\\.)*)"?|'([^']*)'?|([^\s,}&"'][^,}&]*))`),
}

// maskLine replaces what looks like a secret in a line of the file by as many stars, so that columns stay right.
func maskLine(line string) string {
	for _, re := range secretPlaces {
		for _, at := range re.FindAllStringSubmatchIndex(line, -1) {
			for i := 2; i+1 < len(at); i += 2 {
				if at[i] < 0 {
					continue
				}
				secret := line[at[i]:at[i+1]]
				if onlyReferences(secret) {
					continue
				}
				stars := strings.Repeat("*", utf8.RuneCountInString(secret))
				stars += strings.Repeat("\x00", len(secret)-len(stars)) // keeps the other matches' offsets
				line = line[:at[i]] + stars + line[at[i+1]:]
			}
		}
	}
	return strings.ReplaceAll(line, "\x00", "")
}

var passwordInURL = regexp.MustCompile(`(://[^:/@\s]*):(?:[^@\s]*)@`)

var passwordParameter = regexp.MustCompile(`(?i)\b((?:ssl)?password)=('(?:[^'\\]|\\.)*'?|[^&\s]+)`)

// Redact takes passwords out of a connection string, whichever way they are written there.
func Redact(text string) string {
	text = passwordInURL.ReplaceAllString(text, "$1:***@")
	return passwordParameter.ReplaceAllString(text, "$1=***")
}
