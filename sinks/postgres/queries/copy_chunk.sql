-- $1 pipeline, $2 schema, $3 table, $4 chunk, $5 rows, $6 done
INSERT INTO rowferry.copy AS c (pipeline, schema_name, table_name, chunk, rows, done) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (pipeline, schema_name, table_name, chunk)
DO UPDATE SET rows = c.rows + EXCLUDED.rows, done = c.done OR EXCLUDED.done, changed_at = pg_catalog.now()
