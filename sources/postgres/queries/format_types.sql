-- The types $1 with the modifiers $2, as the server spells them.
SELECT format_type(t.oid, t.typmod)
  FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t(oid, typmod, place)
 ORDER BY t.place
