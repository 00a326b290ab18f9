-- Who holds the advisory lock with the halves $1 and $2 in this database.
SELECT l.pid, coalesce(nullif(a.application_name, ''), 'a session without a name'),
       coalesce(a.client_addr::text, 'this machine'), coalesce(a.backend_start, now())
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.classid = $1 AND l.objid = $2
