-- Whether a transaction holds the lock for changing the definition of table $1.
SELECT EXISTS (
  SELECT FROM pg_locks
   WHERE locktype = 'relation' AND relation = $1::oid AND mode = 'AccessExclusiveLock' AND granted
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
