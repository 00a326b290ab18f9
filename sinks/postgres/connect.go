package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
)

const (
	defaultLockTimeout    = setting.Duration(30 * time.Second)
	defaultReplyTimeout   = setting.Duration(5 * time.Minute)
	defaultConnectTimeout = setting.Duration(10 * time.Second)
)

// sessionSettings are sent with every connection's start. They pin how values are read, so that no default of the
// role or the database changes what we write.
//
// The planner is told to take the index whatever statistics say: a table just created has none, and reading it
// whole for each run of updates would be ruinous. Memory of a session that lost its client is given back soon, so
// that a transaction left open does not hold the ledger's row.
var sessionSettings = map[string]string{
	"client_encoding":                     "UTF8",
	"DateStyle":                           "ISO",
	"IntervalStyle":                       "postgres",
	"TimeZone":                            "UTC",
	"bytea_output":                        "hex",
	"extra_float_digits":                  "1",
	"standard_conforming_strings":         "on",
	"search_path":                         "pg_catalog",
	"row_security":                        "off",
	"check_function_bodies":               "off",
	"xmloption":                           "content",
	"default_transaction_isolation":       "read committed",
	"statement_timeout":                   "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "300s",
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
	"tcp_user_timeout":                    "30s",
	"plan_cache_mode":                     "force_generic_plan",
	"enable_seqscan":                      "off",
	"enable_hashjoin":                     "off",
	"enable_mergejoin":                    "off",
	"enable_bitmapscan":                   "off",
	"enable_material":                     "off",
	"enable_memoize":                      "off",
	"jit":                                 "off",
}

// greeting is the first statement of every connection. It finds poolers and standbys, and makes sure that a commit
// that was confirmed is on disk: a position that is ahead of its rows' safety would let the source discard them.
const greeting = `SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(),
	pg_catalog.current_setting('default_transaction_read_only'),
	CASE WHEN pg_catalog.current_setting('synchronous_commit') = 'off'
		THEN pg_catalog.set_config('synchronous_commit', 'on', false) END,
	CASE WHEN pg_catalog.version() LIKE '%linux%'
		THEN pg_catalog.set_config('client_connection_check_interval', '10s', false) END,
	CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
		THEN pg_catalog.set_config('transaction_timeout', '0', false) END`

const (
	readBuffer     = 32 << 10
	writeDeadLimit = 5 * time.Second // how long saying goodbye may take
)

// session is one connection with its settings.
type session struct {
	conn    *pgconn.PgConn
	replica bool             // triggers and foreign keys are out of effect
	limit   time.Duration    // how long the server may take to answer
	kept    map[string]*kept // statements that the server keeps for known, by their text
	keeps   int              // how many there ever were
}

// connConfig is the configuration of one connection.
func (c *Config) connConfig() (*pgconn.Config, error) {
	text, err := c.connString()
	if err != nil {
		return nil, fault.Halt("target.config", err, "correct the target's url and tls settings")
	}
	conn, err := pgconn.ParseConfig(text)
	if err != nil {
		// The library's error quotes the URL, which may hold the password.
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && errors.Unwrap(parse) != nil {
			err = errors.Unwrap(parse)
		} else {
			err = errors.New("the url cannot be read")
		}
		return nil, fault.Halt("target.config", err, "correct the target's url and tls settings")
	}
	if c.Password != "" {
		conn.Password = c.Password.Reveal()
	}
	for name, value := range sessionSettings {
		conn.RuntimeParams[name] = value
	}
	conn.RuntimeParams["application_name"] = c.ApplicationName
	conn.RuntimeParams["lock_timeout"] = milliseconds(c.LockTimeout)
	conn.ConnectTimeout = time.Duration(c.ConnectTimeout)
	dialer := &net.Dialer{Timeout: conn.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	conn.DialFunc = dialer.DialContext
	conn.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBuffer), w)
	}
	return conn, nil
}

// milliseconds writes a duration as Postgres reads it without a unit.
func milliseconds(d setting.Duration) string {
	return strconv.FormatInt(max(1, time.Duration(d).Milliseconds()), 10)
}

// connect opens a connection that may write, and applies as a replica where it is allowed to.
func (c *Config) connect(ctx context.Context) (*session, error) {
	s, err := c.connectAny(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, c); err != nil {
		closeConn(s.conn)
		return nil, err
	}
	return s, nil
}

// connectAny opens a connection and looks at nothing but the version.
func (c *Config) connectAny(ctx context.Context) (*session, error) {
	config, err := c.connConfig()
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, classify(fmt.Errorf("connecting to the target: %w", withoutURL(err)))
	}
	if v := versionOf(conn); v > 0 && v < 14 {
		closeConn(conn)
		return nil, fault.Halt("target.version", fmt.Errorf("the target is Postgres %d", v),
			"upgrade the target to Postgres 14 or later")
	}
	return &session{conn: conn, limit: time.Duration(c.ReplyTimeout)}, nil
}

