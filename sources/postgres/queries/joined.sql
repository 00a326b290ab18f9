-- When the tables $1, as far as they hold anything, were made, and when they last became what they are: got their name or
-- schema, which counts if $2, or were attached below another table. No catalog row that is looked at here is written by
-- anything else but a change of owner. Rows of a table that are older were sent, if at all, as those of another. A table is
-- looked into only where nothing keeps the role from it.
SELECT n.nspname, c.relname,
       has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid),
       made.xmin = came.xid, came.xid::text, came.command
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute made ON made.attrelid = c.oid AND made.attname = 'tableoid'
 CROSS JOIN LATERAL (
   SELECT m.xid, m.command
     FROM (SELECT made.xmin, made.cmin::text::bigint
            UNION ALL
           SELECT t.xmin, t.cmin::text::bigint
             FROM (SELECT c.oid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) a (relid)
             JOIN pg_class p ON p.oid = a.relid
             JOIN pg_type t ON t.oid = p.reltype
            WHERE $2
            UNION ALL
           SELECT i.xmin, i.cmin::text::bigint
             FROM pg_partition_ancestors(c.oid) a
             JOIN pg_inherits i ON i.inhrelid = a.relid) m (xid, command)
    ORDER BY age(m.xid), m.command DESC
    LIMIT 1) came
 WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0
 ORDER BY 1, 2
