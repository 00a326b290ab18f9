-- Whether the table $1 still has the storage this transaction's snapshot shows, under the name $2.
SELECT c.relfilenode = coalesce(pg_relation_filenode(c.oid), 0) AND c.oid = coalesce(to_regclass($2)::oid, 0)
  FROM pg_class c
 WHERE c.oid = $1
