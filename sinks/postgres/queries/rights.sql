-- $1 table: what the role may do to it
SELECT pg_catalog.has_table_privilege($1::oid, 'SELECT'), pg_catalog.has_table_privilege($1::oid, 'INSERT'),
	pg_catalog.has_table_privilege($1::oid, 'UPDATE'), pg_catalog.has_table_privilege($1::oid, 'DELETE'),
	pg_catalog.has_table_privilege($1::oid, 'TRUNCATE')
