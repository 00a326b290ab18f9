//go:build !bug_no_cas

package postgres

// checked is the statement that claims a lane's row, as it stands: it takes the row only from the writer before.
func checked(sql string) string { return sql }
