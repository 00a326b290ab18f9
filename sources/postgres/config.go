package postgres

import (
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/rowferry/rowferry/schema/setting"
)

// Config is the configuration of a Postgres source.
type Config struct {
	// URL is the database to read: postgres://user@host:5432/database. Several hosts may be listed, separated by
	// commas; the one that takes writes is used unless target_session_attrs in the URL says otherwise.
	URL string `yaml:"url"`
	// Password of the role, when the URL holds none.
	Password setting.Secret `yaml:"password"`
	// TLS says how the connections are protected.
	TLS TLS `yaml:"tls"`
	// Slot is the replication slot that the pipeline reads.
	Slot Slot `yaml:"slot"`
	// Publication says which tables and rows the server sends.
	Publication Publication `yaml:"publication"`
	// ReplicaIdentity sets the replica identity of tables before the slot is made: "schema.table" to full,
	// default, or the name of a unique index. Tables that are not listed are never altered.
	ReplicaIdentity map[string]string `yaml:"replica_identity"`
	// NewTables says what happens when a table that matches the patterns is found outside the publication:
	// report warns, halt stops the pipeline.
	NewTables string `yaml:"new_tables" default:"report"`
	// GeneratedColumns says what becomes of stored generated columns that the server does not publish, as none before
	// version 18 does: omit leaves them out, as a target that computes its own wants it; compute asks the source for
	// their values, which files and other targets without generated columns need. It costs a query for each batch
	// that touches such a table.
	GeneratedColumns string `yaml:"generated_columns" default:"omit"`
	// Streaming lets the server send transactions before they are committed, so that big ones do not wait on its
	// disk. They are kept in files of the state folder until they commit.
	Streaming bool `yaml:"streaming" default:"true"`
	// PaceReads pauses reading for some milliseconds while catching up, so that the server sends in larger pieces.
	// It takes less CPU on both sides and never applies to an idle stream.
	PaceReads bool `yaml:"pace_reads" default:"true"`
	// SpillLimit is how much of uncommitted transactions may lie in the state folder.
	SpillLimit setting.Size `yaml:"spill_limit" default:"16GiB"`
	// MaxValueBytes is the largest single value that is taken; a larger one halts the pipeline, naming table,
	// column and key.
	MaxValueBytes setting.Size `yaml:"max_value_bytes" default:"64MiB"`
	// RetainedWAL watches how much log the server keeps because of the slot.
	RetainedWAL RetainedWAL `yaml:"retained_wal"`
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

// Slot is the replication slot of a pipeline.
type Slot struct {
	// Name of the slot; "rowferry_" and the pipeline's name when empty. It is made at the first start and never
	// dropped by a run.
	Name string `yaml:"name"`
	// CreateTimeout bounds one attempt to make the slot, which waits for every writing transaction to end.
	CreateTimeout setting.Duration `yaml:"create_timeout" default:"60s"`
}

// Publication says which tables and rows the server sends.
type Publication struct {
	// Name of the publication; "rowferry_" and the pipeline's name when empty. One that exists is used as it is,
	// with its row filters and column lists.
	Name string `yaml:"name"`
	// Create lets the first start make the publication when it is missing and the role owns the tables.
	Create bool `yaml:"create" default:"true"`
	// ViaRoot publishes a partitioned table under its own name instead of its partitions', when the publication
	// is made here.
	ViaRoot bool `yaml:"via_root" default:"true"`
	// Changed says what happens when tables, filters or column lists of the publication are no longer those the
	// pipeline was copied with: halt, or accept. With accept, a start also takes for mended what the pipeline has halted for before:
	// columns that took the names of others.
	Changed string `yaml:"changed" default:"halt"`
}

// RetainedWAL watches the log the server keeps for the slot.
type RetainedWAL struct {
	// Limit is our own budget, beside the server's max_slot_wal_keep_size; 0 for none. Nothing is dropped when it
	// is passed: it is reported.
	Limit setting.Size `yaml:"limit" default:"0"`
	// WarnPercent of the nearest limit is where warnings begin.
	WarnPercent int `yaml:"warn_percent" default:"50"`
}

// slotNames is what Postgres allows in the name of a slot.
var slotNames = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// Validate tells everything that is wrong with the settings, each with its path.
func (c *Config) Validate() []error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Slot.Name != "" && !slotNames.MatchString(c.Slot.Name) {
		refuse("slot.name: may hold only a-z, 0-9 and _, and at most 63 of them")
	}
	if c.GeneratedColumns != "" && c.GeneratedColumns != "omit" && c.GeneratedColumns != "compute" {
		refuse("generated_columns: is %q, and may be omit or compute", c.GeneratedColumns)
	}
	if len(c.Publication.Name) > 63 {
		refuse("publication.name: may not be longer than 63 bytes")
	}
	if len(c.ApplicationName) > 63 {
		refuse("application_name: may not be longer than 63 bytes")
	}
	if v := c.Publication.Changed; v != "halt" && v != "accept" {
		refuse("publication.changed: %q is neither halt nor accept", v)
	}
	if v := c.NewTables; v != "report" && v != "halt" {
		refuse("new_tables: %q is neither report nor halt", v)
	}
	if v := c.RetainedWAL.WarnPercent; v < 1 || v > 100 {
		refuse("retained_wal.warn_percent: %d is not between 1 and 100", v)
	}
	if v := c.MaxValueBytes; v < 1<<10 || v > 1<<30 {
		refuse("max_value_bytes: %s is not between 1KiB and 1GiB", v)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		refuse("tls: cert_file and key_file go together")
	}
	for _, table := range sortedKeys(c.ReplicaIdentity) {
		if _, err := setting.ParsePattern(table); err != nil || strings.ContainsAny(table, "*?") {
			refuse("replica_identity.%s: write schema.table", table)
		}
		if c.ReplicaIdentity[table] == "" {
			refuse("replica_identity.%s: write full, default, or the name of a unique index", table)
		}
	}
	if _, err := c.connString(); err != nil {
		refuse("%w", err)
	}
	return errs
}

// sortedKeys lists a map's keys in order.
func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// withDefaults fills what is named after the pipeline, and the values a zero Config leaves out.
func (c Config) withDefaults(pipeline string) Config {
	if c.Slot.Name == "" {
		c.Slot.Name = defaultName(pipeline)
	}
	if c.Publication.Name == "" {
		c.Publication.Name = defaultName(pipeline)
	}
	if c.ApplicationName == "" {
		c.ApplicationName = cut("rowferry:"+pipeline, 63)
	}
	if c.Publication.Changed == "" {
		c.Publication.Changed = "halt"
	}
	if c.NewTables == "" {
		c.NewTables = "report"
	}
	if c.SpillLimit == 0 {
		c.SpillLimit = 16 << 30
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = 64 << 20
	}
	if c.RetainedWAL.WarnPercent == 0 {
		c.RetainedWAL.WarnPercent = 50
	}
	return c
}

// defaultName is the name of slot and publication that derives from a pipeline's name.
func defaultName(pipeline string) string {
	name := []byte("rowferry_")
	for _, b := range []byte(strings.ToLower(pipeline)) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') {
			b = '_'
		}
		name = append(name, b)
	}
	return cut(string(name), 63)
}

// cut shortens an ASCII name.
func cut(text string, limit int) string { return text[:min(len(text), limit)] }
