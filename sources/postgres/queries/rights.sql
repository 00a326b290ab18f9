-- What our role may do.
SELECT r.rolname, r.rolsuper, r.rolbypassrls OR r.rolsuper, has_database_privilege(current_database(), 'CREATE'),
       current_database()
  FROM pg_roles r
 WHERE r.rolname = current_user
