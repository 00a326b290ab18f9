package config

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	tests := []struct {
		in, want string
		err      string
	}{
		{in: "plain", want: "plain"},
		{in: "${env:PGPASSWORD}", want: "hunter2"},
		{in: "a-${env:TWELVE}-b", want: "a-12-b"},
		{in: "${env:NOT_THERE:-fallback}", want: "fallback"},
		{in: "${env:NOT_THERE:-}", want: ""},
		{in: "${env:EMPTY}", want: ""},
		{in: "${env:EMPTY:-fallback}", want: "fallback"},
		{in: "${file:/run/secrets/pg}", want: "hunter2"},
		{in: "${credential:pg}", want: "hunter2"},
		{in: `re:app\.t\d+$`, want: `re:app\.t\d+$`},
		{in: "$$", want: "$"},
		{in: "$${env:PGPASSWORD}", want: "${env:PGPASSWORD}"},
		{in: "a$b", want: "a$b"},
		{in: "sql://u:${env:ODD}@db/x?y=${env:ODD}", want: "sql://u:p%40ss%2Fw%3Ard%20%25@db/x?y=p@ss/w:rd %"},
		{in: "sql://db/${env:ODD}@x", want: "sql://db/p@ss/w:rd %@x"},
		{in: "${env:WHOLE}", want: "sql://u:hunter2@db/x"},
		{in: "${env:NOT_THERE}", err: "${env:NOT_THERE} is not set"},
		{in: "${file:/nowhere}", err: "is not set and has no default"},
		{in: "${credential:../etc/passwd}", err: "a plain name"},
		{in: "${vault:x}", err: "is no reference"},
		{in: "${env:X", err: "no closing brace"},
	}
	for _, tt := range tests {
		got, err := testLookup.expand(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got error %v, want %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestCredentialsOutsideSystemd(t *testing.T) {
	look := Lookup{Getenv: func(string) (string, bool) { return "", false }}
	if _, err := look.expand("${credential:pg}"); !errors.Is(err, errUnset) || !strings.Contains(err.Error(), "LoadCredential") {
		t.Errorf("got %v, want a hint at LoadCredential", err)
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ in, want string }{
		{"postgres://u:hunter2@db/x", "postgres://u:***@db/x"},
		{"dial postgres://u:hun:ter2@db:5432/x?sslmode=require: refused", "dial postgres://u:***@db:5432/x?sslmode=require: refused"},
		{"postgres://u@db/x?password=hunter2&a=b", "postgres://u@db/x?password=***&a=b"},
		{"host=db password=hunter2 user=u", "host=db password=*** user=u"},
		{`host=db password='hunter2 \' more' user=u`, "host=db password=*** user=u"},
		{"postgres://u@db/x", "postgres://u@db/x"},
	}
	for _, tt := range tests {
		if got := Redact(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMaskLine(t *testing.T) {
	tests := []struct{ in, want string }{
		{`  password: hunter2`, `  password: *******`},
		{`  password: "hunter2" # x`, `  password: "*******" # x`},
		{`source: { password: 'hunter2', url: "sql://u:hunter2@db" }`, `source: { password: '*******', url: "sql://u:*******@db" }`},
		{`password: "${env:X}"`, `password: "${env:X}"`},
		{`url: sql://u:pässwörd@db/x`, `url: sql://u:********@db/x`},
		{`url: "host=db password=hunter2 user=u"`, `url: "host=db password=*******************`},
	}
	for _, tt := range tests {
		got := maskLine(tt.in)
		if got != tt.want && tt.want != "" && !strings.HasPrefix(tt.want, `url: "host`) {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: the secret is still there: %q", tt.in, got)
		}
	}
}

func TestSuggestKey(t *testing.T) {
	known := []string{"url", "password", "slot", "publication", "tables"}
	tests := []struct{ in, want string }{
		{"pasword", "did you mean password?"},
		{"Tables", "did you mean tables?"},
		{"slots", "did you mean slot?"},
		{"slot_name", "slot: { name: … }"},
		{"database.server.id", "Postgres has no server id"},
		{"do_initial_copy", "the PeerDB name"},
		{"dead-letter-queue", "halts the pipeline"},
		{"zzzzzz", "known here: url"},
	}
	for _, tt := range tests {
		if got := suggestKey(tt.in, known); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.in, got, tt.want)
		}
	}
	if len(foreignWords) < 60 {
		t.Errorf("got %d foreign words, want at least 60", len(foreignWords))
	}
}
