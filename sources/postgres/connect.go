package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowferry/rowferry/schema/fault"
)

// sessionSettings are sent with every connection's start. They pin how values are printed, so that no default of
// the role or the database changes what we read, and keep the server from ending an idle or a long session.
// row_security off makes a copy that a policy would filter fail.
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
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
}

// greeting is the first statement of every connection. transaction_timeout came with Postgres 17.
const greeting = `SELECT pg_catalog.pg_backend_pid(), CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
	THEN pg_catalog.set_config('transaction_timeout', '0', false) END`

// readBuffer is the size of socket reads for connections that carry many rows.
const readBuffer = 128 << 10

// connString is the URL with the protection of the connection spelled out.
func (c *Config) connString() (string, error) {
	base, query, _ := strings.Cut(c.URL, "?")
	if !strings.HasPrefix(base, "postgres://") && !strings.HasPrefix(base, "postgresql://") {
		return "", errors.New("url: write postgres://user@host:5432/database")
	}
	given, err := url.ParseQuery(query)
	if err != nil {
		return "", errors.New("url: what follows the ? cannot be read")
	}
	if given.Has("ssl") {
		return "", errors.New("url: write sslmode instead of ssl")
	}
	// The mode is only known after the hosts are; any will do to find them.
	probe, err := pgconn.ParseConfig(base + "?" + hostSettings(given).Encode())
	if err != nil {
		return "", errors.New("url: cannot be read as postgres://user@host:5432/database")
	}
	mode := c.TLS.Mode
	switch inURL := given.Get("sslmode"); {
	case mode == "":
		mode = inURL
	case inURL != "" && inURL != mode:
		return "", fmt.Errorf("tls.mode: is %s, but the url says sslmode=%s", mode, inURL)
	}
	hosts := hostsOf(probe)
	switch mode {
	case "":
		mode = "verify-full"
		if loopback(hosts) {
			mode = "disable"
		}
	case "disable", "require", "verify-ca", "verify-full":
	case "allow", "prefer":
		return "", fmt.Errorf("tls.mode: %s falls back to plain text without a word: write verify-full, or disable", mode)
	default:
		return "", fmt.Errorf("tls.mode: %q is not disable, require, verify-ca or verify-full", mode)
	}
	add := map[string]string{
		"sslmode": mode, "sslrootcert": c.TLS.CAFile, "sslcert": c.TLS.CertFile, "sslkey": c.TLS.KeyFile,
	}
	if len(hosts) > 1 && !given.Has("target_session_attrs") {
		add["target_session_attrs"] = "read-write" // a former primary may still answer
	}
	for _, key := range sortedKeys(add) {
		if add[key] != "" {
			given.Set(key, add[key])
		}
	}
	return base + "?" + strings.ReplaceAll(given.Encode(), "+", "%20"), nil
}

// hostSettings is what a URL says behind its question mark of where the server is.
func hostSettings(given url.Values) url.Values {
	settings := url.Values{"sslmode": {"disable"}}
	for _, key := range []string{"host", "port", "dbname", "service", "servicefile"} {
		if given.Has(key) {
			settings[key] = given[key]
		}
	}
	return settings
}

// hostsOf lists the hosts of a connection string.
func hostsOf(c *pgconn.Config) []string {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return hosts
}

// loopback tells whether every host is this machine.
func loopback(hosts []string) bool {
	for _, host := range hosts {
		if strings.HasPrefix(host, "/") || host == "localhost" {
			continue
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}

// connConfig is the configuration of one connection.
func (s *Source) connConfig() (*pgx.ConnConfig, error) {
	text, err := s.cfg.connString()
	if err != nil {
		return nil, fault.Halt("source.config", err, "correct the source's url and tls settings")
	}
	c, err := pgx.ParseConfig(text)
	if err != nil {
		// The library's error quotes the URL, which may hold the password.
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && errors.Unwrap(parse) != nil {
			err = errors.Unwrap(parse)
		} else {
			err = errors.New("the url cannot be read")
		}
		return nil, fault.Halt("source.config", err, "correct the source's url and tls settings")
	}
	if s.cfg.Password != "" {
		c.Password = s.cfg.Password.Reveal()
	}
	for name, value := range sessionSettings {
		c.RuntimeParams[name] = value
	}
	c.RuntimeParams["application_name"] = s.cfg.ApplicationName
	timeout := time.Duration(s.cfg.ConnectTimeout)
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	c.ConnectTimeout = timeout
	c.DialFunc = (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext
	c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBuffer), w)
	}
	c.AfterConnect = refusePooler
	return c, nil
}

// refusePooler ends a connection that goes through a pooler: the process that answers is not the one that
// greeted us, so neither locks nor settings nor snapshots would stay ours.
func refusePooler(ctx context.Context, c *pgconn.PgConn) error {
	results, err := c.Exec(ctx, greeting).ReadAll()
	if err != nil {
		return err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return fault.Wait("source.connect", errors.New("the server did not answer the first statement"))
	}
	pid, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)
	if err == nil && uint32(pid) == c.PID() {
		return nil
	}
	return poolerFault(errors.New("the connection goes through a connection pooler such as pgbouncer"))
}

// poolerFault is the halt for a pooler between us and the server.
func poolerFault(err error) error {
	return fault.Halt("source.pooler", err,
		"give the server's own address and port in the source's url: replication needs a session of its own")
}

// connect opens a connection for replication commands. build may change how the library reads.
func (s *Source) connect(ctx context.Context, build func(*pgconn.Config)) (*pgconn.PgConn, error) {
	c, err := s.connConfig()
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["replication"] = "database"
	if build != nil {
		build(&c.Config)
	}
	conn, err := pgconn.ConnectConfig(ctx, &c.Config)
	if err != nil {
		return nil, classify(fmt.Errorf("connecting for replication: %w", err))
	}
	return conn, nil
}

// open opens a connection for statements.
func (s *Source) open(ctx context.Context) (*pgx.Conn, error) {
	c, err := s.connConfig()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, classify(fmt.Errorf("connecting: %w", err))
	}
	if v := versionOf(conn.PgConn()); v > 0 && v < 140000 {
		closeConn(conn.PgConn())
		return nil, fault.Halt("source.version", fmt.Errorf("the server is version %d", v/10000), "upgrade the source to Postgres 14 or later")
	}
	return conn, nil
}

// versionOf is the server's version as a number, 150018 for 15.18, read from what it announced.
func versionOf(c *pgconn.PgConn) int {
	text, _, _ := strings.Cut(c.ParameterStatus("server_version"), " ")
	major, minor, _ := strings.Cut(text, ".")
	digits := strings.IndexFunc(major, func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 { // 19beta1, 19rc1
		major, minor = major[:digits], "0"
	}
	m, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(minor)
	return m*10000 + n
}

// closeConn says goodbye, and waits a little until nothing of the connection is left.
func closeConn(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
	select {
	case <-c.CleanupDone():
	case <-ctx.Done():
	}
}
