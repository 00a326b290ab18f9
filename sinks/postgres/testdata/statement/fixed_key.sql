INSERT INTO "public"."fixed_key" ("id", "v") OVERRIDING SYSTEM VALUE VALUES ($1, $2);
INSERT INTO "public"."fixed_key" ("id", "v") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2 FROM unnest($1, $2) AS u(c1, c2);
WITH same AS (UPDATE ONLY "public"."fixed_key" AS t SET "v" = $2 WHERE t."id" = $3 AND t."id" = $1 RETURNING 1), old AS (DELETE FROM ONLY "public"."fixed_key" AS t WHERE t."id" = $3 AND NOT (t."id" = $1) RETURNING t.*), new AS (INSERT INTO "public"."fixed_key" ("id", "v") OVERRIDING SYSTEM VALUE SELECT $1, $2 FROM old RETURNING 1) SELECT 1 FROM same UNION ALL SELECT 1 FROM new;
DELETE FROM ONLY "public"."fixed_key" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."fixed_key" AS t USING unnest($1) AS u(c1) WHERE t."id" = u.c1;
