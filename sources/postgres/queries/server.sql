-- Where the server's log ends, and whether it replays another server's.
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
       pg_is_in_recovery(), current_database()
