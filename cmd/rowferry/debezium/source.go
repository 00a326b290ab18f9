package debezium

import (
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"strings"
)

// source writes where rows come from.
func (im *importer) source() tree {
	t := newTree()
	t.set("url", im.databaseURL())
	if value, ok := im.take("database.password"); ok {
		t.set("password", im.secret("database.password", value, "SOURCE_PASSWORD"))
	}
	t.set("tls", im.databaseTLS())
	t.set("tables", im.tables())
	im.reader(t)
	im.snapshotNotes()
	return t
}

// reader writes by what slot and publication the log is read: the connector's, if they can be read here.
func (im *importer) reader(t tree) {
	slot, publication := newTree(), newTree()
	name, ok := im.text("publication.name", "PUBLICATION")
	if !ok {
		name = "dbz_publication"
	}
	if im.slot, ok = im.text("slot.name", "SLOT"); !ok {
		im.slot = "debezium"
	}
	im.taken["publication.autocreate.mode"] = true // it is there by now, and is used as it is
	if plugin, ok := im.take("plugin.name"); !strings.EqualFold(plugin, "pgoutput") {
		if !ok {
			plugin = "decoderbufs, the default there,"
		}
		im.note("plugin.name", "%s is not read: Rowferry uses pgoutput. The connector's slot cannot be adopted, and was left out "+
			"with its publication: the first run makes both, and copies", plugin)
		im.slot = ""
	}
	if im.flag("slot.drop.on.stop", false) && im.slot != "" {
		im.note("slot.drop.on.stop", "the connector drops its slot when it stops, and nothing is left to adopt: set it to false there before you stop it")
	}
	if im.slot == "" {
		return
	}
	slot.set("name", im.slot)
	t.set("slot", slot)
	publication.set("name", name)
	publication.set("create", false)
	t.set("publication", publication)
}

// databaseURL puts together where the database is.
func (im *importer) databaseURL() string {
	part := func(key, ending string, escape func(string) string) string {
		value, _ := im.take(key)
		if strings.Contains(value, "${") {
			return im.translated(key, value, ending)
		}
		return literal(escape(value))
	}
	host := part("database.hostname", "SOURCE_HOST", func(s string) string {
		if strings.Contains(s, ":") && !strings.HasPrefix(s, "[") { // an IPv6 address
			return "[" + s + "]"
		}
		return s
	})
	port := part("database.port", "SOURCE_PORT", func(s string) string { return s })
	if port == "" {
		port = "5432"
	}
	return "postgres://" + part("database.user", "SOURCE_USER", func(s string) string { return url.User(s).String() }) +
		"@" + host + ":" + port + "/" + part("database.dbname", "SOURCE_DATABASE", url.PathEscape)
}

// databaseTLS writes how connections to the database are protected.
func (im *importer) databaseTLS() tree {
	t := newTree()
	mode, given := im.take("database.sslmode")
	switch mode := strings.ToLower(mode); mode {
	case "disable", "require", "verify-ca", "verify-full":
		t.set("mode", mode)
	default:
		if !given {
			mode = "prefer, the default there,"
		}
		im.note("database.sslmode", "%s falls back to plain text without a word; here it is verify-full beyond loopback. "+
			"Where the server has no certificate that is trusted, set source.tls: ca_file, or mode: require or disable", mode)
	}
	if file, ok := im.text("database.sslrootcert", "SOURCE_CA_FILE"); ok {
		t.set("ca_file", file)
	}
	cert, hasCert := im.text("database.sslcert", "SOURCE_CERT_FILE")
	key, hasKey := im.text("database.sslkey", "SOURCE_KEY_FILE")
	if hasCert && hasKey {
		t.set("cert_file", cert)
		t.set("key_file", key)
		im.note("database.sslkey", "the key has to be PEM here: openssl pkcs8 -topk8 -nocrypt -inform DER -in KEY.pk8 -out KEY.pem")
	}
	if _, ok := im.take("database.sslpassword"); ok {
		im.note("database.sslpassword", "a client key with a password is not read: write it without one, for the daemon's user alone")
	}
	return t
}

// snapshotNotes tells what of the first copy is not as it was.
func (im *importer) snapshotNotes() {
	const key = "snapshot.mode"
	switch mode, _ := im.take(key); strings.ToLower(mode) {
	case "", "initial":
	case "no_data", "schema_only", "never":
		im.note(key, "a pipeline that begins from nothing copies; one whose slot is adopted before its first run does not")
	default:
		im.note(key, "%s has no counterpart: a pipeline copies once, unless its slot is adopted, and then streams", shown(mode))
	}
}

// The settings that choose tables.
const (
	includeTables, excludeTables   = "table.include.list", "table.exclude.list"
	includeSchemas, excludeSchemas = "schema.include.list", "schema.exclude.list"
)

// oldNames is how some settings were called up to 1.x.
var oldNames = map[string]string{
	includeTables: "table.whitelist", excludeTables: "table.blacklist",
	includeSchemas: "schema.whitelist", excludeSchemas: "schema.blacklist",
}

