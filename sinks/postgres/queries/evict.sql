-- ends sessions of this pipeline that hold the ledger and have waited for their client for a while: its process is
-- frozen, or too far away to be heard
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid))
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database() AND a.usename = current_user AND a.application_name = $1
	AND a.pid <> pg_catalog.pg_backend_pid() AND a.wait_event_type = 'Client'
	AND a.state_change < pg_catalog.clock_timestamp() - INTERVAL '4 s'
	AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.granted
		AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
		AND l.relation = pg_catalog.to_regclass($2))
