-- The slot $1. to_jsonb reads columns that not every version has.
SELECT s.plugin, s.slot_type, s.database, s.active, s.active_pid,
       coalesce(a.application_name, ''), coalesce(a.client_addr::text, 'this machine'),
       coalesce(s.confirmed_flush_lsn::text, '0/0'), coalesce(s.restart_lsn::text, '0/0'),
       coalesce(s.wal_status, ''),
       coalesce(to_jsonb(s) ->> 'invalidation_reason', ''),
       coalesce(to_jsonb(s) ->> 'two_phase' = 'true', false)
  FROM pg_replication_slots s
  LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
 WHERE s.slot_name = $1
