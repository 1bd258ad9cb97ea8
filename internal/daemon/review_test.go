package daemon

import (
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/relation"
)

// TestReviewChunksOfText: a text key bounds no chunks, since its statistics
// ascend in an order that another version of a collation does not keep.
func TestReviewChunksOfText(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t, 13)
	dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, srv)}
	execBoth(
		t, dsn, "CREATE TABLE t (id text PRIMARY KEY, n int NOT NULL)", "CREATE INDEX i ON t (n)",
		"INSERT INTO t SELECT to_char(i, 'FM000000'), i FROM generate_series(1, 10000) i", "ANALYZE t",
	)
	o := options(t, dsn)
	o.tuning = small
	name := relation.Name{Schema: "public", Name: "t"}
	if chunks := chunksOf(t, o, relation.Source, name); len(chunks) < 2 || chunks[0].Column != "n" {
		t.Errorf("%d chunks by %q, want many by n, which is stored in order too", len(chunks), chunks[0].Column)
	}
	pgtest.Exec(t, dsn[0], "DROP INDEX i")
	if chunks := chunksOf(t, o, relation.Source, name); len(chunks) != 1 {
		t.Errorf("%d chunks by %q, want one scan", len(chunks), chunks[0].Column)
	}
}
