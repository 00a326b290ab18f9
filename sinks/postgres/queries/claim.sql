-- $1 pipeline, $2 holder: shuts out every older writer
UPDATE rowferry.ledger SET epoch = epoch + 1, holder = $2, changed_at = pg_catalog.now() WHERE pipeline = $1
