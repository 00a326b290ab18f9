-- The ledger: one row for each lane of a pipeline, kept in the database of the rows it speaks of.
CREATE SCHEMA IF NOT EXISTS rowferry;
CREATE TABLE IF NOT EXISTS rowferry.ledger (
	pipeline    text NOT NULL,
	lane        integer NOT NULL,
	epoch       bigint NOT NULL,
	seq         bigint NOT NULL,
	source_id   text NOT NULL,
	fingerprint text NOT NULL,
	phase       text NOT NULL DEFAULT '',
	format      text NOT NULL DEFAULT '',
	token       text NOT NULL DEFAULT '',
	holder      text NOT NULL,
	made        text[] NOT NULL DEFAULT '{}',
	changed_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (pipeline, lane)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Which tables the first copy filled, with chunk -1 for the table itself, and how far it came.
CREATE TABLE IF NOT EXISTS rowferry.copy (
	pipeline    text NOT NULL,
	schema_name text NOT NULL,
	table_name  text NOT NULL,
	chunk       bigint NOT NULL,
	rows        bigint NOT NULL DEFAULT 0,
	was_empty   boolean,
	done        boolean NOT NULL DEFAULT false,
	changed_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (pipeline, schema_name, table_name, chunk)
);
-- What a source keeps for itself beside its position.
CREATE TABLE IF NOT EXISTS rowferry.state (
	pipeline    text NOT NULL,
	key         text NOT NULL,
	value       bytea NOT NULL,
	PRIMARY KEY (pipeline, key)
);
