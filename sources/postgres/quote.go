package postgres

import "strings"

// quoteName quotes an identifier. Every identifier in every statement of this package passes through it: names
// come from a catalog that others write.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, "\x00", ""), `"`, `""`) + `"`
}

// quoteTable quotes a table's full name.
func quoteTable(schema, name string) string { return quoteName(schema) + "." + quoteName(name) }

// quoteLiteral quotes a text for the commands that take no parameters. standard_conforming_strings is pinned on.
func quoteLiteral(text string) string {
	return `'` + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), `'`, `''`) + `'`
}
