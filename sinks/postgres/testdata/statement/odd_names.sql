INSERT INTO "public"."odd""; DROP TABLE x--" ("se""lect", "a.b $1") OVERRIDING SYSTEM VALUE VALUES ($1, $2);
INSERT INTO "public"."odd""; DROP TABLE x--" ("se""lect", "a.b $1") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2 FROM unnest($1, $2) AS u(c1, c2);
UPDATE ONLY "public"."odd""; DROP TABLE x--" AS t SET "a.b $1" = $1 WHERE t."se""lect" = $2;
UPDATE ONLY "public"."odd""; DROP TABLE x--" AS t SET "a.b $1" = u.c1 FROM unnest($1, $2) AS u(c1, c2) WHERE t."se""lect" = u.c2;
DELETE FROM ONLY "public"."odd""; DROP TABLE x--" AS t WHERE t."se""lect" = $1;
DELETE FROM ONLY "public"."odd""; DROP TABLE x--" AS t USING unnest($1) AS u(c1) WHERE t."se""lect" = u.c1;
