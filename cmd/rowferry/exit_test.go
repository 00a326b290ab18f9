package main

import (
	"errors"
	"testing"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// TestCheckExit wants of a check what the table of exit codes says: a supervisor must not start a wrong configuration
// again and again.
func TestCheckExit(t *testing.T) {
	tests := []struct {
		name  string
		found []schema.Finding
		err   error
		want  int
	}{
		{name: "nothing", want: exitDone},
		{name: "a problem", found: []schema.Finding{{Name: "rights", Severity: schema.Problem, Code: "source.privilege"}}, want: exitFound},
		{name: "a server away", found: []schema.Finding{{Name: "connect", Severity: schema.Problem, Code: "source.connect"}}, want: exitEnvironment},
		{name: "a wrong setting", found: []schema.Finding{{Name: "connect", Severity: schema.Problem, Code: "source.config"}}, want: exitUsage},
		{name: "a warning", found: []schema.Finding{{Name: "connect", Severity: schema.Warning, Code: "source.config"}}, want: exitDone},
		{name: "a wrong setting as an error", err: fault.Halt("target.config", errors.New("no such file"), "mend it"), want: exitUsage},
		{name: "a server away as an error", err: fault.Wait("target.connect", errors.New("refused")), want: exitEnvironment},
		{name: "a refusal", err: fault.Halt("target.version", errors.New("too old"), "upgrade"), want: exitFound},
		{name: "unknown", err: errors.New("odd"), want: exitInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r checkedResult
			r.add("source", tt.found, tt.err)
			if r.exit != tt.want {
				t.Errorf("got exit %d, want %d", r.exit, tt.want)
			}
			if tt.err != nil && codeOf(tt.err) != tt.want {
				t.Errorf("outside of a check: got exit %d, want %d", codeOf(tt.err), tt.want)
			}
		})
	}
}
