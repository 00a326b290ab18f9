package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A table of the shop, with the columns of its primary key.
type table struct {
	name string
	key  []string
}

var tables = []table{
	{"customers", []string{"id"}},
	{"products", []string{"id"}},
	{"orders", []string{"id"}},
	{"order_items", []string{"order_id", "line"}},
}

const (
	customersAtOnce = 3
	customerCount   = 20_000
	productCount    = 2_000
	orderCount      = 60_000
)

const shopSchema = `
CREATE TYPE order_status AS ENUM ('new', 'paid', 'shipped', 'returned');
CREATE TABLE customers (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name       text NOT NULL,
	email      text NOT NULL UNIQUE,
	since      timestamptz NOT NULL DEFAULT now(),
	newsletter boolean,
	address    jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE products (
	id          int PRIMARY KEY,
	name        text NOT NULL,
	price       numeric(10, 2) NOT NULL,
	stock       int NOT NULL,
	weight      double precision,
	description text NOT NULL
);
-- Kept outside the row and not sent again by a change of the stock alone.
ALTER TABLE products ALTER description SET STORAGE EXTERNAL;
CREATE TABLE orders (
	id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer bigint NOT NULL REFERENCES customers,
	status   order_status NOT NULL DEFAULT 'new',
	total    numeric(12, 2) NOT NULL DEFAULT 0,
	placed   timestamptz NOT NULL DEFAULT clock_timestamp(),
	tags     text[]
);
CREATE TABLE order_items (
	order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
	line     smallint NOT NULL,
	product  int NOT NULL REFERENCES products,
	quantity int NOT NULL,
	price    numeric(10, 2) NOT NULL,
	PRIMARY KEY (order_id, line)
);`

const shopRows = `
INSERT INTO customers (name, email, since, newsletter, address)
	SELECT 'Customer ' || n, 'customer' || n || '@example.org', timestamptz '2024-01-01' + n * interval '37 minutes',
		CASE n %% 3 WHEN 0 THEN true WHEN 1 THEN false END,
		jsonb_build_object('city', 'Port ' || n %% 100, 'floor', n %% 7, 'note', E'it''s "here"\n\\')
	FROM generate_series(1, %[1]d) n;
INSERT INTO products
	SELECT n, 'Product ' || n, (n %% 500) + 0.99, 1000000, n / 7.0,
		CASE WHEN n %% 10 = 0 THEN repeat(md5(n::text), 100) ELSE 'Plain, No. ' || n END
	FROM generate_series(1, %[2]d) n;
INSERT INTO orders (customer, status, placed, tags)
	SELECT 1 + n %% %[1]d, (enum_range(NULL::order_status))[1 + n %% 4],
		timestamptz '2025-01-01' + n * interval '9.123456 seconds', CASE n %% 2 WHEN 0 THEN ARRAY['gift', 'a,b', NULL] END
	FROM generate_series(1, %[3]d) n;
INSERT INTO order_items
	SELECT o, line, 1 + (o * 7 + line) %% %[2]d, line, 9.99
	FROM generate_series(1, %[3]d) o, generate_series(1, 3) line;
ANALYZE;`

// fill opens the shop and returns how many rows it has.
func fill(ctx context.Context, url string) (int64, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connecting to the shop: %w", err)
	}
	defer conn.Close(ctx)
	rows := fmt.Sprintf(shopRows, customerCount, productCount, orderCount)
	for _, statements := range []string{shopSchema, rows} {
		if _, err := conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
			return 0, fmt.Errorf("filling the shop: %w", err)
		}
	}
	return customerCount + productCount + 4*orderCount, nil
}

// counts is what customers have committed.
type counts struct{ transactions, rows int64 }

// writer is a number of customers, each on a connection of its own.
type writer struct {
	cancel       context.CancelFunc
	wg           sync.WaitGroup
	errs         [customersAtOnce]error
	transactions atomic.Int64
	rows         atomic.Int64
}

func startWriter(ctx context.Context, url string) *writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{cancel: cancel}
	for i := range customersAtOnce {
		w.wg.Go(func() {
			if err := w.shop(ctx, url, rand.New(rand.NewPCG(uint64(i), 42))); ctx.Err() == nil {
				w.errs[i] = err
			}
		})
	}
	return w
}

// close ends the shopping and waits for it; it may be called again.
func (w *writer) close() {
	w.cancel()
	w.wg.Wait()
}

// stop is close, and tells what happened.
func (w *writer) stop() (counts, error) {
	w.close()
	return w.counts(), errors.Join(w.errs[:]...)
}

func (w *writer) counts() counts { return counts{w.transactions.Load(), w.rows.Load()} }

func (w *writer) shop(ctx context.Context, url string, random *rand.Rand) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		err := w.visit(ctx, conn, random)
		if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.Code == deadlock {
			continue // the other customer was served
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const deadlock = "40P01"

// visit is one transaction. Once begun it goes on to its end, so that what was counted is what happened.
func (w *writer) visit(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	rows, err := step(ctx, tx, random)
	if err != nil {
		return err
	}
	if random.IntN(20) == 0 { // changed their mind
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.transactions.Add(1)
	w.rows.Add(rows)
	return nil
}

func step(ctx context.Context, tx pgx.Tx, random *rand.Rand) (int64, error) {
	change := func(sql string, args ...any) (int64, error) {
		tag, err := tx.Exec(ctx, sql, args...)
		return tag.RowsAffected(), err
	}
	order := 1 + random.Int64N(orderCount)
	switch n := random.IntN(100); {
	case n < 50:
		return placeOrder(ctx, tx, random)
	case n < 70:
		return change(`UPDATE orders SET status = (enum_range(NULL::order_status))[1 + $2 % 4] WHERE id = $1`, order, random.IntN(4))
	case n < 80: // the description is not sent with it
		return change(`UPDATE products SET price = price + 0.01 WHERE id = $1`, 1+random.IntN(productCount))
	case n < 88:
		return change(`INSERT INTO customers (name, email, newsletter) VALUES ('Neu – 新', 'new-' || gen_random_uuid(), NULL)`)
	case n < 96: // its items go with it
		items, err := change(`DELETE FROM order_items WHERE order_id = $1`, order)
		if err != nil {
			return 0, err
		}
		orders, err := change(`DELETE FROM orders WHERE id = $1`, order)
		return items + orders, err
	default: // the line's key changes
		return change(`UPDATE order_items SET line = line + 100 WHERE order_id = $1 AND line < 100`, order)
	}
}

// placeOrder inserts an order with its items and takes them from the stock.
func placeOrder(ctx context.Context, tx pgx.Tx, random *rand.Rand) (int64, error) {
	var order int64
	err := tx.QueryRow(ctx, `INSERT INTO orders (customer) VALUES ($1) RETURNING id`, 1+random.IntN(customerCount)).Scan(&order)
	if err != nil {
		return 0, err
	}
	// One order of products for all customers, so that no two wait for each other.
	product := 1 + random.IntN(productCount-10)
	rows := int64(1)
	for line := range 1 + random.IntN(4) {
		product += 1 + random.IntN(2)
		tag, err := tx.Exec(ctx, `WITH taken AS (UPDATE products SET stock = stock - 1 WHERE id = $3 RETURNING price)
			INSERT INTO order_items SELECT $1, $2, $3, 1, price FROM taken`, order, line+1, product)
		if err != nil {
			return 0, err
		}
		rows += 2 * tag.RowsAffected()
	}
	_, err = tx.Exec(ctx, `UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_items WHERE order_id = $1)
		WHERE id = $1`, order)
	return rows + 1, err
}
