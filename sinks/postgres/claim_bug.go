//go:build bug_no_cas

package postgres

import "strings"

// checked has a bug planted on purpose in this build: whoever comes takes the row, so that a writer that was fenced
// writes on. It proves that the tests see it.
func checked(sql string) string {
	return strings.NewReplacer(" AND epoch = ", " AND epoch >= 0 * ", " AND seq = ", " AND seq >= 0 * ").Replace(sql)
}
