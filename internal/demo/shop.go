package demo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/relation"
)

const database = "shop"

// definition makes the shop's tables.
const definition = `
CREATE TABLE customers (
	id bigint PRIMARY KEY,
	name text NOT NULL,
	email text NOT NULL UNIQUE,
	country char(2) NOT NULL,
	since date NOT NULL
);
CREATE TABLE orders (
	id bigint PRIMARY KEY,
	customer_id bigint NOT NULL REFERENCES customers,
	status text NOT NULL,
	total numeric(12,2) NOT NULL,
	placed_at timestamptz NOT NULL,
	note text
);
CREATE INDEX ON orders (customer_id);
CREATE TABLE items (
	order_id bigint NOT NULL REFERENCES orders,
	line int NOT NULL,
	sku text NOT NULL,
	quantity int NOT NULL,
	price numeric(10,2) NOT NULL,
	PRIMARY KEY (order_id, line)
);
CREATE TABLE events (
	day date NOT NULL,
	id bigint NOT NULL,
	kind text NOT NULL,
	payload jsonb NOT NULL,
	PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
CREATE TABLE events_2026_01 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2026_02 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE events_2026_03 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
CREATE TABLE log (
	at timestamptz NOT NULL,
	level text NOT NULL,
	message text NOT NULL
)`

// tables are the shop's, each after those that it refers to, and what fills
// them: the same rows each time.
var tables = []struct{ name, about, fill string }{
	{"customers", "", `
INSERT INTO customers
SELECT i, 'Customer ' || i, 'customer' || i || '@example.com',
	(ARRAY['AT', 'BR', 'DE', 'FR', 'IN', 'JP', 'KE', 'US'])[1 + i * 7 % 8], date '2020-01-01' + (i * 31 % 2000)::int
FROM generate_series(1, 20000) i`},
	{"orders", "refer to customers", `
INSERT INTO orders
SELECT i, 1 + i * 7919 % 20000, (ARRAY['new', 'paid', 'shipped', 'done'])[1 + i % 4], (100 + i * 37 % 99900) / 100.0,
	timestamptz '2026-01-01 08:00Z' + i * interval '90 s', CASE WHEN i % 10 = 0 THEN 'gift no. ' || i END
FROM generate_series(1, 60000) i`},
	{"items", "refer to orders, with a composite key", `
INSERT INTO items
SELECT o, line, 'SKU-' || (o * 13 + line * 101) % 5000, 1 + (o + line) % 5, (99 + (o * 17 + line) % 9900) / 100.0
FROM generate_series(1, 60000) o, generate_series(1, 3) line`},
	{"events", "in three partitions", `
INSERT INTO events
SELECT date '2026-01-01' + (i % 90)::int, i, (ARRAY['view', 'cart', 'pay'])[1 + i % 3],
	jsonb_build_object('order', i, 'agent', 'browser ' || i % 17)
FROM generate_series(1, 60000) i`},
	{"log", "without a key, with duplicate rows", `
INSERT INTO log
SELECT timestamptz '2026-01-01 00:00Z' + i % 20000 * interval '5 min', (ARRAY['info', 'warn', 'error'])[1 + i % 3],
	'request ' || i % 20000
FROM generate_series(1, 40000) i`},
}

// planted are the rows that are broken on the target, as what they are found.
var planted = []struct {
	row
	sql, how string
}{
	{
		row{"public.items", "missing", "order_id=4711 line=2", ""},
		`DELETE FROM items WHERE order_id = 4711 AND line = 2`,
		"a line of an order is lost",
	},
	{
		row{"public.events", "extra", "day=2026-02-14 id=60001", ""},
		`INSERT INTO events VALUES ('2026-02-14', 60001, 'pay', '{"order": 42, "agent": "browser 7"}')`,
		"an event is delivered to the target alone",
	},
	{
		row{"public.orders", "mismatched", "id=31415", "total"},
		`UPDATE orders SET total = total + 0.01 WHERE id = 31415`,
		"an order's total is off by a cent",
	},
	{
		row{"public.items", "extra", "order_id=70000 line=1", ""},
		`INSERT INTO items VALUES (70000, 1, 'SKU-1', 1, 9.99)`,
		"a line arrives for an order that nobody has",
	},
}

