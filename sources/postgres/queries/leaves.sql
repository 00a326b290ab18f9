-- Tables that hold rows below the tables $1, themselves included when they hold rows, as this transaction sees them.
WITH RECURSIVE tree AS (
  SELECT oid AS root, oid AS relid FROM unnest($1::oid[]) AS oid
  UNION ALL
  SELECT t.root, i.inhrelid
    FROM tree t
    JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'p'
    JOIN pg_inherits i ON i.inhparent = t.relid
)
SELECT t.root, c.oid, n.nspname, c.relname, c.relkind::text, coalesce(pg_relation_size(c.oid), 0), coalesce(pg_table_size(c.oid), 0),
       c.reltuples::float8
  FROM tree t
  JOIN pg_class c ON c.oid = t.relid AND c.relkind <> 'p'
  JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY t.root, n.nspname, c.relname
