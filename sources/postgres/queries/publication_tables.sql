-- What the publication $1 sends, table by table. Before Postgres 15 there are neither filters nor column lists; before
-- 18 generated columns are listed, and yet never sent.
SELECT c.oid, n.nspname, c.relname,
       CASE WHEN jsonb_typeof(to_jsonb(t) -> 'attnames') = 'array'
            THEN ARRAY(SELECT l.name FROM jsonb_array_elements_text(to_jsonb(t) -> 'attnames') WITH ORDINALITY l(name, n)
                        WHERE current_setting('server_version_num')::int >= 180000
                           OR NOT EXISTS (SELECT FROM pg_attribute a
                                           WHERE a.attrelid = c.oid AND a.attname = l.name AND a.attgenerated <> '')
                        ORDER BY l.n) END,
       coalesce(to_jsonb(t) ->> 'rowfilter', ''),
       coalesce(r.oid, 0), r.oid IS NOT NULL,
       coalesce(to_jsonb(r) ->> 'prattrs' IS NOT NULL, false)
  FROM pg_publication_tables t
  JOIN pg_publication p ON p.pubname = t.pubname
  JOIN pg_namespace n ON n.nspname = t.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
  LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
 WHERE t.pubname = $1
 ORDER BY n.nspname, c.relname
