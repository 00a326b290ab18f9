package postgres

import "strings"

// quoteName quotes an identifier. Every identifier in every statement of this package passes through it: names
// come from a source's catalog, which others write.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, "\x00", ""), `"`, `""`) + `"`
}

// quoteTable quotes a table's full name.
func quoteTable(schema, name string) string { return quoteName(schema) + "." + quoteName(name) }

// quoteLiteral quotes a text for a statement that takes no parameters. Backslashes stand for themselves, as the session
// is set.
func quoteLiteral(text string) string {
	return `'` + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), `'`, `''`) + `'`
}

// maxNameBytes is how long a name may be; Postgres would cut longer ones without a word.
const maxNameBytes = 63
