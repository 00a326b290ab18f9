INSERT INTO "public"."only_key" ("id") OVERRIDING SYSTEM VALUE VALUES ($1);
INSERT INTO "public"."only_key" ("id") OVERRIDING SYSTEM VALUE SELECT u.c1 FROM unnest($1) AS u(c1);
SELECT FROM ONLY "public"."only_key" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."only_key" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."only_key" AS t USING unnest($1) AS u(c1) WHERE t."id" = u.c1;
