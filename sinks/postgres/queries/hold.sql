-- takes the row of pipeline $1, lane $2, if its epoch is still $3 and its seq $4
UPDATE rowferry.ledger SET changed_at = pg_catalog.now()
WHERE pipeline = $1 AND lane = $2 AND epoch = $3 AND seq = $4
