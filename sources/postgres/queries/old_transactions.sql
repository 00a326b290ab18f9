-- The oldest transaction that has written, if it is open for $1 seconds or longer.
SELECT text FROM (
  SELECT a.xact_start AS since,
         format('server process %s (%s, %s), open since %s', a.pid, coalesce(nullif(a.application_name, ''), 'no name'),
                coalesce(a.state, 'state not shown'), to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS')) AS text
    FROM pg_stat_activity a
   WHERE a.backend_xid IS NOT NULL
  UNION ALL
  SELECT p.prepared, format('prepared transaction %L of database %s, since %s', p.gid, p.database,
                            to_char(p.prepared, 'YYYY-MM-DD HH24:MI:SS'))
    FROM pg_prepared_xacts p
) AS holder
 WHERE since < now() - make_interval(secs => $1)
 ORDER BY since
 LIMIT 1
