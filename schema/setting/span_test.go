package setting

import (
	"strings"
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	tests := []struct {
		text string
		want Span
		says string // of an error
	}{
		{text: "100ms..30s", want: Span{Duration(100 * time.Millisecond), Duration(30 * time.Second)}},
		{text: "2s..2s", want: Span{Duration(2 * time.Second), Duration(2 * time.Second)}},
		{text: "30s..100ms", says: "begins after it ends"},
		{text: "30s", says: "no range"},
		{text: "1..30s", says: "no duration"},
		{text: "1s..", says: "no duration"},
	}
	for _, tt := range tests {
		var got Span
		err := got.UnmarshalText([]byte(tt.text))
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %v, want an error with %q", tt.text, err, tt.says)
			}
			continue
		}
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("%s: got %v, %v", tt.text, got, err)
		}
	}
}
