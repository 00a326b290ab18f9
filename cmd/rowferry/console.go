package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// console is what a command talks to: data on out, messages on err.
type console struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	inTerminal, outTerminal, errTerminal bool
	width                                func() int // of the terminal behind err

	// Set from flags.
	colorWhen string
	json      bool
	quiet     bool
}

// standardConsole is the process's own.
func standardConsole() *console {
	return &console{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		width: func() int {
			if w, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && w > 0 {
				return w
			}
			return 80
		},
	}
}

// ink colours text for one of the two streams, or leaves it alone.
type ink struct{ on bool }

// ink decides whether a stream is coloured: by --color, else by NO_COLOR, TERM and what the stream is.
func (c *console) ink(terminal bool) ink {
	switch c.colorWhen {
	case "always":
		return ink{true}
	case "never":
		return ink{}
	}
	return ink{terminal && c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb"}
}

func (i ink) paint(code, text string) string {
	if !i.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (i ink) bold(text string) string   { return i.paint("1", text) }
func (i ink) dim(text string) string    { return i.paint("2", text) }
func (i ink) red(text string) string    { return i.paint("31", text) }
func (i ink) green(text string) string  { return i.paint("32", text) }
func (i ink) yellow(text string) string { return i.paint("33", text) }

// symbols are the marks of findings; plain letters where the locale has no UTF-8.
func (c *console) symbols() (pass, warning, problem, arrow string) {
	if c.plainText() {
		return "ok", "!", "X", "->"
	}
	return "✓", "⚠", "✗", "→"
}

// plainText tells whether the locale is one that cannot show more than ASCII.
func (c *console) plainText() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := c.getenv(name); v != "" {
			return v == "C" || v == "POSIX" // C.UTF-8 and all others are fine
		}
	}
	return false
}

// say writes a message for people; -q silences it.
func (c *console) say(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format, args...)
	}
}

// print writes data.
func (c *console) print(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// printJSON writes data for scripts.
func (c *console) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// fail reports the error a command ended with.
func (c *console) fail(err error) {
	d := describe(err)
	if c.json {
		_ = c.printJSON(failure{d}) // nothing is left to tell that to
		return
	}
	p := c.ink(c.errTerminal)
	fmt.Fprintf(c.err, "%s %s\n", p.red("Error:"), d.Message)
	for i, step := range d.Remedy {
		label := "Try:  "
		if i > 0 {
			label = "      "
		}
		fmt.Fprintf(c.err, "%s %s\n", label, step)
	}
	if d.Code != "" {
		_, _, _, arrow := c.symbols()
		fmt.Fprintf(c.err, "%s rowferry explain %s\n", arrow, d.Code)
	}
}

// plural is "1 row", "2 rows".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if strings.HasSuffix(word, "s") || strings.HasSuffix(word, "ch") {
		return fmt.Sprintf("%d %ses", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
