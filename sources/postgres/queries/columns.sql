-- Columns of the tables $1 in their order, with their place in primary key and replica identity, and for a stored
-- generated column its expression and the columns that refers to.
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity = 'a', a.attgenerated <> '',
       coalesce(array_position(k.indkey::int2[], a.attnum), -1),
       CASE c.relreplident
         WHEN 'f' THEN true
         WHEN 'd' THEN coalesce(k.indimmediate AND a.attnum = ANY (k.indkey::int2[]), false)
         WHEN 'i' THEN coalesce(a.attnum = ANY (r.indkey::int2[]), false)
         ELSE false
       END,
       a.attnum, coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
       ARRAY(SELECT p.refobjsubid::int2 FROM pg_depend p
              WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
                AND p.refobjid = c.oid AND p.refobjsubid NOT IN (0, a.attnum))
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON a.attgenerated = 's' AND d.adrelid = c.oid AND d.adnum = a.attnum
  LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
  LEFT JOIN pg_index r ON r.indrelid = c.oid AND r.indisreplident
 WHERE c.oid = ANY ($1::oid[])
 ORDER BY a.attrelid, a.attnum
