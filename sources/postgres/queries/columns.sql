-- Columns of the tables $1 in their order, with their place in primary key and replica identity, and for a stored
-- generated column its expression and the columns that refers to. The last ones say what rows hold that are older than
-- the column: v(alue), n(ull), or u(nknown). The catalog keeps the value of a constant default for them until the table
-- is rewritten; below a partitioned table each partition keeps it. A default that is left without such a value came
-- later, or wrote another one into each row. The very last is the default as it is now.
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity = 'a', a.attgenerated <> '',
       coalesce(array_position(k.indkey::int2[], a.attnum), -1),
       CASE c.relreplident
         WHEN 'f' THEN true
         WHEN 'd' THEN coalesce(k.indimmediate AND a.attnum = ANY (k.indkey::int2[]), false)
         WHEN 'i' THEN coalesce(a.attnum = ANY (r.indkey::int2[]), false)
         ELSE false
       END,
       a.attnum, CASE WHEN a.attgenerated = 's' THEN pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
       ARRAY(SELECT p.refobjsubid::int2 FROM pg_depend p
              WHERE a.attgenerated = 's' AND p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
                AND p.refobjid = c.oid AND p.refobjsubid NOT IN (0, a.attnum)),
       c.relnatts,
       CASE
         WHEN a.atthasmissing OR l.several = 1 THEN 'v'
         WHEN l.several > 1 OR a.atthasdef OR a.attidentity <> '' OR a.attnotnull THEN 'u'
         ELSE 'n'
       END,
       coalesce(array_to_string(a.attmissingval, ''), l.text, ''),
       CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON a.atthasdef AND d.adrelid = c.oid AND d.adnum = a.attnum
  LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
  LEFT JOIN pg_index r ON r.indrelid = c.oid AND r.indisreplident
  LEFT JOIN LATERAL (
    SELECT count(DISTINCT array_to_string(p.attmissingval, '')) AS several, min(array_to_string(p.attmissingval, '')) AS text
      FROM pg_partition_tree(c.oid) t
      JOIN pg_attribute p ON p.attrelid = t.relid AND p.attname = a.attname AND p.atthasmissing) l ON c.relkind = 'p'
 WHERE c.oid = ANY ($1::oid[])
 ORDER BY a.attrelid, a.attnum
