-- $1 pipeline: tables a copy has begun, whether they may be emptied, and whether any of their rows have come
SELECT c.schema_name, c.table_name, c.was_empty,
	EXISTS (SELECT FROM rowferry.copy d WHERE d.pipeline = c.pipeline AND d.schema_name = c.schema_name
		AND d.table_name = c.table_name AND d.chunk >= 0 AND d.rows > 0)
FROM rowferry.copy c WHERE c.pipeline = $1 AND c.chunk = -1 ORDER BY c.schema_name, c.table_name
