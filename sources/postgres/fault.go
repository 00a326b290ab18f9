package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/fault"
)

// serverError is an error a server sent, without what may hold values of rows.
type serverError struct{ *pgconn.PgError }

// quoted is what a message may quote from a row.
var quoted = regexp.MustCompile(`"[^"]*"`)

// Error is the message and the SQLSTATE. Messages about data (class 22 and 23) lose what they quote.
func (e serverError) Error() string {
	message := e.Message
	if strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "23") {
		message = quoted.ReplaceAllString(message, `"…"`)
	}
	return fmt.Sprintf("%s (SQLSTATE %s)", message, e.Code)
}

// Unwrap is the library's error.
func (e serverError) Unwrap() error { return e.PgError }

// classify marks an error of this source for the engine. It is the only place that reads SQLSTATEs. Errors that
// are marked already, and the caller's own cancellation, pass as they are.
func classify(err error) error {
	var marked *fault.Error
	if err == nil || errors.As(err, &marked) || errors.Is(err, context.Canceled) {
		return err
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return classifyServer(err, server)
	}
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
	)
	if errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return fault.Wait("source.tls", err)
	}
	// What is left are sockets, names that do not resolve, time-outs and connections that ended.
	return fault.Wait("source.connect", err)
}

// classifyServer marks an error by its SQLSTATE, and by the server's routine where one code means several things:
// messages may be translated, names of routines are not.
func classifyServer(err error, pg *pgconn.PgError) error {
	err = redact(err, pg)
	switch pg.Code {
	case "42704": // undefined_object
		switch routine := strings.ToLower(pg.Routine); {
		case strings.Contains(routine, "publication"):
			return fault.Halt("source.publication_missing", err, remedyPublicationMissing)
		case strings.Contains(routine, "slot"):
			return fault.Halt("source.slot_missing", err, remedyGap)
		case strings.Contains(routine, "option"), strings.Contains(routine, "config"):
			return fault.Halt("source.config", err, "the source's url sets a parameter the server does not know: correct it")
		}
	case "42710": // duplicate_object
		return fault.Halt("source.slot_exists", err, remedySlotExists)
	case "55006": // object_in_use
		return fault.Wait("source.slot_active", err)
	case "55000": // object_not_in_prerequisite_state
		if pg.Routine == "CheckLogicalDecodingRequirements" {
			return fault.Halt("source.wal_level", err, remedyWALLevel)
		}
		if strings.Contains(pg.Message, "slot") {
			return fault.Halt("source.slot_lost", err, remedyGap)
		}
		return fault.Halt("source.state", err, "the server refused what the source needs: see its message")
	case "55P03": // lock_not_available
		return fault.Wait("source.table_locked", err)
	case "58P01": // undefined_file: a WAL segment that is gone
		return fault.Halt("source.slot_lost", err, remedyGap)
	case "53300": // too_many_connections
		return fault.Wait("source.no_connection", err)
	case "53400": // configuration_limit_exceeded: slots or walsenders
		return fault.Wait("source.no_free_slot", err)
	case "3D000": // invalid_catalog_name
		return fault.Halt("source.database", err, "correct the database's name in the source's url")
	case "42501": // insufficient_privilege
		if pg.Routine == "check_enable_rls" {
			return fault.Halt("source.row_security", err, remedyRowSecurity)
		}
		return fault.Halt("source.privilege", err, remedyPrivilege)
	case "08P01": // protocol_violation: poolers refuse our settings with it
		if strings.Contains(pg.Message, "startup parameter") {
			return poolerFault(err)
		}
	case "0A000": // feature_not_supported
		if strings.Contains(pg.Message, "recovery") || strings.Contains(pg.Message, "standby") {
			return fault.Halt("source.in_recovery", err, remedyInRecovery)
		}
		return fault.Halt("source.unsupported", err, "the server cannot do this: see its message")
	case "25006": // read_only_sql_transaction
		return fault.Halt("source.in_recovery", err, remedyInRecovery)
	case "22021", "22P04", "22P05": // an encoding that UTF-8 cannot hold
		return fault.Halt("source.encoding", err, "the source holds text that is not valid in its own encoding: mend the rows")
	case "XX000", "XX001", "XX002":
		return fault.Halt("source.decoding", err,
			"the source server could not decode its own log: the slot is kept; look at the server's log and ask its support")
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "28": // invalid authorization
		return fault.Halt("source.auth", err, "correct the source's user and password, or pg_hba.conf on the server")
	case "08", "57": // connection, shutdown, cancelled
		return fault.Wait("source.connect", err)
	case "53": // no memory, disk full
		return fault.Wait("source.capacity", err)
	}
	return err
}

// historyFault marks an error of asking for a timeline's history, whose file can be missing where the log is not: in a
// backup without it, or after a cleanup by hand.
func historyFault(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "58P01" {
		return fault.Halt("source.timeline_history", redact(err, server), remedyHistory)
	}
	return classify(err)
}

// classifyLook marks an error of looking for old rows, which has a limit.
func classifyLook(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "57014" { // query_canceled, as by statement_timeout
		return errUnanswered
	}
	return classify(err)
}

// redact swaps the server's error in err's chain for one whose text holds no values.
func redact(err error, pg *pgconn.PgError) error {
	var done serverError
	if errors.As(err, &done) {
		return err
	}
	safe := serverError{pg}
	text := strings.ReplaceAll(err.Error(), pg.Error(), safe.Error())
	return &redacted{text: text, cause: safe}
}

// redacted keeps the words around a server's error.
type redacted struct {
	text  string
	cause error
}

// Error is the text without values.
func (e *redacted) Error() string { return e.text }

// Unwrap is the server's error.
func (e *redacted) Unwrap() error { return e.cause }

// The remedies that several faults share.
const (
	remedyGap = "the target is exact up to its position, but the log after it is gone from the source\n" +
		"`rowferry teardown` the pipeline, empty its target tables, and start it again: it copies everything anew"
	remedySlotExists = "if nobody needs the slot, drop it: SELECT pg_drop_replication_slot('NAME');\n" +
		"or give the pipeline another one with source.slot.name\n" +
		"or, if another program left it at the place where this pipeline is to go on, without a copy: rowferry adopt PIPELINE --slot NAME"
	remedyPublicationMissing = "create the publication again and, because changes made without it are not in the stream, " +
		"`rowferry teardown` the pipeline and copy again"
	remedyWALLevel    = "ALTER SYSTEM SET wal_level = logical;\nrestart the source server"
	remedyRowSecurity = "ALTER ROLE rowferry BYPASSRLS;  -- as a superuser: row-level security would hide rows from the copy"
	remedyPrivilege   = "grant what the server's message names; `rowferry check` prints the statements"
	remedyHistory     = "put the file of that timeline's history (NNNNNNNN.history) back into the server's pg_wal,\n" +
		"from the archive or from another server of the cluster, and restart the pipeline: nothing else is lost"
	remedyInRecovery = "name the primary in the source's url; reading from a standby needs Postgres 16 or later, " +
		"and a publication made on the primary"
)
