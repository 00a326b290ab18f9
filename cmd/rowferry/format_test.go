package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
)

func TestFormats(t *testing.T) {
	tests := []struct{ got, want string }{
		{formatBytes(0), "0 B"}, {formatBytes(999), "999 B"}, {formatBytes(1000), "0.98 KiB"}, {formatBytes(64 << 20), "64.0 MiB"},
		{formatBytes(212 << 30), "212 GiB"}, {formatBytes(1 << 62), "4096 PiB"},
		{formatCount(0), "0"}, {formatCount(999.4), "999"}, {formatCount(999.6), "1.00k"}, {formatCount(38_100), "38.1k"}, {formatCount(2.5e6), "2.50M"},
		{formatDuration(-time.Second), "0s"}, {formatDuration(400 * time.Millisecond), "0.4s"}, {formatDuration(45 * time.Second), "45s"},
		{formatDuration(65 * time.Second), "1m05s"}, {formatDuration(25 * time.Minute), "25m"},
		{formatDuration(3*time.Hour + 12*time.Minute), "3h12m"}, {formatDuration(216 * time.Hour), "9d"},
		{plural(1, "row"), "1 row"}, {plural(0, "row"), "0 rows"}, {plural(2, "batch"), "2 batches"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestEndText(t *testing.T) {
	tests := []struct{ kind, url, want string }{
		{"postgres", "postgres://u:secret@db1:5432/shop?sslmode=require", "postgres db1:5432/shop"},
		{"postgres", "postgres://u:se@cret@a:1,b:2/shop", "postgres a:1,b:2/shop"},
		{"postgres", "host=db1 user=u password=secret dbname=shop", "postgres db1:5432/shop"},
		{"postgres", "host='db 1' port=1 password='se cret' dbname=shop", "postgres db 1:1/shop"},
		{"file", "file:/var/x.jsonl", "file /var/x.jsonl"},
		{"file", "file:///var/x.jsonl", "file /var/x.jsonl"},
		{"stdout", "stdout:", "stdout"},
	}
	for _, tt := range tests {
		if got := endText(tt.kind, tt.url); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.url, got, tt.want)
		}
	}
}

func TestStatusLine(t *testing.T) {
	var out bytes.Buffer
	s := &statusLine{out: &out, terminal: true, width: func() int { return 40 }}
	copying := progress.Pipeline{Name: "shop", State: progress.Copying, Copy: &progress.Copy{
		Ratio: 0.62, Rows: 49_300_000, ExpectedRows: 79_500_000, RowsPerSecond: 38100, BytesPerSecond: 41 << 20, ETASeconds: 840,
	}}
	line := copyLine(&copying, false)
	const want = "shop  62% ██████████████░░░░░░░░░░  49.3M of ~79.5M rows   41.0 MiB/s   38.1k rows/s   14m left"
	if line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	s.show([]string{line})
	if _, err := s.Write([]byte("a message\n")); err != nil {
		t.Fatal(err)
	}
	s.show(nil)
	s.show(nil)
	cut := string([]rune(want)[:39]) + "\n"
	if got, want := out.String(), cut+"\x1b[1A\x1b[2Ka message\n"+cut+"\x1b[1A\x1b[2K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	s.terminal = false
	s.show([]string{line})
	if out.Len() != 0 {
		t.Errorf("not a terminal, but got %q", out.String())
	}
	copying.Copy.ETASeconds, copying.Copy.ExpectedRows = -1, -1
	if got := copyLine(&copying, true); strings.Contains(got, "left") || strings.Contains(got, "█") || strings.Contains(got, "~") {
		t.Errorf("got %q, want no estimate and plain letters", got)
	}
}

func TestWorse(t *testing.T) {
	for _, tt := range []struct{ a, b, want int }{
		{exitDone, exitFound, exitFound}, {exitFound, exitRefused, exitRefused}, {exitUsage, exitRefused, exitUsage},
		{exitUsage, exitEnvironment, exitEnvironment}, {exitEnvironment, exitFound, exitEnvironment},
	} {
		if got := worse(tt.a, tt.b); got != tt.want {
			t.Errorf("%d and %d: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
