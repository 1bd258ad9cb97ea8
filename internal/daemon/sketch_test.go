package daemon

import (
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
)

// TestScatteredAndDense plants differences that sketches hold, and a range of
// them that is too dense for any, whether anybody writes meanwhile or not.
func TestScatteredAndDense(t *testing.T) {
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 200000) i", "ANALYZE t")
	verify := func(t *testing.T, want parity.Counts) {
		t.Helper()
		o := options(t, dsn)
		o.MaxDivergences = 10
		p := check(t, o)
		got := p.Tables[0].Divergences
		want.Explained, want.Truncated = true, true
		if p.Verdict != parity.Diverged || !p.Complete || got != want {
			t.Errorf("%s: %+v, want %+v", p.Reason, got, want)
		}
	}
	both := func(t *testing.T, name string, want parity.Counts) {
		t.Run(name, func(t *testing.T) { verify(t, want) })
		t.Run(name+", while somebody writes", func(t *testing.T) {
			writer(t, dsn[0])
			verify(t, want)
		})
	}
	pgtest.Exec(t, dsn[1], "UPDATE t SET v = 'other' WHERE id % 100 = 1")
	both(t, "scattered", parity.Counts{Mismatched: 2000})
	pgtest.Exec(t, dsn[1], "DELETE FROM t WHERE id BETWEEN 50001 AND 60000", "INSERT INTO t SELECT i, 'extra' FROM generate_series(300001, 300005) i")
	both(t, "and dense", parity.Counts{Mismatched: 1900, Missing: 10000, Extra: 5})
	pgtest.Exec(t, dsn[1], "UPDATE t SET v = 'all' WHERE id <= 200000")
	both(t, "all", parity.Counts{Mismatched: 190000, Missing: 10000, Extra: 5})
}
