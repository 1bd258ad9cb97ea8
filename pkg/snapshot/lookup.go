package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// emitRow receives a row that was read again. The row is valid during the call.
type emitRow = func(hash merkle.Hash, row *relation.Row) error

// maxTargetList is the number of expressions that a SELECT may have.
const maxTargetList = 1664

// canShowValues reports whether a table's values fit a second reading.
func canShowValues(form *relation.Form) bool {
	return 2*len(form.Fields)+len(form.Key)+1 <= maxTargetList
}

// detail builds the select list of a second reading and takes its rows apart.
type detail struct {
	h       *rowhash.Hasher
	list    string
	keys    int
	values  int
	keyless bool
	row     relation.Row
}

func (s *Snapshot) detail(t *relation.Table, form *relation.Form, values bool) (*detail, error) {
	d := &detail{keys: len(form.Key), keyless: len(form.Key) == 0}
	var exprs []string
	if len(form.Fields) > 0 { // a table may have no columns
		exprs = append(exprs, form.Select(s.side))
	}
	for _, k := range form.KeyFields() {
		exprs = append(exprs, text(k, s.side))
	}
	if t.Kind == relation.View {
		exprs = append(exprs, "NULL::text") // a view's rows are nowhere
	} else {
		exprs = append(exprs, "tableoid::regclass::text || ' ' || ctid::text")
	}
	if values && canShowValues(form) {
		d.values = len(form.Fields)
		for i := range form.Fields {
			exprs = append(exprs, text(&form.Fields[i], s.side))
		}
	}
	d.list = strings.Join(exprs, ", ")
	var err error
	d.h, err = s.hasher(form, d.keys+1+d.values)
	return d, err
}

// text returns the SQL expression of a field's text form. The cast of a "char"
// beyond ASCII gives a byte that is no text in most encodings: it comes in octal
// as servers from version 15 on print it.
func text(f *relation.Field, side relation.Side) string {
	e := "(" + f.Expr(side) + ")"
	if f.Type[side].Underlying().Builtin("char") {
		n := "(" + e + "::int4 + 256)"
		return fmt.Sprintf(`CASE WHEN %s::int4 < 0 THEN '\'||%s/64||%s/8%%8||%s%%8 ELSE %s::text END`, e, n, n, n, e)
	}
	return e + "::text"
}

// describe fills in the row that the hasher has just hashed.
func (d *detail) describe(hashed rowhash.Row) *relation.Row {
	d.row.Key = hashed.Key
	d.row.Columns = d.h.Columns(d.row.Columns[:0])
	d.row.KeyText = d.texts(d.row.KeyText[:0], 0, d.keys)
	d.row.Location = ""
	if at, null := d.h.Extra(d.keys); !null {
		d.row.Location = string(at)
	}
	d.row.Values = d.texts(d.row.Values[:0], d.keys+1, d.values)
	return &d.row
}

func (d *detail) texts(dst []*string, from, n int) []*string {
	for i := range n {
		if v, null := d.h.Extra(from + i); null {
			dst = append(dst, nil)
		} else {
			text := string(v)
			dst = append(dst, &text)
		}
	}
	return dst
}

// Lookup reads the rows that have one of the keys, given as canonical bytes,
// through the table's index. Rows that only the server takes for equal may come
// along: compare their keys. With values, every field comes in text form too,
// unless the table is too wide for that. It does not wait for a worker.
func (s *Snapshot) Lookup(ctx context.Context, t *relation.Table, form *relation.Form, keys [][]byte, values bool, emit emitRow) error {
	if len(keys) == 0 {
		return nil
	}
	d, err := s.detail(t, form, values)
	if err != nil {
		return err
	}
	params, types, err := s.keyParams(form, keys)
	if err != nil {
		return fmt.Errorf("look up rows of %s: %w", t.Name, err)
	}
	var tuple []byte
	return s.withAny(ctx, func(ctx context.Context, sess *session) error {
		if err := sess.preferIndexes(ctx, true); err != nil {
			return err
		}
		for i := range t.Members {
			query := s.lookupQuery(d.list, &t.Members[i], form)
			err := sess.queryBinary(ctx, query, params, types, func(fields [][]byte) error {
				tuple = appendTuple(tuple[:0], fields)
				hashed, err := d.h.Hash(tuple)
				if err != nil {
					return err
				}
				return emit(hashed.Hash, d.describe(hashed))
			})
			if err != nil {
				return fmt.Errorf("look up rows of %s on the %s: %w", t.Members[i].Name, s.side, err)
			}
		}
		return nil
	})
}

