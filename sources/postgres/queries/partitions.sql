-- Tables that hold rows below the partitioned tables $1, by those.
WITH RECURSIVE tree AS (
  SELECT oid AS root, oid AS relid FROM unnest($1::oid[]) AS oid
  UNION ALL
  SELECT t.root, i.inhrelid
    FROM tree t
    JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'p'
    JOIN pg_inherits i ON i.inhparent = t.relid
)
SELECT t.root, c.oid
  FROM tree t
  JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'r'
 ORDER BY t.root, c.oid
