// Package postgres writes changes to Postgres, servers 14 to 18.
//
// Every target transaction begins with a compare-and-set on the lane's row of rowferry.ledger, so that rows and
// position become durable together and a writer that was replaced finds nothing to set. How changes become
// statements is decided by package apply; this package knows the statements (statement.go), the target's catalog
// (catalog.go), the ledger (ledger.go) and the connection (connect.go, lane.go).
package postgres
