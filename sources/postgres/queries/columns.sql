-- Columns of the tables $1 in their order, with their place in primary key and replica identity.
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity = 'a', a.attgenerated <> '',
       coalesce(array_position(k.indkey::int2[], a.attnum), -1),
       CASE c.relreplident
         WHEN 'f' THEN true
         WHEN 'd' THEN coalesce(k.indimmediate AND a.attnum = ANY (k.indkey::int2[]), false)
         WHEN 'i' THEN coalesce(a.attnum = ANY (r.indkey::int2[]), false)
         ELSE false
       END
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
  LEFT JOIN pg_index r ON r.indrelid = c.oid AND r.indisreplident
 WHERE c.oid = ANY ($1::oid[])
 ORDER BY a.attrelid, a.attnum
