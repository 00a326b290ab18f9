-- Schemas that the publication $1 holds whole (Postgres 15 and later).
SELECT n.nspname, pn.oid
  FROM pg_publication_namespace pn
  JOIN pg_publication p ON p.oid = pn.pnpubid
  JOIN pg_namespace n ON n.oid = pn.pnnspid
 WHERE p.pubname = $1
 ORDER BY 1
