DELETE FROM rowferry.copy WHERE pipeline = $1