func (s *Snapshot) lookupQuery(list string, m *relation.Member, form *relation.Form) string {
	keys := form.KeyFields()
	if len(keys) == 1 {
		k := keys[0]
		return s.selectFrom(form, list, m, fmt.Sprintf("%s = ANY ($1::%s[])", relation.QuoteIdent(k.Name[s.side]), k.CommonSQL(s.side)))
	}
	var unnest, columns, on []string
	for i, k := range keys {
		unnest = append(unnest, fmt.Sprintf("$%d::%s[]", i+1, k.CommonSQL(s.side)))
		columns = append(columns, fmt.Sprintf("k%d", i))
		on = append(on, fmt.Sprintf("r.%s = k.k%d", relation.QuoteIdent(k.Name[s.side]), i))
	}
	// The keys' columns must not clash with the table's, which come unqualified
	// in the list; so they are joined in a subquery of their own.
	return s.selectFrom(form, list, m, fmt.Sprintf("ctid = ANY (ARRAY(SELECT r.ctid FROM unnest(%s) AS k(%s) JOIN ONLY %s AS r ON %s))",
		strings.Join(unnest, ", "), strings.Join(columns, ", "), m.Name.SQL(), strings.Join(on, " AND ")))
}

// keyParams turns canonical keys into one binary array a key column. Canonical
// bytes are what the types' receive functions read.
func (s *Snapshot) keyParams(form *relation.Form, keys [][]byte) (params [][]byte, types []uint32, err error) {
	fields := form.KeyFields()
	for _, f := range fields {
		t := f.Type[s.side].Underlying()
		if t.ArrayOID == 0 {
			return nil, nil, fmt.Errorf("type %s of the key has no array type", t)
		}
		p := binary.BigEndian.AppendUint32(nil, 1) // dimensions
		p = binary.BigEndian.AppendUint32(p, 0)    // no NULLs
		p = binary.BigEndian.AppendUint32(p, t.OID)
		p = binary.BigEndian.AppendUint32(p, uint32(len(keys)))
		p = binary.BigEndian.AppendUint32(p, 1) // lower bound
		params = append(params, p)
		types = append(types, t.ArrayOID)
	}
	for _, key := range keys {
		values, err := rowhash.SplitKey(key)
		if err != nil {
			return nil, nil, err
		}
		if len(values) != len(fields) {
			return nil, nil, fmt.Errorf("key has %d columns, want %d", len(values), len(fields))
		}
		for i, v := range values {
			if v == nil {
				return nil, nil, fmt.Errorf("key column %s is NULL", relation.QuoteIdent(fields[i].Name[s.side]))
			}
			params[i] = binary.BigEndian.AppendUint32(params[i], uint32(len(v)))
			params[i] = append(params[i], v...)
		}
	}
	return params, types, nil
}

// Find reads a table wholly and emits, in detail, the rows that wanted picks.
// Both functions are called from one goroutine at a time.
func (s *Snapshot) Find(ctx context.Context, t *relation.Table, form *relation.Form, values bool, wanted func(key []byte, hash merkle.Hash) bool, emit emitRow) error {
	chunks, err := s.Chunks(ctx, t)
	if err != nil {
		return err
	}
	var mu sync.Mutex // serialises wanted and emit
	return s.eachChunk(ctx, form, chunks, func() (chunkReader, error) {
		d, err := s.detail(t, form, values)
		if err != nil {
			return chunkReader{}, err
		}
		return chunkReader{
			query: d.list, hasher: d.h,
			row: func(_ []byte, hashed rowhash.Row) error {
				mu.Lock()
				defer mu.Unlock()
				if !wanted(hashed.Key, hashed.Hash) {
					return nil
				}
				return emit(hashed.Hash, d.describe(hashed))
			},
			finish: func() error { return nil },
		}, nil
	})
}
