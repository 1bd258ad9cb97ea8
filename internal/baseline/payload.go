package baseline

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// The payload is the manifest's length and the manifest, which is JSON, and
// behind it the layout and the leaves of each table, in the manifest's order.

func appendPayload(dst []byte, b *parity.Baseline) ([]byte, error) {
	manifest, err := json.Marshal(newManifest(b))
	if err != nil {
		return nil, err
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(manifest)))
	dst = append(dst, manifest...)
	for i := range b.Contents {
		t := &b.Contents[i]
		dst = appendLayout(dst, t.Layout)
		if dst, err = appendLeaves(dst, t.Tree.Leaves()); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	return dst, nil
}

// appendLayout writes each range's upper bound as far as it differs from the
// one before, and the bits that split the range.
func appendLayout(dst []byte, l *merkle.Layout) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.Ranges()))
	var before []byte
	for i := range l.Ranges() {
		if _, hi := l.Bounds(i); hi != nil {
			shared := 0
			for shared < len(before) && shared < len(hi) && before[shared] == hi[shared] {
				shared++
			}
			dst = binary.AppendUvarint(dst, uint64(shared))
			dst = binary.AppendUvarint(dst, uint64(len(hi)-shared))
			dst = append(dst, hi[shared:]...)
			before = hi
		}
	}
	for i := range l.Ranges() {
		from, to := l.RangeLeaves(i)
		bits := byte(0)
		for to-from > 1<<bits {
			bits++
		}
		dst = append(dst, bits)
	}
	return dst
}

// appendLeaves writes each leaf's number of rows, and their sum if there are any.
func appendLeaves(dst []byte, leaves []merkle.Digest) ([]byte, error) {
	for i, d := range leaves {
		dst = binary.AppendUvarint(dst, d.Count)
		if d.Count > 0 {
			dst = d.Sum.AppendBytes(dst)
		} else if !d.IsZero() {
			return nil, fmt.Errorf("leaf %d has no rows and a sum", i)
		}
	}
	return dst, nil
}

var errShort = errors.New("its contents end too early")

func decodePayload(payload []byte) (*parity.Baseline, error) {
	if len(payload) < 8 {
		return nil, errShort
	}
	size, rest := binary.BigEndian.Uint64(payload), payload[8:]
	if size > uint64(len(rest)) {
		return nil, errShort
	}
	m, err := decodeManifest(rest[:size])
	if err != nil {
		return nil, err
	}
	r := &reader{rest[size:]}
	b, err := m.baseline()
	if err != nil {
		return nil, err
	}
	seen := make(map[relation.Name]bool)
	for i := range b.Contents {
		t := &b.Contents[i]
		if seen[t.Name()] {
			return nil, fmt.Errorf("table %s is in it twice", t.Name())
		}
		seen[t.Name()] = true
		if err := r.table(t, &m.Tables[i]); err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name(), err)
		}
	}
	if len(r.b) > 0 {
		return nil, errors.New("there is something behind its last table")
	}
	return b, nil
}

// decodeManifest takes one JSON value with no field that it does not know.
func decodeManifest(b []byte) (*manifest, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	m := new(manifest)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("its description: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("its description: there is something behind it")
	}
	return m, nil
}

// reader takes a payload apart from its beginning.
type reader struct{ b []byte }

func (r *reader) uvarint() (uint64, error) {
	n, w := binary.Uvarint(r.b)
	if w <= 0 {
		return 0, errShort
	}
	r.b = r.b[w:]
	return n, nil
}

func (r *reader) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(r.b)) {
		return nil, errShort
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b, nil
}

// table reads what there is of a table, and checks that its root is what the
// manifest says.
func (r *reader) table(t *parity.BaselineTable, m *manifestTable) error {
	layout, err := r.layout()
	if err != nil {
		return err
	}
	if layout.Ranges() > 1 && t.Form.Ordered == 0 {
		return errors.New("key ranges without a key that has an order")
	}
	leaves, err := r.leaves(layout.Leaves())
	if err != nil {
		return err
	}
	t.Layout, t.Tree = layout, merkle.NewTree([]byte(t.Form.Describe()), leaves)
	if root := t.Tree.Root().String(); root != m.Root || t.Tree.Total().Count != m.Rows || layout.Leaves() != m.Leaves {
		return errors.New("its leaves are not those that it was made of: the root is another")
	}
	return nil
}

func (r *reader) layout() (*merkle.Layout, error) {
	ranges, err := r.uvarint()
	if err != nil {
		return nil, err
	}
	if ranges == 0 || ranges > merkle.MaxLeaves {
		return nil, fmt.Errorf("%d key ranges", ranges)
	}
	var bounds [][]byte
	var before []byte
	for range ranges - 1 {
		shared, err := r.uvarint()
		if err != nil {
			return nil, err
		}
		n, err := r.uvarint()
		if err != nil {
			return nil, err
		}
		rest, err := r.bytes(n)
		if err != nil {
			return nil, err
		}
		if shared > uint64(len(before)) || shared+n > parity.MaxBound {
			return nil, errors.New("a bound that is too long, or shares more than there is")
		}
		bound := slices.Concat(before[:shared], rest)
		bounds, before = append(bounds, bound), bound
	}
	bits, err := r.bytes(ranges)
	if err != nil {
		return nil, err
	}
	return merkle.NewLayout(bounds, bits)
}

func (r *reader) leaves(n int) ([]merkle.Digest, error) {
	if n > len(r.b) { // a byte each at least
		return nil, errShort
	}
	leaves := make([]merkle.Digest, n)
	for i := range leaves {
		var err error
		if leaves[i].Count, err = r.uvarint(); err != nil {
			return nil, err
		}
		if leaves[i].Count == 0 {
			continue
		}
		sum, err := r.bytes(merkle.HashSize)
		if err != nil {
			return nil, err
		}
		leaves[i].Sum = merkle.HashFromBytes([merkle.HashSize]byte(sum))
	}
	return leaves, nil
}
