// Package apply is the storey every SQL target stands on. It knows no driver and does no I/O of its own.
//
// A group of whole source transactions becomes one target transaction. The [Builder], which is pure, turns the
// group's changes into [Step]s: it folds the changes of each row into their net effect and gathers equal
// statements into runs, as far as the table's constraints let order go; where order matters it keeps it. The
// target of a connector runs the steps and holds each to what it promises: an insert inserts, an update and a
// delete hit exactly one row.
//
// Whatever a target refuses because of rows is applied again change by change, in the order of the source. If that
// passes, folding was at fault and the group is fine; if not, the change that was refused is known by name. So
// folding never has to prove that it is allowed, and a refusal is always about one change.
package apply
