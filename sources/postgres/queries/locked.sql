-- The tables, of those with the oids $1 or of all, whose definition a transaction may change that is not over.
SELECT DISTINCT relation
  FROM pg_locks
 WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND ($1::oid[] IS NULL OR relation = ANY ($1))
