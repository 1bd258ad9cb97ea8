package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// sampleStatistics takes boundaries from the server's own histogram, which
// costs nothing and is even. It needs a single unique integer column, between
// whose bounds one can interpolate; otherwise there are no bounds.
func (s *Snapshot) sampleStatistics(ctx context.Context, t *relation.Table, form *relation.Form, limit int) (relation.Sample, error) {
	var none relation.Sample
	key := form.KeyFields()[0]
	width := integerWidth(key.Type[s.side])
	if len(t.Members) != 1 || len(form.Key) != 1 || width == 0 {
		return none, nil
	}
	m := &t.Members[0]
	if m.Rows < 0 || m.Blocks > m.AnalyzedBlocks+m.AnalyzedBlocks/4 {
		return none, nil // the histogram does not know the newest rows
	}
	rows, err := s.holderQuery(ctx, fmt.Sprintf(`SELECT unnest(histogram_bounds::text::bigint[]), abs(correlation) >= %v FROM pg_stats
 WHERE schemaname = %s AND tablename = %s AND attname = %s AND NOT inherited AND n_distinct = -1`, minCorrelation,
		relation.QuoteLiteral(m.Name.Schema), relation.QuoteLiteral(m.Name.Name), relation.QuoteLiteral(key.Name[s.side])))
	if err != nil {
		return none, fmt.Errorf("read statistics of %s: %w", m.Name, err)
	}
	if len(rows) < 16 {
		return none, nil // there is none, or it is too coarse
	}
	values := make([]int64, len(rows))
	for i, r := range rows {
		values[i] = parseInt(*r[0])
	}
	bounds := make([]relation.Bound, 0, limit)
	for i := range limit {
		v := interpolate(values, float64(i)/float64(limit))
		field := binary.BigEndian.AppendUint64(nil, uint64(v))[8-width:]
		prefix, err := rowhash.AppendOrdered(nil, rowhash.Int, field)
		if err != nil {
			return none, err
		}
		bounds = append(bounds, relation.Bound{Prefix: prefix, Text: []string{strconv.FormatInt(v, 10)}})
	}
	return relation.Sample{Bounds: bounds, Correlated: *rows[0][1] == "t"}, nil
}

// interpolate returns the value at the fraction f of a histogram's ascending
// bounds, 0 <= f < 1.
func interpolate(values []int64, f float64) int64 {
	at := f * float64(len(values)-1)
	i := int(at)
	lo, hi := values[i], values[i+1]
	// The difference may not fit an int64, nor a float64 exactly.
	width := uint64(hi) - uint64(lo)
	return int64(uint64(lo) + min(width, uint64((at-float64(i))*float64(width))))
}

func integerWidth(t *relation.Type) int {
	t = t.Underlying()
	switch {
	case t.Builtin("int2"):
		return 2
	case t.Builtin("int4"):
		return 4
	case t.Builtin("int8"):
		return 8
	}
	return 0
}

// sampleBlocks reads one row's key from each of about n blocks.
func (s *Snapshot) sampleBlocks(ctx context.Context, m *relation.Member, form *relation.Form, n int) ([]relation.Bound, error) {
	keys := form.KeyFields()[:form.Ordered]
	var exprs, texts []string
	for _, k := range keys {
		exprs = append(exprs, k.Expr(s.side))
		texts = append(texts, "("+k.Expr(s.side)+")::text")
	}
	// A row a block, unless blocks are few: then several line pointers each.
	perBlock, pointers := int64(1), int64(2)
	if m.Rows > 0 {
		pointers = max(1, m.Rows/m.Blocks)
	}
	for int64(n) > m.Blocks*perBlock && perBlock < pointers {
		perBlock *= 2
	}
	step := max(1, m.Blocks*perBlock/int64(n))
	query := s.selectFrom(form, strings.Join(exprs, ", ")+", "+strings.Join(texts, ", "), m, fmt.Sprintf(`ctid = ANY (ARRAY(
 SELECT format('(%%s,%%s)', b / %d, 1 + (b * 7919) %% %d)::tid FROM generate_series(0::bigint, %d, %d) AS b))`,
		perBlock, pointers, m.Blocks*perBlock-1, step))
	var bounds []relation.Bound
	err := s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
		return sess.queryBinary(ctx, query, nil, nil, func(row [][]byte) error {
			var b relation.Bound
			for i, k := range keys {
				var err error
				if b.Prefix, err = rowhash.AppendOrdered(b.Prefix, order(k.Type[s.side]), row[i]); err != nil {
					return err
				}
				b.Text = append(b.Text, string(row[len(keys)+i]))
			}
			bounds = append(bounds, b)
			return nil
		})
	})
	return bounds, err
}

// queryBinary runs a statement with binary parameters and calls row with each
// row's fields in binary form; they are valid during the call.
func (s *session) queryBinary(ctx context.Context, sql string, params [][]byte, types []uint32, row func([][]byte) error) error {
	formats := make([]int16, len(params))
	for i := range formats {
		formats[i] = 1
	}
	r := s.conn.ExecParams(ctx, sql, params, types, formats, []int16{1})
	var rowErr error
	var rows int64
	for r.NextRow() {
		rows++
		if rowErr == nil {
			rowErr = row(r.Values())
		}
	}
	tag, err := r.Close()
	if err != nil {
		return explain(s.cause(err))
	}
	if rowErr == nil && tag.RowsAffected() != rows {
		return fmt.Errorf("%w: the server sent %d rows, %d arrived", errIncomplete, tag.RowsAffected(), rows)
	}
	return rowErr
}

// appendTuple appends a row's fields in the layout of a COPY binary tuple,
// which is what the hasher reads.
func appendTuple(dst []byte, fields [][]byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(fields)))
	for _, f := range fields {
		if f == nil {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(f)))
		dst = append(dst, f...)
	}
	return dst
}
