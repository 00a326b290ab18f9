-- Whether the table $1 still has the storage and the columns this transaction's snapshot shows, under the name $2.
-- pg_identify_object knows the names of now: where two columns have swapped theirs, each has the other's values in COPY.
SELECT c.relfilenode = coalesce(pg_relation_filenode(c.oid), 0) AND c.oid = coalesce(to_regclass($2)::oid, 0)
   AND NOT EXISTS (
         SELECT FROM pg_attribute a
          CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, a.attrelid, a.attnum) o
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND coalesce(right(o.identity, length(quote_ident(a.attname)) + 1) <> '.' || quote_ident(a.attname), true))
  FROM pg_class c
 WHERE c.oid = $1
