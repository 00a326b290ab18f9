package load

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What the invariants rest on.
const (
	Accounts       = 20   // rows of bank
	OpeningBalance = 1000 // of each account when the load begins
	Total          = Accounts * OpeningBalance
)

// Tables are the tables of the load, all in schema public. Only the load writes them.
var Tables = []string{
	"bank", "lists", "entries", "hot", "docs", "keyed", "wiped", "wiped_too", "big", "subs", "grown", "txn_a", "txn_b", "old",
}

// definitions creates the tables. Values of docs are kept out of line uncompressed, so that an update which leaves
// them alone does not send them. Two tables send whole old rows, the others their keys.
const definitions = `
CREATE TABLE bank (id int PRIMARY KEY, balance bigint NOT NULL);
ALTER TABLE bank REPLICA IDENTITY FULL;
CREATE TABLE lists (key bigint PRIMARY KEY, items bigint[] NOT NULL);
CREATE TABLE entries (key bigint, seq int, item bigint NOT NULL, PRIMARY KEY (key, seq));
CREATE TABLE hot (id int PRIMARY KEY, n bigint NOT NULL);
ALTER TABLE hot REPLICA IDENTITY FULL;
CREATE TABLE docs (id bigint PRIMARY KEY, n int NOT NULL, body text);
ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
CREATE TABLE keyed (id bigint PRIMARY KEY, moves int NOT NULL, body text);
ALTER TABLE keyed ALTER body SET STORAGE EXTERNAL;
CREATE TABLE wiped (id bigint PRIMARY KEY, note text);
CREATE TABLE wiped_too (id bigint PRIMARY KEY, note text);
CREATE TABLE big (txn bigint, i int, pad text NOT NULL, PRIMARY KEY (txn, i));
CREATE TABLE subs (id bigint PRIMARY KEY, ghost boolean NOT NULL, depth int NOT NULL);
CREATE TABLE grown (id bigint PRIMARY KEY, note text);
CREATE TABLE txn_a (txn bigint, i int, k int NOT NULL, PRIMARY KEY (txn, i));
CREATE TABLE txn_b (txn bigint, i int, k int NOT NULL, PRIMARY KEY (txn, i));
CREATE TABLE old (id bigint PRIMARY KEY, pad text NOT NULL, price numeric(12,2), at timestamptz);
`

// Setup creates the tables in an empty database and fills them: existing is how many rows the first copy finds in
// the table old, beside the few of the others.
func Setup(ctx context.Context, conn *pgx.Conn, existing int) error {
	fill := fmt.Sprintf(`
INSERT INTO bank SELECT g, %d FROM generate_series(1, %d) g;
INSERT INTO hot VALUES (1, 0);
INSERT INTO docs SELECT -g, 0, repeat(md5(g::text), 100) FROM generate_series(1, 20) g;
INSERT INTO subs SELECT -g, false, 0 FROM generate_series(1, 20) g;
INSERT INTO old SELECT g, md5(g::text), g / 100.0, timestamptz '2026-01-01 00:00:00+00' + g * interval '1 ms'
  FROM generate_series(1, %d) g;
ANALYZE;`, OpeningBalance, Accounts, existing)
	for _, sql := range []string{definitions, fill} {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("setting up the load: %w", err)
		}
	}
	return nil
}
