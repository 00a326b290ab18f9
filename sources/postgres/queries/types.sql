-- The types $1, domains followed to what they rest on.
WITH RECURSIVE base AS (
  SELECT t.oid AS type, t.oid AS base, -1 AS typmod
    FROM pg_type t
   WHERE t.oid = ANY ($1::oid[])
  UNION ALL
  SELECT b.type, t.typbasetype, CASE WHEN t.typtypmod <> -1 THEN t.typtypmod ELSE b.typmod END
    FROM base b
    JOIN pg_type t ON t.oid = b.base
   WHERE t.typtype = 'd'
)
SELECT b.type, b.base, b.typmod, format_type(b.base, b.typmod), t.typname, t.typtype::text,
       CASE WHEN t.typtype IN ('r', 'm')
            THEN (SELECT g.rngsubtype FROM pg_range g WHERE t.oid IN (g.rngtypid, g.rngmultitypid))
            ELSE t.typelem END,
       t.typcategory = 'A' AND t.typelem <> 0 AND t.typname NOT IN ('int2vector', 'oidvector'),
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.base ORDER BY e.enumsortorder)
  FROM base b
  JOIN pg_type t ON t.oid = b.base
 WHERE t.typtype <> 'd'
