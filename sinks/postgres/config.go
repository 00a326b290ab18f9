package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/setting"
)

// Config is the configuration of a Postgres target.
type Config struct {
	// URL is the database to write to: postgres://user@host:5432/database. Several hosts may be listed, separated
	// by commas; the one that takes writes is used.
	URL string `yaml:"url"`
	// Password of the role, when the URL holds none.
	Password setting.Secret `yaml:"password"`
	// TLS says how the connections are protected.
	TLS TLS `yaml:"tls"`
	// Tables says what happens to tables that are missing, or not empty, when the first copy begins.
	Tables Tables `yaml:"tables"`
	// SchemaChanges says what happens when a source's table has gained columns the target lacks: halt, or
	// add_columns. A change the target can take as it is never halts. The rows that are there get
	// the value that a constant default gave them at the source. Where each of them got a value of its own, as from
	// gen_random_uuid() or an identity, the target cannot know them: that halts, unless it has no rows.
	SchemaChanges string `yaml:"schema_changes" default:"halt"`
	// Batch bounds how many source transactions are joined into one target transaction.
	Batch Batch `yaml:"batch"`
	// CopyWorkers is how many connections write existing rows at the same time.
	CopyWorkers int `yaml:"copy_workers" default:"4"`
	// FireTriggers leaves the target's triggers and foreign keys in effect. Otherwise the session applies changes
	// as a replica, when the role may: what triggers and cascades did at the source is in its log already.
	FireTriggers bool `yaml:"fire_triggers" default:"false"`
	// LockTimeout bounds the wait for a lock that others hold at the target; then the transaction is tried again.
	LockTimeout setting.Duration `yaml:"lock_timeout" default:"30s"`
	// ReplyTimeout bounds the wait for the next answer of the server. A connection that is silent for longer is
	// given up, and the ledger tells whether its last commit counted.
	ReplyTimeout setting.Duration `yaml:"reply_timeout" default:"5m"`
	// ConnectTimeout bounds each attempt to connect.
	ConnectTimeout setting.Duration `yaml:"connect_timeout" default:"10s"`
	// ApplicationName is what the server shows for our connections; "rowferry:" and the pipeline's name when empty.
	ApplicationName string `yaml:"application_name"`
}

// TLS says how connections are protected.
type TLS struct {
	// Mode is disable, require, verify-ca or verify-full. Empty means verify-full beyond loopback, unless the URL
	// has sslmode. allow and prefer are refused: they fall back to plain text without a word.
	Mode string `yaml:"mode"`
	// CAFile holds the certificates to trust, as PEM; the system's when empty.
	CAFile string `yaml:"ca_file"`
	// CertFile is our client certificate, as PEM.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the client certificate's key, as PEM.
	KeyFile string `yaml:"key_file"`
}

// Tables says how tables of the target are prepared.
type Tables struct {
	// Create makes tables that are missing: columns, primary key, NOT NULL. Domains become their base type, enums
	// and types the target does not know become text.
	Create bool `yaml:"create" default:"false"`
	// Existing says what happens to a table that holds rows when the first copy begins: refuse halts, truncate
	// empties it, append copies beside the rows it has.
	Existing string `yaml:"existing" default:"refuse"`
}

// Batch bounds one target transaction. A single source transaction is never split.
type Batch struct {
	// MaxRows is how many changes are joined.
	MaxRows int `yaml:"max_rows" default:"10000"`
	// MaxBytes is how much memory the joined changes may take.
	MaxBytes setting.Size `yaml:"max_bytes" default:"16MiB"`
	// MaxWait is how long a change may wait for others to be joined with. 0 joins only what arrives while the
	// target is busy.
	MaxWait setting.Duration `yaml:"max_wait" default:"0s"`
}

