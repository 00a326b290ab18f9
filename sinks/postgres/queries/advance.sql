-- $1 seq, $2 phase, $3 format, $4 token; of pipeline $5, lane $6, if its epoch is still $7 and its seq $8
UPDATE rowferry.ledger SET seq = $1, phase = $2, format = $3, token = $4, changed_at = pg_catalog.now()
WHERE pipeline = $5 AND lane = $6 AND epoch = $7 AND seq = $8
