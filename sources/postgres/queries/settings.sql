-- What the server allows, and how much of it is used.
SELECT current_setting('wal_level'),
       current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_replication_slots)::int,
       current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication)::int,
       pg_size_bytes(current_setting('max_slot_wal_keep_size')),
       coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
       ARRAY(SELECT format('%s (holds %s)', s.slot_name, pg_size_pretty(pg_wal_lsn_diff($1::text::pg_lsn, s.restart_lsn)))
               FROM pg_replication_slots s
              WHERE NOT s.active AND s.restart_lsn IS NOT NULL
              ORDER BY s.restart_lsn
              LIMIT 3)
