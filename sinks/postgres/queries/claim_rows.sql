-- $1 pipeline, $2 lanes, $3 source, $4 fingerprint, $5 holder: rows for lanes that have none yet
INSERT INTO rowferry.ledger (pipeline, lane, epoch, seq, source_id, fingerprint, holder)
SELECT $1, n, 0, 0, $3, $4, $5 FROM pg_catalog.generate_series(0, $2::int - 1) AS g(n) ORDER BY n
ON CONFLICT DO NOTHING
