package postgres

import (
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

// What operators can do.
const (
	remedyPrivilege = "grant the target's role what the message names: SELECT, INSERT, UPDATE, DELETE and TRUNCATE on\n" +
		"the tables, CREATE on the database for the schema rowferry; `rowferry check` prints the statements"
	remedyRowExists = "find out who else writes to the target's table; remove the row that is in the way, or make it equal\n" +
		"to the source's, then start the pipeline again"
	remedyRowMissing = "find out who else writes to the target's table; put the missing row back from the source,\n" +
		"then start the pipeline again"
	remedyForeignKey = "give the role the right to apply as a replica (GRANT SET ON PARAMETER session_replication_role),\n" +
		"make the constraint DEFERRABLE, or replicate the table it refers to as well"
	remedyNull   = "drop NOT NULL from the target's column, or give it a default if the source does not have it"
	remedyValue  = "give the target's column a type that holds the source's values, then start the pipeline again"
	remedySchema = "make the target's table as the source's; `rowferry check` names what differs. For columns that took the names\n" +
		"of others, give all rows of the target the source's values in them, then set source.publication.changed: accept\n" +
		"for one start"
	remedyTrigger = "drop or disable the target's trigger, or leave fire_triggers off so that it does not take effect,\n" +
		"then start the pipeline again"
	remedyCommitRows = "rows are refused by a deferred constraint of the target: find out who else writes to it,\n" +
		"or drop the constraint there"
)

// Codes documents the faults this target can raise.
var Codes = []fault.Code{
	{
		Name: "target.connect", Title: "The target cannot be reached",
		Meaning:  "The connection failed, broke or was ended by the server. The pipeline tries again for as long as it takes.",
		DataLost: "No. The source keeps its log until the target has confirmed.",
		Remedy:   "Bring the target back, or correct the address.",
	},
	{
		Name: "target.tls", Title: "The target's certificate is not trusted",
		Meaning:  "The server's certificate has expired, names another host, or is signed by an authority that is not trusted.",
		DataLost: "No. Nothing is sent over a connection that is not trusted.",
		Remedy:   "Renew the certificate, or name its authority in tls.ca_file.",
	},
	{
		Name: "target.auth", Title: "The target refused the login",
		Meaning:  "User or password are wrong, or pg_hba.conf does not let them in.",
		DataLost: "No.", Remedy: "Correct user and password, or pg_hba.conf on the server.",
	},
	{
		Name: "target.database", Title: "The target has no such database",
		Meaning:  "The database in the url does not exist.",
		DataLost: "No.", Remedy: "Correct the url, or create the database.",
	},
	{
		Name: "target.pooler", Title: "A connection pooler stands before the target",
		Meaning: "The connection goes through pgbouncer or its like in transaction mode. Settings of the session and prepared\n" +
			"statements would reach other sessions than ours.",
		DataLost: "No.", Remedy: "Give the server's own address and port.",
	},
	{
		Name: "target.version", Title: "The target is too old",
		Meaning: "Servers before 14 are not supported.", DataLost: "No.", Remedy: "Upgrade the target to Postgres 14 or later.",
	},
	{
		Name: "target.config", Title: "The target's settings cannot be used",
		Meaning: "The url or a file it names cannot be read.", DataLost: "No.", Remedy: "Correct the settings; the message names them.",
	},
	{
		Name: "target.read_only", Title: "The target takes no writes",
		Meaning: "The server is a standby, or set to read only: perhaps a failover is under way. The pipeline tries again for as\n" +
			"long as it takes.",
		DataLost: "No.", Remedy: "List all hosts in the url, so that the one that takes writes is found; or end the read-only mode.",
	},
	{
		Name: "target.no_connection", Title: "The target has no connection left",
		Meaning:  "max_connections, or the limit of the role or the database, is reached. The pipeline tries again.",
		DataLost: "No.", Remedy: "Free connections or raise the limit.",
	},
	{
		Name: "target.capacity", Title: "The target is out of disk or memory",
		Meaning:  "The server could not store or hold what was sent. The pipeline tries again; the source keeps its log meanwhile.",
		DataLost: "No.", Remedy: "Make room at the target, and watch the log the source retains.",
	},
	{
		Name: "target.contention", Title: "Others hold locks at the target",
		Meaning: "A lock was not given within lock_timeout, a deadlock or a serialization failure ended the transaction, or it\n" +
			"idled for too long. It is applied again.",
		DataLost: "No.", Remedy: "Nothing, if it passes; else end the session that holds the lock.",
	},
	{
		Name: "target.claim_blocked", Title: "An older writer still holds the ledger",
		Meaning: "A session of an earlier writer has its transaction open. It is waited for while it is at work, and ended when\n" +
			"it does nothing for some seconds; its writes count in full or not at all.",
		DataLost: "No.", Remedy: "Nothing, if it passes; else end the session that holds rows of rowferry.ledger.",
	},
	{
		Name: "target.outcome_unknown", Title: "A commit got no answer",
		Meaning:  "The connection broke after COMMIT was sent. The ledger, committed with the rows, tells whether it counted.",
		DataLost: "No, and nothing is doubled.", Remedy: "Nothing: it is settled by itself.",
	},
	{
		Name: "target.fenced", Title: "Another writer took over",
		Meaning: "A newer writer of this pipeline has opened the target, or someone changed its row in rowferry.ledger. This one\n" +
			"stops, so that nothing is written twice.",
		DataLost: "No.", Remedy: "Stop one of the two daemons, then restart the one to keep.",
	},
	{
		Name: apply.CodeOtherSource, Title: "The target holds another source's position",
		Meaning: "The ledger has this pipeline's name with another server, database or slot. Nobody was shut out and nothing\n" +
			"was written.",
		DataLost: "No.", Remedy: "Give the pipeline a name of its own, or tear the old one down and copy again.",
	},
	{
		Name: apply.CodeScopeChanged, Title: "Tables, filters or mapping have changed",
		Meaning: "The position in the ledger stands for another set of tables or another mapping. Continuing would leave rows\n" +
			"out that were never copied.",
		DataLost: "No.", Remedy: "Put the old settings back, or tear down and copy again.",
	},
	{
		Name: "target.ledger_damaged", Title: "The ledger's tables are not what they should be",
		Meaning:  "Tables of the schema rowferry are missing or were altered while others are there.",
		DataLost: "No.", Remedy: "Restore schema rowferry from a backup of the same moment as the rows, or tear down and copy again.",
	},
	{
		Name: "target.privilege", Title: "The target's role may not do this",
		Meaning: "A right is missing at the target.", DataLost: "No.", Remedy: remedyPrivilege,
	},
	{
		Name: "target.table_missing", Title: "A table is missing at the target",
		Meaning:  "The table does not exist and tables.create is off, or it is a view or a foreign table, or the source renamed it.",
		DataLost: "No.", Remedy: "Create it as the source has it, or set tables.create. One that was renamed at the source is renamed at the target, too.",
	},
	{
		Name: "target.not_empty", Title: "A table to be copied holds rows",
		Meaning:  "Copying into it would mix its rows with the source's.",
		DataLost: "No. Nothing was changed.", Remedy: "Empty it, or set tables.existing to truncate or append.",
	},
	{
		Name: "target.copy_interrupted", Title: "A copy beside existing rows was interrupted",
		Meaning:  "With tables.existing: append the rows copied so far cannot be told from those that were there before.",
		DataLost: "No, but the tables named hold part of the copy.",
		Remedy:   "Remove the copied rows by hand, then `rowferry teardown`, and start again.",
	},
	{
		Name: "target.phase", Title: "The ledger is further than the source believes",
		Meaning:  "A copy was to begin although the pipeline streams already. Rows are not emptied on such a word.",
		DataLost: "No.", Remedy: "Report it; `rowferry teardown` and a new copy get on.",
	},
	{
		Name: "target.schema_mismatch", Title: "The target's table does not fit",
		Meaning: "A column is missing or of a type that cannot take the values; or columns of the source were dropped and added\n" +
			"again, or took the names of others, which no change says, so that rows which were not written since have values of\n" +
			"the columns before.",
		DataLost: "No.", Remedy: remedySchema,
	},
	{
		Name: "target.unsupported", Title: "The target cannot do this",
		Meaning:  "The server refuses the statement for this kind of table, as TRUNCATE of a table that others refer to.",
		DataLost: "No.", Remedy: "See the message; change the table at the target.",
	},
	{
		Name: "target.row_missing", Title: "A row to change is not at the target",
		Meaning:  "An update or a delete found no row, or more than one. Something else has written to the table.",
		DataLost: "Not by Rowferry: it stopped before the change.", Remedy: remedyRowMissing,
	},
	{
		Name: "target.row_exists", Title: "A row is in the way",
		Meaning:  "An insert or update collides with a unique or exclusion constraint of the target.",
		DataLost: "Not by Rowferry: it stopped before the change.", Remedy: remedyRowExists,
	},
	{
		Name: "target.foreign_key", Title: "A foreign key of the target refuses a row",
		Meaning:  "The row refers to one the target does not have, or one that others refer to is deleted.",
		DataLost: "No.", Remedy: remedyForeignKey,
	},
	{
		Name: "target.null_refused", Title: "A column of the target takes no NULL",
		Meaning: "The source's row has no value for a column that is NOT NULL at the target.", DataLost: "No.", Remedy: remedyNull,
	},
	{
		Name: "target.value_refused", Title: "The target refuses a value",
		Meaning:  "A value is too long, out of range, not valid for the column's type, or breaks a CHECK constraint.",
		DataLost: "No: the pipeline stopped before the change.", Remedy: remedyValue,
	},
	{
		Name: "target.trigger_refused", Title: "A trigger of the target refuses a row",
		Meaning: "A trigger or rule raised an exception.", DataLost: "No.", Remedy: remedyTrigger,
	},
	{
		Name: apply.CodeUnusable, Title: "A change does not say which row it is about",
		Meaning:  "An update or delete came without the values that name its row: the source's table has no key.",
		DataLost: "No: the pipeline stopped before the change.",
		Remedy:   "Give the source's table a primary key or REPLICA IDENTITY FULL.",
	},
}
