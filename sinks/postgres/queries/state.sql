SELECT key, value FROM rowferry.state WHERE pipeline = $1 ORDER BY key
