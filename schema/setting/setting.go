// Package setting holds the types of configuration values that connectors share: durations and sizes with units,
// and secrets that never print themselves.
package setting

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time written with its unit: 250ms, 10s, 5m, 2h, 7d.
type Duration time.Duration

// UnmarshalText reads "10s"; a number without a unit is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > math.MaxInt64/float64(24*time.Hour) {
			return fmt.Errorf("%q is no duration: write 250ms, 10s, 5m, 2h or 7d", s)
		}
		*d = Duration(n * float64(24*time.Hour))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 || (s != "0" && !strings.ContainsAny(s, "hmsuµn")) {
		return fmt.Errorf("%q is no duration: write 250ms, 10s, 5m, 2h or 7d", s)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration with its unit.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration with its unit.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of bytes written with its unit: 64MiB (binary) or 64MB (decimal), or 0.
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads "64MiB"; a number without a unit is an error, but for 0.
func (z *Size) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "0" {
		*z = 0
		return nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || n < 0 || n*float64(u.bytes) > math.MaxInt64/2 {
			break
		}
		*z = Size(n * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("%q is no size: write 512KiB, 64MiB, 2GiB or 64MB", s)
}

// String writes the size with the largest binary unit that divides it.
func (z Size) String() string {
	for i := 3; i >= 0; i-- {
		if z != 0 && int64(z)%units[i].bytes == 0 {
			return strconv.FormatInt(int64(z)/units[i].bytes, 10) + units[i].suffix
		}
	}
	if z == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(z), 10) + "B"
}

// MarshalText writes the size with its unit.
func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// Secret is a text that prints as stars.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from every encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText keeps the text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// Reveal is the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }
