package setting

import (
	"fmt"
	"strings"
)

// Span is a range of durations written from..to: 100ms..30s.
type Span struct{ From, To Duration }

// UnmarshalText reads "100ms..30s"; the first may not be longer than the second.
func (s *Span) UnmarshalText(text []byte) error {
	from, to, ok := strings.Cut(string(text), "..")
	if !ok {
		return fmt.Errorf("%q is no range: write 100ms..30s", text)
	}
	var read Span
	if err := read.From.UnmarshalText([]byte(from)); err != nil {
		return err
	}
	if err := read.To.UnmarshalText([]byte(to)); err != nil {
		return err
	}
	if read.From > read.To {
		return fmt.Errorf("%q begins after it ends: write the shorter duration first", text)
	}
	*s = read
	return nil
}

// String writes the span as it is read.
func (s Span) String() string { return s.From.String() + ".." + s.To.String() }

// MarshalText writes the span as it is read.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
