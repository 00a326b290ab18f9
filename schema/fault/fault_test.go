package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestClasses(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name    string
		err     error
		class   Class
		code    string
		endless bool
		remedy  bool
		text    string
	}{
		{"unmarked", cause, Retryable, "", false, false, "cause"},
		{"halt", Halt("a.b", cause, "do"), Terminal, "a.b", false, true, "a.b: cause"},
		{"record", Record("a.b", cause, "do"), PerRecord, "a.b", false, true, "a.b: cause"},
		{"wait", Wait("a.b", cause), Retryable, "a.b", true, false, "a.b: cause"},
		{"unknown", Unknown(cause), OutcomeUnknown, "target.outcome_unknown", true, false, "target.outcome_unknown: cause"},
		{"fence", Fence(cause), Fenced, "target.fenced", false, true, "target.fenced: cause"},
		{"in use", InUse("host 1"), Busy, "source.locked", true, false, "source.locked: held by host 1"},
		{"without a code", &Error{Err: cause}, Retryable, "", false, false, "cause"},
	}
	for _, tt := range tests {
		for _, err := range []error{tt.err, fmt.Errorf("opening: %w", tt.err)} {
			e := Of(err)
			if e.Class != tt.class || ClassOf(err) != tt.class || e.Code != tt.code || e.Endless != tt.endless || (e.Remedy != "") != tt.remedy {
				t.Errorf("%s: got %+v, want class %v, code %q", tt.name, e, tt.class, tt.code)
			}
		}
		if got := tt.err.Error(); got != tt.text {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.text)
		}
		if tt.class != Busy && !errors.Is(tt.err, cause) {
			t.Errorf("%s: the cause is lost", tt.name)
		}
	}
}

// TestFirstMarkCounts: what wraps an error decides before what is wrapped.
func TestFirstMarkCounts(t *testing.T) {
	err := Halt("outer.code", fmt.Errorf("x: %w", Wait("inner.code", errors.New("y"))), "do")
	if e := Of(err); e.Code != "outer.code" || e.Class != Terminal {
		t.Errorf("got %+v, want the outer mark", e)
	}
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{
		Retryable: "retryable", Terminal: "terminal", PerRecord: "per_record", Fenced: "fenced",
		OutcomeUnknown: "outcome_unknown", Busy: "busy",
	} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
