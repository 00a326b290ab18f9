-- Transactions that hold a transaction id, oldest first, and prepared ones.
SELECT text FROM (
  SELECT a.xact_start AS since,
         format('server process %s (%s, %s, open for %s s)', a.pid, coalesce(nullif(a.application_name, ''), 'no name'),
                coalesce(a.state, 'state not shown'), coalesce(extract(epoch FROM now() - a.xact_start)::int::text, '?')) AS text
    FROM pg_stat_activity a
   WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
  UNION ALL
  SELECT p.prepared, format('prepared transaction %L of database %s, since %s', p.gid, p.database,
                            to_char(p.prepared, 'YYYY-MM-DD HH24:MI:SS'))
    FROM pg_prepared_xacts p
) AS holder
 ORDER BY since NULLS LAST
 LIMIT 10
