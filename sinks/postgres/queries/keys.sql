-- $1 table: the columns of each index that can refuse a row, the primary key first
SELECT i.indexrelid, i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL,
	COALESCE(a.attname, ''), COALESCE(a.attnotnull, false)
FROM pg_catalog.pg_index i
CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k(n)
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n] AND i.indkey[k.n] > 0
WHERE i.indrelid = $1::oid AND i.indislive AND (i.indisunique OR i.indisexclusion)
ORDER BY i.indisprimary DESC, i.indexrelid, k.n
