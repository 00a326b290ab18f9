package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/fault"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		state, routine, message string
		code                    string
		class                   fault.Class
	}{
		{"42704", "ReplicationSlotAcquire", `replication slot "s" does not exist`, "source.slot_missing", fault.Terminal},
		{"42704", "get_publication_oid", `publication "p" does not exist`, "source.publication_missing", fault.Terminal},
		{"42704", "GetPublicationByName", `Publikation »p« existiert nicht`, "source.publication_missing", fault.Terminal},
		{"42704", "find_option", `unrecognized configuration parameter "frob"`, "source.config", fault.Terminal},
		{"42704", "typenameType", `type "gone" does not exist`, "", fault.Retryable},
		{"42710", "ReplicationSlotCreate", `replication slot "s" already exists`, "source.slot_exists", fault.Terminal},
		{"55006", "ReplicationSlotAcquire", `replication slot "s" is active for PID 7`, "source.slot_active", fault.Retryable},
		{"55000", "StartLogicalReplication", `can no longer get changes from replication slot "s"`, "source.slot_lost", fault.Terminal},
		{"55000", "CreateDecodingContext", `cannot read from logical replication slot "s"`, "source.slot_lost", fault.Terminal},
		{"55000", "ReplicationSlotAcquire", `can no longer access replication slot "s"`, "source.slot_lost", fault.Terminal},
		{"55000", "CheckLogicalDecodingRequirements", "logical decoding requires wal_level >= logical", "source.wal_level", fault.Terminal},
		{"55000", "other", "no", "source.state", fault.Terminal},
		{"58P01", "XLogReadRaiseError", "requested WAL segment 000 has already been removed", "source.slot_lost", fault.Terminal},
		{"53300", "", "sorry, too many clients already", "source.no_connection", fault.Retryable},
		{"53400", "ReplicationSlotCreate", "all replication slots are in use", "source.no_free_slot", fault.Retryable},
		{"53200", "", "out of memory", "source.capacity", fault.Retryable},
		{"3D000", "", `database "d" does not exist`, "source.database", fault.Terminal},
		{"28P01", "", `password authentication failed for user "u"`, "source.auth", fault.Terminal},
		{"28000", "", "no pg_hba.conf entry", "source.auth", fault.Terminal},
		{"42501", "aclcheck_error", "permission denied for table t", "source.privilege", fault.Terminal},
		{"42501", "check_enable_rls", `query would be affected by row-level security policy for table "t"`, "source.row_security", fault.Terminal},
		{"08P01", "", "unsupported startup parameter: row_security", "source.pooler", fault.Terminal},
		{"08P01", "", "something else", "source.connect", fault.Retryable},
		{"57P01", "", "terminating connection due to administrator command", "source.connect", fault.Retryable},
		{"57P03", "", "the database system is starting up", "source.connect", fault.Retryable},
		{"57014", "", "canceling statement due to user request", "source.connect", fault.Retryable},
		{"0A000", "CheckLogicalDecodingRequirements", "logical decoding cannot be used while in recovery", "source.in_recovery", fault.Terminal},
		{"0A000", "", "no", "source.unsupported", fault.Terminal},
		{"25006", "", "cannot execute CREATE PUBLICATION in a read-only transaction", "source.in_recovery", fault.Terminal},
		{"22021", "", `invalid byte sequence for encoding "UTF8": 0xff`, "source.encoding", fault.Terminal},
		{"XX000", "", "could not map filenumber", "source.decoding", fault.Terminal},
		{"40001", "", "could not serialize access", "", fault.Retryable},
	}
	for _, test := range tests {
		t.Run(test.state+" "+test.message, func(t *testing.T) {
			pg := &pgconn.PgError{Severity: "ERROR", Code: test.state, Routine: test.routine, Message: test.message}
			err := classify(fmt.Errorf("doing this: %w", pg))
			got := fault.Of(err)
			if got.Code != test.code || got.Class != test.class {
				t.Errorf("got %s %s, want %s %s", got.Code, got.Class, test.code, test.class)
			}
			if !strings.Contains(err.Error(), "doing this: ") {
				t.Errorf("got %q, want what was being done", err)
			}
			var back *pgconn.PgError
			if !errors.As(err, &back) {
				t.Error("the server's error is no longer in the chain")
			}
			if again := classify(err); again != err && fault.Of(again).Code != test.code {
				t.Errorf("got %v for a classified error, want the same", again)
			}
		})
	}
}

func TestClassifyKeepsValuesOut(t *testing.T) {
	pg := &pgconn.PgError{
		Severity: "ERROR", Code: "22P02", Message: `invalid input syntax for type integer: "canary"`,
		Detail: "canary", Where: "canary",
	}
	err := classify(fmt.Errorf("copying: %w", pg))
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("got %q, which holds a value", err)
	}
}

func TestClassifyOthers(t *testing.T) {
	if err := classify(nil); err != nil {
		t.Errorf("got %v for no error", err)
	}
	if err := classify(context.Canceled); err != context.Canceled {
		t.Errorf("got %v for the caller's own cancellation", err)
	}
	wantFault(t, classify(errors.New("connection reset by peer")), "source.connect", fault.Retryable)
	if !fault.Of(classify(errors.New("reset"))).Endless {
		t.Error("a lost connection has to be retried without end")
	}
}

// TestEveryCodeIsDocumented finds the codes in the package's own text.
func TestEveryCodeIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, c := range Codes {
		if documented[c.Name] {
			t.Errorf("%s is documented twice", c.Name)
		}
		documented[c.Name] = true
		if c.Title == "" || c.Meaning == "" || c.DataLost == "" || c.Remedy == "" {
			t.Errorf("%s is not documented in full", c.Name)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "codes.go" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile(`"source\.[a-z_]+"`).FindAllString(string(text), -1) {
			name := strings.Trim(code, `"`)
			used[name] = true
			if !documented[name] {
				t.Errorf("%s uses %s, which is not documented", file, name)
			}
		}
	}
	for name := range documented {
		if !used[name] {
			t.Errorf("%s is documented and not used", name)
		}
	}
}
