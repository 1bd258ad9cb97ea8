package parity

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

func TestExpectation(t *testing.T) {
	analyzed := func(rows, bytes int64) *relation.Table {
		blocks := bytes / 8192
		return &relation.Table{Members: []relation.Member{{Kind: relation.Ordinary, Rows: rows, AnalyzedBlocks: max(1, blocks), Blocks: blocks, Bytes: bytes}}}
	}
	never := func(bytes int64) *relation.Table {
		return &relation.Table{Members: []relation.Member{{Kind: relation.Ordinary, Rows: -1, Blocks: bytes / 8192, Bytes: bytes}}}
	}
	view := &relation.Table{Members: []relation.Member{{Kind: relation.View, Rows: -1}}}
	half := &relation.Table{Members: append(slices.Clone(analyzed(1000, 1<<20).Members), never(1<<20).Members...)}
	for _, c := range []struct {
		name   string
		tables [][2]*relation.Table
		each   [2]int64 // of the first
		total  int64
	}{
		{"analyzed", [][2]*relation.Table{{analyzed(1000, 1<<20), analyzed(1100, 1<<20)}}, [2]int64{1000, 1100}, 2100},
		{"empty", [][2]*relation.Table{{never(0), never(0)}}, [2]int64{0, 0}, 0},
		{"one side", [][2]*relation.Table{{analyzed(1000, 1<<20), never(1 << 20)}}, [2]int64{1000, -1}, 2000},
		{"neither side", [][2]*relation.Table{{never(1 << 20), never(1 << 20)}}, [2]int64{-1, -1}, -1},
		{"a small one of many rows", [][2]*relation.Table{{never(8192), never(8192)}, {analyzed(1e6, 1<<30), analyzed(1e6, 1<<30)}}, [2]int64{-1, -1}, 2e6 + 2*(8192/28)},
		{"a view", [][2]*relation.Table{{view, view}}, [2]int64{-1, -1}, -1},
		{"a new partition", [][2]*relation.Table{{half, half}}, [2]int64{-1, -1}, -1},
	} {
		var e expectation
		for _, tables := range c.tables {
			e.add(tables)
		}
		if got := expectedRows(c.tables[0]); got != c.each || e.total() != c.total {
			t.Errorf("%s: rows %v, in all %d; want %v, %d", c.name, got, e.total(), c.each, c.total)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// cancelling ends a pass when it reaches a stage.
type cancelling struct {
	NoObserver
	at     string
	cancel func()
}

func (c *cancelling) TableStage(_ relation.Name, stage string) {
	if strings.Contains(stage, c.at) {
		c.cancel()
	}
}

// TestInterrupted: what was found to differ is told, although nobody could read
// it again.
func TestInterrupted(t *testing.T) {
	for at, want := range map[string]string{
		"finding rows":  "interrupted; 1 row that differed could not be read again",
		"again in 250m": "interrupted; 1 row that differed could not be read again until the recheck window ended",
	} {
		s := &stage{t: t, script: script{values(1), values(2)}}
		table := relation.Name{Schema: "public", Name: "t"}
		ctx, cancel := context.WithCancel(t.Context())
		p := Run(ctx, Config{
			Tables: []Tables{{Source: table, Target: table}}, Open: [2]Opener{s.opener(relation.Source), s.opener(relation.Target)},
			Recheck: time.Hour, MaxRows: 10, Observer: &cancelling{at: at, cancel: cancel},
		})
		cancel()
		if p.Verdict != Incomplete || p.Tables[0].Divergences.Volatile != 1 || p.Tables[0].Reason != want {
			t.Errorf("%s: %s with %+v: %q, want %q", at, p.Verdict, p.Tables[0].Divergences, p.Tables[0].Reason, want)
		}
	}
}
