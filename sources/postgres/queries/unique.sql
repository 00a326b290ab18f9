-- Of each of the tables $1 the first unique index, as drivers for Java list them: a clustered one before others, then by
-- name; with the numbers of its columns, 0 for an expression. One of expressions alone is passed over.
SELECT DISTINCT ON (i.indrelid) i.indrelid, i.indkey::int2[]
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
 WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique
   AND EXISTS (SELECT FROM unnest(i.indkey::int2[]) number WHERE number <> 0)
 ORDER BY i.indrelid, i.indisclustered DESC, x.relname
