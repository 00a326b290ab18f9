INSERT INTO "public"."fixed_beside_key" ("id", "n", "v") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3);
INSERT INTO "public"."fixed_beside_key" ("id", "n", "v") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2, u.c3 FROM unnest($1, $2, $3) AS u(c1, c2, c3);
WITH same AS (UPDATE ONLY "public"."fixed_beside_key" AS t SET "v" = $2 WHERE t."id" = $3 AND t."n" = $1 RETURNING 1), old AS (DELETE FROM ONLY "public"."fixed_beside_key" AS t WHERE t."id" = $3 AND NOT (t."n" = $1) RETURNING t.*), new AS (INSERT INTO "public"."fixed_beside_key" ("id", "n", "v", "extra") OVERRIDING SYSTEM VALUE SELECT old."id", $1, $2, old."extra" FROM old RETURNING 1) SELECT 1 FROM same UNION ALL SELECT 1 FROM new;
DELETE FROM ONLY "public"."fixed_beside_key" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."fixed_beside_key" AS t USING unnest($1) AS u(c1) WHERE t."id" = u.c1;
