package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Chunks splits a table into the parts that workers stream. The chunks cover
// the table by construction, and are checked to.
func (s *Snapshot) Chunks(ctx context.Context, t *relation.Table) ([]relation.Chunk, error) {
	gentle := s.db.config.Read == Gentle && t.Bytes() > s.db.server.SharedBuffers/4
	var chunks []relation.Chunk
	for i := range t.Members {
		m := &t.Members[i]
		part := []relation.Chunk{{Member: m, ToBlock: -1, Share: 1}}
		if m.Bytes > s.db.config.ChunkBytes && !gentle {
			var err error
			if part, err = s.split(ctx, t, m, part); err != nil {
				return nil, err
			}
		}
		chunks = append(chunks, part...)
	}
	if err := relation.CheckChunks(t.Members, chunks); err != nil {
		return nil, fmt.Errorf("plan reads of %s on the %s: %w", t.Name, s.side, err)
	}
	return chunks, nil
}

// split divides a member, or returns whole if it cannot be read in ranges.
func (s *Snapshot) split(ctx context.Context, t *relation.Table, m *relation.Member, whole []relation.Chunk) ([]relation.Chunk, error) {
	n := int((m.Bytes + s.db.config.ChunkBytes - 1) / s.db.config.ChunkBytes)
	if m.AccessMethod == "heap" && s.db.server.Number >= 140000 {
		return blockChunks(m, n), nil
	}
	// Without range scans by block, a range of key values is the next best:
	// but only where the rows lie about in the key's order. Elsewhere each
	// chunk would visit most of the table's blocks.
	column, bounds, err := s.histogram(ctx, t, m)
	if err != nil || len(bounds) < 3 {
		return whole, err
	}
	return valueChunks(m, column, bounds, n), nil
}

func blockChunks(m *relation.Member, n int) []relation.Chunk {
	per := (m.Blocks + int64(n) - 1) / int64(n)
	var chunks []relation.Chunk
	for from := int64(0); from < m.Blocks; from += per {
		share := float64(min(per, m.Blocks-from)) / float64(m.Blocks)
		chunks = append(chunks, relation.Chunk{Member: m, FromBlock: from, ToBlock: from + per, Share: share})
	}
	chunks[len(chunks)-1].ToBlock = -1
	return chunks
}

// valueChunks makes up to n chunks out of ascending bounds of equal frequency.
func valueChunks(m *relation.Member, column *relation.Column, bounds []string, n int) []relation.Chunk {
	inner := bounds[1 : len(bounds)-1]
	n = min(n, len(inner)+1)
	typeSQL := column.Type.Underlying().SQL()
	chunks := make([]relation.Chunk, 0, n)
	var from *string
	for i := 1; i <= n; i++ {
		c := relation.Chunk{Member: m, Column: column.Name, TypeSQL: typeSQL, From: from, Share: 1 / float64(n), ToBlock: -1}
		if i < n {
			c.To = &inner[i*(len(inner)+1)/n-1]
		}
		chunks = append(chunks, c)
		from = c.To
	}
	if n == 1 {
		chunks[0].Column, chunks[0].TypeSQL = "", ""
	}
	return chunks
}

// minCorrelation is how closely a table's physical order must follow a key for
// reading it in ranges of that key.
const minCorrelation = 0.8

// histogram returns the bounds of equally frequent ranges of a NOT NULL column
// that leads an index and in whose order the member is stored. It returns no
// bounds if there is no such column, or the member was never analyzed.
//
// Only types that sort the same everywhere count: bounds of others ascend in
// the order that held when the member was analyzed, and a collation that has
// changed since would make ranges overlap.
func (s *Snapshot) histogram(ctx context.Context, t *relation.Table, m *relation.Member) (*relation.Column, []string, error) {
	for _, x := range t.Indexes {
		c := t.Column(x.Columns[0])
		if c == nil || !c.NotNull || c.Type.Sorts() == relation.Unsorted {
			continue
		}
		rows, err := s.holderQuery(ctx, fmt.Sprintf(`SELECT unnest(histogram_bounds::text::text[]) FROM pg_stats
 WHERE schemaname = %s AND tablename = %s AND attname = %s AND NOT inherited AND abs(correlation) >= %v`,
			relation.QuoteLiteral(m.Name.Schema), relation.QuoteLiteral(m.Name.Name), relation.QuoteLiteral(c.Name), minCorrelation))
		if err != nil {
			return nil, nil, fmt.Errorf("read statistics of %s: %w", m.Name, err)
		}
		var bounds []string
		for _, r := range rows {
			if r[0] != nil && (len(bounds) == 0 || bounds[len(bounds)-1] != *r[0]) {
				bounds = append(bounds, *r[0])
			}
		}
		if len(bounds) > 2 {
			return c, bounds, nil
		}
	}
	return nil, nil, nil
}

func (s *Snapshot) holderQuery(ctx context.Context, sql string) (rows [][]*string, err error) {
	err = s.withHolder(ctx, func(ctx context.Context, holder *session) error {
		rows, err = holder.query(ctx, sql)
		return err
	})
	return rows, err
}

// Sample looks at up to about limit keys, spread over the table's rows.
func (s *Snapshot) Sample(ctx context.Context, t *relation.Table, form *relation.Form, limit int) (relation.Sample, error) {
	if form.Ordered == 0 || limit <= 0 || t.Bytes() == 0 {
		return relation.Sample{}, nil
	}
	sample, err := s.sampleStatistics(ctx, t, form, limit)
	if err != nil || len(sample.Bounds) > 0 {
		return sample, err
	}
	total := float64(t.Bytes())
	ascending, pairs := 0, 0
	for i := range t.Members {
		m := &t.Members[i]
		if m.Blocks == 0 || m.AccessMethod != "heap" {
			continue
		}
		n := int(math.Ceil(float64(limit) * float64(m.Bytes) / total))
		part, err := s.sampleBlocks(ctx, m, form, n)
		if err != nil {
			return relation.Sample{}, fmt.Errorf("sample keys of %s: %w", m.Name, err)
		}
		for i := 1; i < len(part); i++ { // they come in the order of their blocks
			pairs++
			if bytes.Compare(part[i-1].Prefix, part[i].Prefix) <= 0 {
				ascending++
			}
		}
		sample.Bounds = append(sample.Bounds, part...)
	}
	sample.Correlated = float64(ascending) >= minCorrelation*float64(pairs)
	return sample, nil
}
