-- $1 array of names, $2 pipeline, $3 lane
UPDATE rowferry.ledger SET made = (
	SELECT pg_catalog.array_agg(DISTINCT m) FROM pg_catalog.unnest(made || $1::text[]) AS u(m))
WHERE pipeline = $2 AND lane = $3
