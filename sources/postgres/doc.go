// Package postgres reads a Postgres database, servers 14 to 18: existing rows from the snapshot its slot exported,
// then every committed change from pgoutput.
//
// A stream passes through three phases, and its positions name them: creating (nothing made yet, or about to be
// made again), copy (the slot exists, rows are being read) and stream. Files: source.go and stream.go hold the
// contract, startup.go decides where to begin, slot.go and plan.go make what is missing, copy.go reads existing
// rows, catalog.go and kinds.go know tables and types, tail.go and what it uses read the log, fault.go alone reads
// SQLSTATEs.
package postgres
