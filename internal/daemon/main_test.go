package daemon

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// queryNullable runs the settings and then a query, and returns its rows in
// text form, nil for NULL.
func queryNullable(t *testing.T, dsn, settings, query string) [][]*string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, settings+query).ReadAll()
	if err != nil {
		t.Fatalf("%v\nin: %s", err, query)
	}
	var rows [][]*string
	for _, values := range results[len(results)-1].Rows {
		row := make([]*string, len(values))
		for i, v := range values {
			if v != nil {
				text := string(v)
				row[i] = &text
			}
		}
		rows = append(rows, row)
	}
	return rows
}