// Validate tells everything that is wrong with the settings, each with its path.
func (c *Config) Validate() []error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if v := c.Tables.Existing; !slices.Contains([]string{"refuse", "truncate", "append"}, v) {
		refuse("tables.existing: %q is not refuse, truncate or append", v)
	}
	if v := c.SchemaChanges; v != "halt" && v != "add_columns" {
		refuse("schema_changes: %q is neither halt nor add_columns", v)
	}
	if c.Batch.MaxRows < 1 {
		refuse("batch.max_rows: must be at least 1")
	}
	if c.Batch.MaxBytes < 64<<10 || c.Batch.MaxBytes > 1<<30 {
		refuse("batch.max_bytes: %s is not between 64KiB and 1GiB", c.Batch.MaxBytes)
	}
	if c.CopyWorkers < 1 || c.CopyWorkers > 64 {
		refuse("copy_workers: %d is not between 1 and 64", c.CopyWorkers)
	}
	if c.LockTimeout <= 0 {
		refuse("lock_timeout: must be above 0: a lock must not hold the pipeline for ever without a word")
	}
	if c.ReplyTimeout <= c.LockTimeout {
		refuse("reply_timeout: must be above lock_timeout (%s)", c.LockTimeout)
	}
	if len(c.ApplicationName) > maxNameBytes {
		refuse("application_name: may not be longer than %d bytes", maxNameBytes)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		refuse("tls: cert_file and key_file go together")
	}
	if _, err := c.connString(); err != nil {
		refuse("%w", err)
	}
	return errs
}

// withDefaults fills what is named after the pipeline, and the values a zero Config leaves out.
func (c Config) withDefaults(pipeline string) Config {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&c.ApplicationName, shorten("rowferry:"+pipeline, maxNameBytes))
	fill(&c.Tables.Existing, "refuse")
	fill(&c.SchemaChanges, "halt")
	if c.Batch.MaxRows == 0 {
		c.Batch.MaxRows = 10000
	}
	if c.Batch.MaxBytes == 0 {
		c.Batch.MaxBytes = 16 << 20
	}
	if c.CopyWorkers == 0 {
		c.CopyWorkers = 4
	}
	if c.LockTimeout == 0 {
		c.LockTimeout = defaultLockTimeout
	}
	if c.ReplyTimeout == 0 {
		c.ReplyTimeout = max(defaultReplyTimeout, 2*c.LockTimeout)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = defaultConnectTimeout
	}
	return c
}

// shorten cuts a text to so many bytes, at the end of a character.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

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
	// The mode is only known after the hosts are; any will do to find them. The query may name hosts, too.
	probe := url.Values{"sslmode": {"disable"}}
	for _, key := range []string{"host", "port"} {
		if given.Has(key) {
			probe.Set(key, given.Get(key))
		}
	}
	found, err := pgconn.ParseConfig(base + "?" + probe.Encode())
	if err != nil {
		return "", errors.New("url: cannot be read as postgres://user@host:5432/database")
	}
	hosts := hostsOf(found)
	mode, err := c.tlsMode(given.Get("sslmode"), hosts)
	if err != nil {
		return "", err
	}
	given.Set("sslmode", mode)
	if len(found.Fallbacks) > 0 && !given.Has("target_session_attrs") {
		given.Set("target_session_attrs", "read-write") // a former primary may still answer
	}
	files := map[string]string{"sslrootcert": c.TLS.CAFile, "sslcert": c.TLS.CertFile, "sslkey": c.TLS.KeyFile}
	for key, file := range files {
		if file != "" {
			given.Set(key, file)
		}
	}
	return base + "?" + strings.ReplaceAll(given.Encode(), "+", "%20"), nil
}

// tlsMode decides how connections are protected.
func (c *Config) tlsMode(inURL string, hosts []string) (string, error) {
	mode := c.TLS.Mode
	switch {
	case mode == "":
		mode = inURL
	case inURL != "" && inURL != mode:
		return "", fmt.Errorf("tls.mode: is %s, but the url says sslmode=%s", mode, inURL)
	}
	switch mode {
	case "":
		if loopback(hosts) {
			return "disable", nil
		}
		return "verify-full", nil
	case "disable", "require", "verify-ca", "verify-full":
		return mode, nil
	case "allow", "prefer":
		return "", fmt.Errorf("tls.mode: %s falls back to plain text without a word: write verify-full, or disable", mode)
	}
	return "", fmt.Errorf("tls.mode: %q is not disable, require, verify-ca or verify-full", mode)
}

// hostsOf lists the hosts of a connection string, each once.
func hostsOf(c *pgconn.Config) []string {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	sort.Strings(hosts)
	return slices.Compact(hosts)
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
