INSERT INTO "public"."simple" ("id", "v", "n") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3);
INSERT INTO "public"."simple" ("id", "v", "n") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2, u.c3 FROM unnest($1, $2, $3) AS u(c1, c2, c3);
UPDATE ONLY "public"."simple" AS t SET "v" = $1, "n" = $2 WHERE t."id" = $3;
UPDATE ONLY "public"."simple" AS t SET "v" = u.c1, "n" = u.c2 FROM unnest($1, $2, $3) AS u(c1, c2, c3) WHERE t."id" = u.c3;
DELETE FROM ONLY "public"."simple" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."simple" AS t USING unnest($1) AS u(c1) WHERE t."id" = u.c1;
