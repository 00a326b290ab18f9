-- The numbers of the columns of the tables $1.
SELECT attrelid, attname, attnum
  FROM pg_attribute
 WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
