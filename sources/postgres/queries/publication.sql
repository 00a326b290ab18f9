-- The publication $1. to_jsonb reads columns that not every version has.
SELECT p.oid, p.puballtables, p.pubviaroot,
       concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                 CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
       coalesce(to_jsonb(p) ->> 'pubgencols', 'n') = 's'
  FROM pg_publication p
 WHERE p.pubname = $1
