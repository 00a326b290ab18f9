DELETE FROM rowferry.state WHERE pipeline = $1 AND key = $2
