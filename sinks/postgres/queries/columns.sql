-- $1 table: its columns, each with the type its domain rests on in the end
WITH RECURSIVE base AS (
	SELECT a.attnum, t.oid, t.typtype, t.typbasetype
	FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
	WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
	UNION ALL
	SELECT b.attnum, t.oid, t.typtype, t.typbasetype
	FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
	WHERE b.typtype = 'd'
)
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity = 'a', a.attgenerated <> '',
	a.atthasdef OR a.attidentity <> '' OR EXISTS (
		SELECT FROM pg_catalog.pg_type d WHERE d.oid = a.atttypid AND d.typdefault IS NOT NULL),
	t.oid, t.typarray, t.typdelim, t.typcategory, pg_catalog.format_type(t.oid, -1),
	COALESCE((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), true)
FROM pg_catalog.pg_attribute a
JOIN base b ON b.attnum = a.attnum AND b.typtype <> 'd'
JOIN pg_catalog.pg_type t ON t.oid = b.oid
WHERE a.attrelid = $1::oid
ORDER BY a.attnum
