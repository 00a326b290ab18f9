package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

var (
	//go:embed queries/rights.sql
	rightsSQL string
	//go:embed queries/role.sql
	roleSQL string
)

// checker gathers findings.
type checker struct {
	*session
	cfg      *Config
	role     string
	found    []schema.Finding
	missing  int // tables to be made
	writable int // tables all rights are there for
}

// Check looks the target over: connection, rights, the ledger, and each table's fit. It changes nothing. What
// cannot be looked at is a finding, not an error.
func (s *Sink) Check(ctx context.Context, tables []*schema.Table) ([]schema.Finding, error) {
	conn, err := s.cfg.connect(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		f := fault.Of(err)
		return []schema.Finding{{
			Area: "target", Name: "connect", Severity: schema.Problem, Text: f.Err.Error(), Code: f.Code, Fix: f.Remedy,
		}}, nil
	}
	defer closeConn(conn.conn)
	c := &checker{session: conn, cfg: &s.cfg}
	c.pass("connect", "Postgres "+conn.conn.ParameterStatus("server_version"))
	if err := c.checkRole(ctx); err != nil {
		return nil, err
	}
	for _, t := range tables {
		if err := c.checkTable(ctx, t); err != nil {
			return nil, err
		}
	}
	if c.writable > 0 {
		c.pass("rights", fmt.Sprintf("SELECT INSERT UPDATE DELETE TRUNCATE on %d tables", c.writable))
	}
	if c.missing > 0 {
		c.pass("tables", fmt.Sprintf("%d tables will be created", c.missing))
	}
	return c.found, nil
}

func (c *checker) pass(name, text string) {
	c.found = append(c.found, schema.Finding{Area: "target", Name: name, Severity: schema.Pass, Text: text})
}

func (c *checker) warn(name, text, code, fix string) {
	c.found = append(c.found, schema.Finding{Area: "target", Name: name, Severity: schema.Warning, Text: text, Code: code, Fix: fix})
}

func (c *checker) problem(name, text, code, fix string) {
	c.found = append(c.found, schema.Finding{Area: "target", Name: name, Severity: schema.Problem, Text: text, Code: code, Fix: fix})
}

// checkRole looks at what the role may do in the database.
func (c *checker) checkRole(ctx context.Context) error {
	row, err := c.row(ctx, roleSQL)
	if err != nil {
		return fmt.Errorf("looking at the target's role: %w", err)
	}
	c.role = quoteName(row[0])
	found, err := c.hasLedger(ctx)
	switch {
	case fault.Of(err).Code == "target.ledger_damaged":
		c.problem("ledger", err.Error(), "target.ledger_damaged", fault.Of(err).Remedy)
	case fault.Of(err).Code == "target.privilege":
		c.problem("ledger", "the role may not use the schema rowferry, which keeps the position", "target.privilege",
			"GRANT USAGE ON SCHEMA rowferry TO "+c.role+";\nGRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rowferry TO "+c.role+";")
	case err != nil:
		return fmt.Errorf("looking for the ledger: %w", err)
	case found:
		c.pass("ledger", "rowferry.ledger is there")
	case row[1] == "t" || row[4] == "t":
		c.pass("ledger", "schema rowferry will be created")
	default:
		c.problem("ledger", "the role may not create the schema rowferry, which keeps the position", "target.privilege",
			"GRANT CREATE ON DATABASE "+quoteName(row[2])+" TO "+c.role+";")
	}
	switch {
	case c.replica:
		c.pass("replica role", "triggers and foreign keys do not take effect on replicated changes")
	case c.cfg.FireTriggers:
		c.warn("replica role", "fire_triggers is on: triggers and foreign keys take effect, and changes are applied in order",
			"", "")
	default:
		fix := "let a superuser apply the changes"
		if row[3] == "t" {
			fix = "GRANT SET ON PARAMETER session_replication_role TO " + c.role + ";"
		}
		c.warn("replica role", "the role may not set session_replication_role: triggers and foreign keys take effect, and "+
			"changes are applied in order, which is slower", "target.foreign_key", fix)
	}
	return nil
}

