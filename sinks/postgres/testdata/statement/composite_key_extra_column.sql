INSERT INTO "public"."composite_key_extra_column" ("a", "b", "v") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3);
INSERT INTO "public"."composite_key_extra_column" ("a", "b", "v") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2, u.c3 FROM unnest($1, $2, $3) AS u(c1, c2, c3);
UPDATE ONLY "public"."composite_key_extra_column" AS t SET "v" = $1 WHERE t."a" = $2 AND t."b" = $3;
UPDATE ONLY "public"."composite_key_extra_column" AS t SET "v" = u.c1 FROM unnest($1, $2, $3) AS u(c1, c2, c3) WHERE t."a" = u.c2 AND t."b" = u.c3;
DELETE FROM ONLY "public"."composite_key_extra_column" AS t WHERE t."a" = $1 AND t."b" = $2;
DELETE FROM ONLY "public"."composite_key_extra_column" AS t USING unnest($1, $2) AS u(c1, c2) WHERE t."a" = u.c1 AND t."b" = u.c2;