// withoutURL leaves the address out of a connect error, which the library puts there with user and database. The
// cause says what happened.
func withoutURL(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && errors.Unwrap(connect) != nil {
		return errors.Unwrap(connect)
	}
	return err
}

// prepare refuses what cannot be written through, and puts triggers and foreign keys out of effect.
func (s *session) prepare(ctx context.Context, c *Config) error {
	row, err := s.row(ctx, greeting)
	if err != nil {
		return fmt.Errorf("greeting the target: %w", err)
	}
	if pid, err := strconv.ParseUint(row[0], 10, 32); err != nil || uint32(pid) != s.conn.PID() {
		return poolerFault(errors.New("the connection goes through a connection pooler such as pgbouncer"))
	}
	if row[1] == "t" {
		return fault.Wait("target.read_only", errors.New("the target is a standby"))
	}
	if row[2] == "on" {
		return fault.Wait("target.read_only", errors.New("default_transaction_read_only is on at the target"))
	}
	if c.FireTriggers {
		return nil
	}
	_, err = s.row(ctx, `SELECT pg_catalog.set_config('session_replication_role', 'replica', false)`)
	var refused *fault.Error
	if errors.As(err, &refused) && refused.Code == "target.privilege" {
		return nil
	}
	s.replica = err == nil
	return err
}

// versionOf is the server's major version, read from what it announced; 0 when that says nothing.
func versionOf(c *pgconn.PgConn) int {
	text := c.ParameterStatus("server_version")
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	major, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return major
}

// closeConn says goodbye, does not wait long for an answer, and leaves no goroutine behind.
func closeConn(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), writeDeadLimit)
	defer cancel()
	_ = c.Close(ctx)
	select {
	case <-c.CleanupDone():
	case <-ctx.Done():
	}
}

// row runs a statement that returns one row, and gives its values as text; NULL is the empty text.
func (s *session) row(ctx context.Context, sql string, args ...string) ([]string, error) {
	rows, err := s.rows(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("expected one row, got %d", len(rows))
	}
	return rows[0], nil
}

// rows runs a statement and gives its rows as text.
func (s *session) rows(ctx context.Context, sql string, args ...string) ([][]string, error) {
	result, err := s.ask(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return textOf(result), nil
}

// kept is a statement that the server keeps, and how often it was asked.
type kept struct {
	name string
	uses int
}

// keptUses is how often a statement is asked before it is planned anew: the server plans it for the catalog as it was, and what
// reads a small one whole takes long when it has grown by a hundred thousand tables.
const keptUses = 1000

// known is rows for a statement that is asked again and again, which the server parses and plans once for many times.
func (s *session) known(ctx context.Context, sql string, args ...string) ([][]string, error) {
	ctx, clock := watchFor(ctx, s.limit)
	defer clock.stop()
	k := s.kept[sql]
	if k != nil && k.uses >= keptUses {
		if err := s.conn.Deallocate(ctx, k.name); err != nil {
			return nil, broken(context.Cause(ctx), err)
		}
		delete(s.kept, sql)
		k = nil
	}
	if k == nil {
		k = &kept{name: "rfk" + strconv.Itoa(s.keeps)}
		s.keeps++
		if _, err := s.conn.Prepare(ctx, k.name, sql, nil); err != nil {
			return nil, broken(context.Cause(ctx), err)
		}
		if s.kept == nil {
			s.kept = map[string]*kept{}
		}
		s.kept[sql] = k
	}
	k.uses++
	result := s.conn.ExecPrepared(ctx, k.name, bytesOf(args), nil, nil).Read()
	if result.Err != nil {
		return nil, broken(context.Cause(ctx), result.Err)
	}
	return textOf(result), nil
}

// textOf is a result's rows as text.
func textOf(result *pgconn.Result) [][]string {
	rows := make([][]string, len(result.Rows))
	for i, r := range result.Rows {
		rows[i] = make([]string, len(r))
		for n, v := range r {
			rows[i][n] = string(v)
		}
	}
	return rows
}

// bytesOf is arguments as parameters.
func bytesOf(args []string) [][]byte {
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = []byte(arg)
	}
	return values
}

// exec runs a statement and tells how many rows it touched.
func (s *session) exec(ctx context.Context, sql string, args ...string) (int64, error) {
	result, err := s.ask(ctx, sql, args)
	if err != nil {
		return 0, err
	}
	return result.CommandTag.RowsAffected(), nil
}

// ask runs a statement and waits for all of its answer.
func (s *session) ask(ctx context.Context, sql string, args []string) (*pgconn.Result, error) {
	ctx, clock := watchFor(ctx, s.limit)
	defer clock.stop()
	result := s.conn.ExecParams(ctx, sql, bytesOf(args), nil, nil, nil).Read()
	if result.Err != nil {
		return nil, broken(context.Cause(ctx), result.Err)
	}
	return result, nil
}