// plantedOrphan is what the last of them is besides.
var plantedOrphan = row{"public.items", "orphan", "order_id=70000", ""}

func plantedRows() []row {
	var rows []row
	for _, p := range planted {
		rows = append(rows, p.row)
	}
	return append(rows, plantedOrphan)
}

// on runs f with a connection to a database of one side.
func (d *demo) on(ctx context.Context, side relation.Side, database string, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, d.server[side].DSN(database, "timezone=UTC"))
	if err != nil {
		return fmt.Errorf("connect to the %s: %w", side, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

// execute runs statements, each by itself.
func (d *demo) execute(ctx context.Context, side relation.Side, database string, statements ...string) error {
	return d.on(ctx, side, database, func(conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("prepare the %s: %w", side, err)
			}
		}
		return nil
	})
}

func (d *demo) load(ctx context.Context) error {
	for _, side := range relation.Sides {
		if err := d.execute(ctx, side, "postgres", "CREATE DATABASE "+database); err != nil {
			return err
		}
		if err := d.execute(ctx, side, database, definition); err != nil {
			return err
		}
	}
	return d.on(ctx, relation.Source, database, func(conn *pgx.Conn) error {
		var all int64
		for _, t := range tables {
			tag, err := conn.Exec(ctx, t.fill)
			if err != nil {
				return fmt.Errorf("fill %s: %w", t.name, err)
			}
			all += tag.RowsAffected()
			d.sayTable(t.name, tag.RowsAffected(), t.about)
		}
		d.sayTable("", all, "in all")
		_, err := conn.Exec(ctx, "ANALYZE")
		return err
	})
}

func (d *demo) sayTable(name string, rows int64, about string) {
	line := fmt.Sprintf("   %-10s %8s rows", name, text.Count(rows))
	if about != "" {
		line += "  " + about
	}
	d.say("%s", line)
}

func (d *demo) copyShop(ctx context.Context) error {
	return d.on(ctx, relation.Source, database, func(source *pgx.Conn) error {
		return d.on(ctx, relation.Target, database, func(target *pgx.Conn) error {
			for _, t := range tables {
				if err := copyTable(ctx, source, target, t.name); err != nil {
					return fmt.Errorf("copy %s: %w", t.name, err)
				}
			}
			_, err := target.Exec(ctx, "ANALYZE")
			return err
		})
	})
}

// copyTable streams a table from one connection to the other.
func copyTable(ctx context.Context, source, target *pgx.Conn, table string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := source.PgConn().CopyTo(ctx, w, "COPY (SELECT * FROM "+table+") TO STDOUT (FORMAT binary)")
		w.CloseWithError(err)
		sent <- err
	}()
	_, err := target.PgConn().CopyFrom(ctx, r, "COPY "+table+" FROM STDIN (FORMAT binary)")
	r.CloseWithError(errors.New("the target takes no more"))
	// The sender's error, if it has one, is the cause of the receiver's.
	if sendErr := <-sent; err == nil || sendErr != nil {
		return sendErr
	}
	return err
}

func (d *demo) plant(ctx context.Context) error {
	return d.on(ctx, relation.Target, database, func(conn *pgx.Conn) error {
		// As some loaders do: foreign keys are not looked at.
		if _, err := conn.Exec(ctx, "SET session_replication_role = replica"); err != nil {
			return fmt.Errorf("plant a divergence: %w", err)
		}
		for _, p := range planted {
			tag, err := conn.Exec(ctx, p.sql)
			if err != nil {
				return fmt.Errorf("plant a divergence in %s: %w", p.table, err)
			}
			if tag.RowsAffected() != 1 {
				return fmt.Errorf("plant a divergence in %s: %d rows were changed", p.table, tag.RowsAffected())
			}
			d.say("   %-10s  %-42s  %s", p.kind, p.row, p.how)
		}
		return nil
	})
}
