INSERT INTO "public"."casts" ("id", "tags", "place", "m", "c", "b") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6);
INSERT INTO "public"."casts" ("id", "tags", "place", "m", "c", "b") OVERRIDING SYSTEM VALUE SELECT u.c1, u.c2::integer[], u.c3::box, u.c4, u.c5, u.c6 FROM unnest($1, $2, $3, $4, $5, $6) AS u(c1, c2, c3, c4, c5, c6);
UPDATE ONLY "public"."casts" AS t SET "tags" = $1, "place" = $2, "m" = $3, "c" = $4, "b" = $5 WHERE t."id" = $6;
UPDATE ONLY "public"."casts" AS t SET "tags" = u.c1::integer[], "place" = u.c2::box, "m" = u.c3, "c" = u.c4, "b" = u.c5 FROM unnest($1, $2, $3, $4, $5, $6) AS u(c1, c2, c3, c4, c5, c6) WHERE t."id" = u.c6;
DELETE FROM ONLY "public"."casts" AS t WHERE t."id" = $1;
DELETE FROM ONLY "public"."casts" AS t USING unnest($1) AS u(c1) WHERE t."id" = u.c1;
