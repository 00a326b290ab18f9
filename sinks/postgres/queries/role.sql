-- who we are, and whether we may make the ledger's schema
SELECT current_user, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
	pg_catalog.current_database(), pg_catalog.current_setting('server_version_num')::int >= 150000,
	COALESCE((SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n
		WHERE n.nspname = 'rowferry'), false)