// list takes a setting that is a list of regular expressions, and tells under which of its names.
func (im *importer) list(key string) (name string, expressions []string) {
	value, ok := im.take(key)
	name = key
	if old := oldNames[key]; old != "" {
		if older, has := im.take(old); has && !ok {
			name, value = old, older
		}
	}
	return name, splitList(value)
}

// splitList splits at commas, but not at those behind a backslash.
func splitList(value string) []string {
	var out []string
	var one strings.Builder
	end := func() {
		if text := strings.TrimSpace(one.String()); text != "" {
			out = append(out, text)
		}
		one.Reset()
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value) && value[i+1] == ',':
			one.WriteByte(',')
			i++
		case c == '\\' && i+1 < len(value):
			one.WriteString(value[i : i+2])
			i++
		case c == ',':
			end()
		default:
			one.WriteByte(c)
		}
	}
	end()
	return out
}

// tables writes which tables are replicated. Debezium's expressions match whole names and ignore case: written as globs they
// would miss a table that is spelled otherwise, so they stay expressions.
func (im *importer) tables() tree {
	_, schemas := im.list(includeSchemas)
	name, tables := im.list(includeTables)
	include := im.patterns(name, tables, "%s")
	switch {
	case len(tables) > 0 && len(schemas) > 0:
		im.note(includeSchemas, "both lists have to match there, and one is enough here: only %s was carried over; leave tables of other schemas out of it", im.name(name))
	case len(schemas) > 0:
		include = im.patterns(includeSchemas, schemas, `(?:%s)\..*`)
	case len(tables) == 0:
		include = []string{"*.*"}
	}
	if len(include) == 0 { // every expression is one that cannot be read here
		include = []string{"CHANGE.ME"}
	}
	name, tables = im.list(excludeTables)
	exclude := im.patterns(name, tables, "%s")
	name, schemas = im.list(excludeSchemas)
	exclude = append(exclude, im.patterns(name, schemas, `(?:%s)\..*`)...)
	t := newTree()
	t.set("include", include)
	t.set("exclude", exclude)
	im.columnNotes()
	return t
}

// patterns writes expressions as patterns of tables.
func (im *importer) patterns(key string, expressions []string, form string) []string {
	var out []string
	without := ""
	if strings.Contains(key, "exclude") || strings.Contains(key, "blacklist") {
		without = ". Until then the tables that it leaves out ARE WRITTEN"
	}
	for _, expr := range expressions {
		if strings.Contains(expr, "${") {
			im.note(key, "an expression holds a reference: write it out under source.tables%s", without)
			continue
		}
		whole := "(?i)" + fmt.Sprintf(form, expr)
		if _, err := syntax.Parse(whole, syntax.Perl); err != nil {
			im.note(key, "%s is an expression of Java's that is not known here, as those that look ahead or back: write it in another way under source.tables%s", shown(expr), without)
			continue
		}
		out = append(out, "re:"+literal(whole))
	}
	return out
}

var plainTable = regexp.MustCompile(`^([A-Za-z0-9_]+)\\?\.([A-Za-z0-9_]+)$`)

// keyColumns writes the keys of tables that are not their primary keys: "schema.table:column,column;…".
func (im *importer) keyColumns() tree {
	const key = "message.key.columns"
	t := newTree()
	value, ok := im.take(key)
	if !ok {
		return t
	}
	for _, one := range strings.Split(value, ";") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		table, list, found := strings.Cut(one, ":")
		m := plainTable.FindStringSubmatch(strings.TrimSpace(table))
		if !found || m == nil {
			im.note(key, "%s is for tables by an expression: name each under target.keys", shown(strings.TrimSpace(one)))
			continue
		}
		var columns []string
		for _, column := range strings.Split(list, ",") {
			columns = append(columns, literal(strings.TrimSpace(column)))
		}
		t.set(m[1]+"."+m[2], columns)
	}
	return t
}

// columnNotes tells of what is done to columns: nothing of it is done here, and some of it hides what is in them.
func (im *importer) columnNotes() {
	for _, key := range im.settings.keys() {
		text := ""
		switch {
		case key == "column.exclude.list", key == "column.include.list", key == "column.blacklist", key == "column.whitelist":
			text = "ALL columns would be written: give the publication a column list, ALTER PUBLICATION … SET TABLE t (a, b), and restart; the server then sends no others"
		case strings.HasPrefix(key, "column.mask."), strings.HasPrefix(key, "column.truncate."):
			text = "values would be written AS THEY ARE: leave the columns out by a column list of the publication, ALTER PUBLICATION … SET TABLE t (a, b), where they must not be seen"
		case strings.HasPrefix(key, "column.propagate."), strings.HasPrefix(key, "datatype.propagate."):
			text = "types of the source are not told as parameters of schemas; readers that need them have to ask the source"
		}
		if text != "" {
			im.taken[key] = true
			im.note(key, "%s", text)
		}
	}
}
