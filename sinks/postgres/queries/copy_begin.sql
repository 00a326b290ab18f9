-- $1 pipeline, $2 schema, $3 table, $4 whether it was empty or is emptied now
INSERT INTO rowferry.copy (pipeline, schema_name, table_name, chunk, was_empty) VALUES ($1, $2, $3, -1, $4)
