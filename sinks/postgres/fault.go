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

// serverError is an error a server sent, without what may hold values of rows: no DETAIL, and no quotations where
// the message is about data.
type serverError struct{ *pgconn.PgError }

// quoted is what a message may quote from a row.
var quoted = regexp.MustCompile(`"(?:[^"]|"")*"`)

// Error is the message and the SQLSTATE. What a message of the classes for data quotes is left out, and the
// constraint or column it is about is named from the fields made for it.
func (e serverError) Error() string {
	message := e.Message
	switch class := e.Code[:min(2, len(e.Code))]; class {
	case "22", "23", "P0":
		message = quoted.ReplaceAllString(message, `"…"`)
		if class == "P0" { // a trigger's own words: they may hold anything
			message = "a trigger of the target raised an exception"
		}
		if first, _, found := strings.Cut(message, ": "); found {
			message = first
		}
		if e.ConstraintName != "" {
			message += ", constraint " + quoteName(e.ConstraintName)
		}
		if e.ColumnName != "" {
			message += ", column " + quoteName(e.ColumnName)
		}
	}
	return fmt.Sprintf("%s (SQLSTATE %s)", message, e.Code)
}

// Unwrap is the library's error.
func (e serverError) Unwrap() error { return e.PgError }

// errNoAnswer is the cause of a connection given up because the server was silent.
var errNoAnswer = errors.New("the server did not answer in time")

// classify marks an error of this target for the engine. It is the only place that reads SQLSTATEs. Errors that
// are marked already, and the caller's own cancellation, pass as they are.
func classify(err error) error {
	var marked *fault.Error
	if err == nil || errors.As(err, &marked) {
		return err
	}
	if errors.Is(err, context.Canceled) && !errors.Is(err, errNoAnswer) {
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
		return fault.Wait("target.tls", err)
	}
	// What is left are sockets, names that do not resolve, time-outs and connections that ended.
	return fault.Wait("target.connect", err)
}

// classifyServer marks an error by its SQLSTATE.
func classifyServer(err error, pg *pgconn.PgError) error {
	err = redact(err, pg)
	switch pg.Code {
	case "25006": // read_only_sql_transaction: a standby, or a primary that was demoted
		return fault.Wait("target.read_only", err)
	case "40001", "40P01", "55P03", "25P03", "25P04": // serialization, deadlock, lock and idle time-outs
		return fault.Wait("target.contention", err)
	case "53300", "53400": // too many connections
		return fault.Wait("target.no_connection", err)
	case "3D000":
		return fault.Halt("target.database", err, "correct the database's name in the target's url")
	case "08P01":
		if strings.Contains(pg.Message, "startup parameter") {
			return poolerFault(err)
		}
		return err
	case "42P05", "26000": // prepared statements that come and go by themselves
		return poolerFault(err)
	case "42501": // insufficient_privilege
		return fault.Halt("target.privilege", err, remedyPrivilege)
	case "23505", "23P01":
		return fault.Record("target.row_exists", err, remedyRowExists)
	case "23503":
		return fault.Record("target.foreign_key", err, remedyForeignKey)
	case "23502":
		return fault.Record("target.null_refused", err, remedyNull)
	case "54000": // a row too big for a page or an index
		return fault.Record("target.value_refused", err, remedyValue)
	case "0A000": // feature_not_supported
		return fault.Halt("target.unsupported", err, "the server cannot do this to the table: see its message")
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "28":
		return fault.Halt("target.auth", err, "correct the target's user and password, or pg_hba.conf on the server")
	case "08", "57":
		return fault.Wait("target.connect", err)
	case "53", "54", "58": // memory, disk, limits, files
		return fault.Wait("target.capacity", err)
	case "22", "23":
		return fault.Record("target.value_refused", err, remedyValue)
	case "42", "2B":
		return fault.Halt("target.schema_mismatch", err, remedySchema)
	case "P0", "44", "09", "38", "39":
		return fault.Record("target.trigger_refused", err, remedyTrigger)
	}
	return err
}

// ofRows tells whether an error is about the rows of a statement, so that it can be pinned on one change.
func ofRows(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "22", "23", "P0", "44", "09", "38", "39":
		return true
	case "54":
		return pg.Code == "54000"
	case "42":
		// The statement itself is refused. It is the same for every row, and naming the first tells where the
		// stream stands.
		return pg.Code != "42501" && pg.Code != "42P05"
	}
	return false
}

// severed tells whether a server's error came with the end of the session. After a COMMIT was sent it says nothing
// about the outcome: a session may be ended while its commit, already durable, waits for a standby.
func severed(pg *pgconn.PgError) bool {
	severity := pg.SeverityUnlocalized
	if severity == "" {
		severity = pg.Severity
	}
	return severity != "ERROR"
}

// redact puts the harmless text in the place of the server's.
func redact(err error, pg *pgconn.PgError) error {
	text := err.Error()
	if before, _, found := strings.Cut(text, pg.Error()); found {
		return fmt.Errorf("%s%w", before, serverError{pg})
	}
	return serverError{pg}
}

// poolerFault is the halt for a pooler between us and the server.
func poolerFault(err error) error {
	return fault.Halt("target.pooler", err,
		"give the server's own address and port in the target's url: a session of its own is needed")
}