// checkTable looks whether one table takes the source's rows.
func (c *checker) checkTable(ctx context.Context, t *schema.Table) error {
	if err := checkNames(t); err != nil {
		c.fault(t, err)
		return nil
	}
	r, err := c.look(ctx, t.Schema, t.Name)
	switch {
	case errors.Is(err, errNoTable) && c.cfg.Tables.Create:
		c.missing++
		return nil
	case errors.Is(err, errNoTable):
		c.problem(t.String(), "the table does not exist", "target.table_missing",
			"create it as the source has it, or set tables.create")
		return nil
	case err != nil && fault.ClassOf(err) == fault.Terminal:
		c.fault(t, err)
		return nil
	case err != nil:
		return fmt.Errorf("looking at table %s: %w", t, err)
	}
	p, err := newPlan(t, r)
	var missing *apply.MissingError
	if errors.As(err, &missing) {
		c.fault(t, (&lane{session: c.session, w: &Writer{cfg: *c.cfg}}).mismatch(ctx, missing))
		return nil
	}
	if err != nil {
		return err
	}
	c.checkFit(t, p)
	return c.checkRights(ctx, t, r)
}

// fault turns an error into a finding about a table.
func (c *checker) fault(t *schema.Table, err error) {
	f := fault.Of(err)
	c.problem(t.String(), f.Err.Error(), f.Code, f.Remedy)
}

// checkFit looks at columns, types, keys and triggers.
func (c *checker) checkFit(t *schema.Table, p *plan) {
	for i := range p.columns {
		col := &p.columns[i]
		name := t.String() + "." + schema.QuoteName(col.name)
		if col.ordinal < 0 {
			if col.notNull && !col.hasDefault && !col.computed {
				c.problem(name, "the source has no such column, and it is NOT NULL without a default", "target.null_refused",
					"ALTER TABLE "+p.name+" ALTER COLUMN "+quoteName(col.name)+" DROP NOT NULL;")
			}
			continue
		}
		source := &t.Columns[col.ordinal]
		if col.notNull && !source.NotNull {
			c.warn(name, "NOT NULL at the target only", "target.null_refused",
				"ALTER TABLE "+p.name+" ALTER COLUMN "+quoteName(col.name)+" DROP NOT NULL;")
		}
		if !narrows(source, col) {
			continue
		}
		c.warn(name, fmt.Sprintf("%s at the source may hold more than %s", source.Native, col.typeName), "target.value_refused",
			"ALTER TABLE "+p.name+" ALTER COLUMN "+quoteName(col.name)+" TYPE "+source.Base+";")
	}
	if p.triggered {
		c.warn(t.String(), "triggers or rules take effect on replicated changes: its rows are applied one by one",
			"target.trigger_refused", "ALTER TABLE "+p.name+" DISABLE TRIGGER …;")
	}
	if !p.table.Unique && t.Identity != schema.IdentityNothing {
		c.warn(t.String(), "no unique index names its rows: each update and delete reads the whole table",
			"", "give the target's table a primary key")
	}
}

// widths orders the kinds of whole numbers by what they hold.
var widths = map[string]int{"smallint": 16, "integer": 32, "bigint": 64}

// narrows tells whether the source's type is known to hold values that the target's does not. Whether any come is
// another matter, and the server refuses them; so this is no more than a warning.
func narrows(source *schema.Column, target *column) bool {
	have := map[schema.Kind]int{
		schema.KindInt16: 16, schema.KindInt32: 32, schema.KindInt64: 64, schema.KindUint16: 17, schema.KindUint32: 33,
		schema.KindUint64: 65, schema.KindInt24: 24, schema.KindUint24: 25,
	}[source.Kind]
	if width := widths[target.castName]; have > 0 && width > 0 {
		return have > width
	}
	text := strings.HasPrefix(source.Base, "character varying") || source.Base == "text"
	if text && strings.HasPrefix(target.typeName, "character varying(") && source.Base != target.typeName {
		return lengthOf(source.Base) == 0 || lengthOf(source.Base) > lengthOf(target.typeName)
	}
	return false
}

// lengthOf is the number between a type's parentheses, 0 for none.
func lengthOf(typ string) int {
	n := 0
	_, rest, _ := strings.Cut(typ, "(")
	if _, err := fmt.Sscanf(rest, "%d)", &n); err != nil {
		return 0
	}
	return n
}

// checkRights looks at the role's rights on one table.
func (c *checker) checkRights(ctx context.Context, t *schema.Table, r *relation) error {
	row, err := c.row(ctx, rightsSQL, r.oid)
	if err != nil {
		return fmt.Errorf("looking at the rights on %s: %w", t, err)
	}
	var lacking []string
	for i, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"} {
		if row[i] != "t" {
			lacking = append(lacking, right)
		}
	}
	if len(lacking) == 0 {
		c.writable++
		return nil
	}
	rights := strings.Join(lacking, ", ")
	c.problem(t.String(), "the role lacks "+rights, "target.privilege",
		"GRANT "+rights+" ON "+quoteTable(t.Schema, t.Name)+" TO "+c.role+";")
	return nil
}
