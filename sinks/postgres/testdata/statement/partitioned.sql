INSERT INTO "public"."partitioned" ("id", "v") OVERRIDING SYSTEM VALUE VALUES ($1, $2);
INSERT INTO "public"."partitioned" ("id", "v") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2 FROM unnest($1, $2) AS u(c1, c2);
UPDATE "public"."partitioned" AS t SET "id" = $1, "v" = $2 WHERE (t.tableoid, t.ctid) = (SELECT r.tableoid, r.ctid FROM "public"."partitioned" AS r WHERE r."id" IS NOT DISTINCT FROM $3::integer AND r."v" IS NOT DISTINCT FROM $4::text LIMIT 1);
DELETE FROM "public"."partitioned" AS t WHERE (t.tableoid, t.ctid) = (SELECT r.tableoid, r.ctid FROM "public"."partitioned" AS r WHERE r."id" IS NOT DISTINCT FROM $1::integer AND r."v" IS NOT DISTINCT FROM $2::text LIMIT 1);
