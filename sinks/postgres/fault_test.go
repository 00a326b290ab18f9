package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/fault"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		state, code string
		class       fault.Class
		endless     bool
		rows        bool // about rows, if it is the answer to a row's statement
	}{
		{state: "08006", code: "target.connect", endless: true},
		{state: "08P01"},
		{state: "57P01", code: "target.connect", endless: true},
		{state: "57P03", code: "target.connect", endless: true},
		{state: "57014", code: "target.connect", endless: true},
		{state: "40001", code: "target.contention", endless: true},
		{state: "40P01", code: "target.contention", endless: true},
		{state: "55P03", code: "target.contention", endless: true},
		{state: "25P03", code: "target.contention", endless: true},
		{state: "53300", code: "target.no_connection", endless: true},
		{state: "53100", code: "target.capacity", endless: true},
		{state: "53200", code: "target.capacity", endless: true},
		{state: "54000", code: "target.value_refused", class: fault.PerRecord, rows: true},
		{state: "54001", code: "target.capacity", endless: true},
		{state: "58030", code: "target.capacity", endless: true},
		{state: "25006", code: "target.read_only", endless: true},
		{state: "42P01", code: "target.schema_mismatch", class: fault.Terminal, rows: true},
		{state: "42703", code: "target.schema_mismatch", class: fault.Terminal, rows: true},
		{state: "42804", code: "target.schema_mismatch", class: fault.Terminal, rows: true},
		{state: "42501", code: "target.privilege", class: fault.Terminal},
		{state: "28P01", code: "target.auth", class: fault.Terminal},
		{state: "28000", code: "target.auth", class: fault.Terminal},
		{state: "3D000", code: "target.database", class: fault.Terminal},
		{state: "42P05", code: "target.pooler", class: fault.Terminal},
		{state: "26000", code: "target.pooler", class: fault.Terminal},
		{state: "0A000", code: "target.unsupported", class: fault.Terminal},
		{state: "23505", code: "target.row_exists", class: fault.PerRecord, rows: true},
		{state: "23P01", code: "target.row_exists", class: fault.PerRecord, rows: true},
		{state: "23503", code: "target.foreign_key", class: fault.PerRecord, rows: true},
		{state: "23502", code: "target.null_refused", class: fault.PerRecord, rows: true},
		{state: "23514", code: "target.value_refused", class: fault.PerRecord, rows: true},
		{state: "22001", code: "target.value_refused", class: fault.PerRecord, rows: true},
		{state: "22P02", code: "target.value_refused", class: fault.PerRecord, rows: true},
		{state: "22021", code: "target.value_refused", class: fault.PerRecord, rows: true},
		{state: "P0001", code: "target.trigger_refused", class: fault.PerRecord, rows: true},
		{state: "XX000"},
	}
	known := map[string]bool{}
	for _, c := range Codes {
		known[c.Name] = true
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			server := &pgconn.PgError{
				Code: tt.state, Severity: "ERROR", Message: `invalid input syntax: "` + canary + `"`, Detail: "Key (v)=(" + canary + ")",
				Where: canary, Hint: canary,
			}
			err := classify(fmt.Errorf("doing something: %w", server))
			f := fault.Of(err)
			if f.Code != tt.code || f.Class != tt.class || f.Endless != tt.endless {
				t.Errorf("got code %q, class %s, endless %v; want %q, %s, %v", f.Code, f.Class, f.Endless, tt.code, tt.class, tt.endless)
			}
			if f.Code != "" && !known[f.Code] {
				t.Errorf("code %s is not documented", f.Code)
			}
			if f.Class == fault.Terminal && f.Remedy == "" {
				t.Error("a halt without a remedy")
			}
			if got := ofRows(err); got != tt.rows {
				t.Errorf("about rows: got %v, want %v", got, tt.rows)
			}
			if data := strings.HasPrefix(tt.state, "22") || strings.HasPrefix(tt.state, "23") || strings.HasPrefix(tt.state, "P0"); data &&
				strings.Contains(err.Error(), canary) {
				t.Errorf("got %q, which quotes a value", err)
			}
			if strings.Contains(err.Error(), "Key (v)") {
				t.Errorf("got %q, which has the DETAIL", err)
			}
			if !strings.HasPrefix(strings.TrimPrefix(err.Error(), f.Code+": "), "doing something: ") {
				t.Errorf("got %q, want what was being done first", err)
			}
		})
	}
	for _, err := range []error{io.ErrUnexpectedEOF, errors.New("broken pipe"), context.DeadlineExceeded} {
		if f := fault.Of(classify(err)); f.Code != "target.connect" || !f.Endless {
			t.Errorf("%v: got %+v, want target.connect without end", err, f)
		}
	}
	if err := classify(context.Canceled); !errors.Is(err, context.Canceled) || fault.Of(err).Code != "" {
		t.Errorf("got %v, want the cancellation as it is", err)
	}
}

// TestCodesAreComplete: each fault has all its texts, once.
func TestCodesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		if c.Title == "" || c.Meaning == "" || c.DataLost == "" || c.Remedy == "" {
			t.Errorf("%s lacks a text", c.Name)
		}
	}
}

func TestSeveredSessionsAreUnknown(t *testing.T) {
	for severity, want := range map[string]bool{"ERROR": false, "FATAL": true, "PANIC": true} {
		if got := severed(&pgconn.PgError{SeverityUnlocalized: severity}); got != want {
			t.Errorf("%s: got %v, want %v", severity, got, want)
		}
	}
}
