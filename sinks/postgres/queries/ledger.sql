-- $1 pipeline
SELECT lane, epoch, seq, source_id, fingerprint, phase, format, token, holder, pg_catalog.array_to_json(made)
FROM rowferry.ledger WHERE pipeline = $1 ORDER BY lane
