-- What the publication $1 sends, table by table. Before Postgres 15 there are neither filters nor column lists.
SELECT c.oid, n.nspname, c.relname,
       CASE WHEN jsonb_typeof(to_jsonb(t) -> 'attnames') = 'array'
            THEN ARRAY(SELECT jsonb_array_elements_text(to_jsonb(t) -> 'attnames')) END,
       coalesce(to_jsonb(t) ->> 'rowfilter', ''),
       r.oid IS NOT NULL,
       coalesce(to_jsonb(r) ->> 'prattrs' IS NOT NULL, false)
  FROM pg_publication_tables t
  JOIN pg_publication p ON p.pubname = t.pubname
  JOIN pg_namespace n ON n.nspname = t.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
  LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
 WHERE t.pubname = $1
 ORDER BY n.nspname, c.relname
