// Package merkle compares multisets of rows: digests of rows that add and
// subtract, leaves that divide a key space, the tree over a table's leaves
// whose root stands for the table's content, and sketches that name the few
// rows in which two tables differ.
//
// It is pure: no I/O, no clock, no randomness. The hashes in it detect
// accidents. They do not withstand an author of rows who knows the seed with
// which the rows were hashed.
package merkle

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"
)

// A Tree is a Merkle tree over the leaf digests of one table. Two tables that
// were read with the same layout and form hold the same rows when their roots
// are equal; where they are not, [Diff] finds the leaves that differ.
//
// Each level halves the one below it, rounding up: the last node of a level
// may have one child only. A tree of five leaves, its nodes written
// level.index:
//
//	                   root            form, total, number of leaves
//	                     |
//	level 3             3.0
//	                /         \
//	level 2       2.0           2.1
//	            /     \          |
//	level 1   1.0     1.1       1.2
//	         /   \   /   \       |
//	level 0 0.0 0.1 0.2 0.3     0.4
//	         |   |   |   |       |
//	digest  d0  d1  d2  d3      d4
//
// Leaves, inner nodes and the root are hashed in domains of their own, and
// each is bound to its level, its index and the number of leaves. So no node
// can stand for another, be it moved, or of a tree of another shape.
type Tree struct {
	leaves []Digest
	levels [][]Hash // levels[0] has a node for each leaf, the last has one node
	form   Hash
	total  Digest
	root   Hash
}

// The first byte of all that is hashed says what it is.
const (
	domainLeaf  = 0
	domainInner = 1
	domainRoot  = 2
	domainForm  = 3
)

// ErrShape is returned when trees or sketches of different shapes are
// compared or combined.
var ErrShape = errors.New("shapes differ")

// NewTree returns the tree over leaves, which it keeps and the caller must no
// longer change. The form describes what was hashed into the digests (tables,
// columns, common types, mode) and is bound into the root: roots are equal
// only if their forms are.
func NewTree(form []byte, leaves []Digest) *Tree {
	t := &Tree{leaves: leaves, form: hash(append([]byte{domainForm}, form...))}
	nodes := make([]Hash, len(leaves))
	for i, d := range leaves {
		nodes[i] = t.leafNode(i, d)
		t.total.Merge(d)
	}
	t.levels = append(t.levels, nodes)
	for level := 1; len(nodes) > 1; level++ {
		parents := make([]Hash, (len(nodes)+1)/2)
		for i := range parents {
			parents[i] = t.innerNode(level, i, nodes[2*i:min(2*i+2, len(nodes))])
		}
		t.levels = append(t.levels, parents)
		nodes = parents
	}
	t.root = t.rootNode(nodes)
	return t
}

// Root returns the hash that stands for the whole table. A tree without
// leaves has a root too.
func (t *Tree) Root() Hash { return t.root }

// Total returns the sum of all leaves.
func (t *Tree) Total() Digest { return t.total }

// Leaves returns the leaf digests, which must not be changed.
func (t *Tree) Leaves() []Digest { return t.leaves }

// Diff returns the indices, ascending, of the leaves in which a and b differ.
// It looks only below nodes that differ. Trees of different numbers of leaves
// or different forms cannot be compared: the error is [ErrShape].
func Diff(a, b *Tree) ([]int, error) {
	if len(a.leaves) != len(b.leaves) || a.form != b.form {
		return nil, ErrShape
	}
	// differ holds the differing nodes of one level after the other. It begins
	// as if there were one more level, with one node that differs.
	differ := []int{0}
	for level := len(a.levels) - 1; level >= 0; level-- {
		x, y := a.levels[level], b.levels[level]
		var below []int
		for _, parent := range differ {
			for i := 2 * parent; i < min(2*parent+2, len(x)); i++ {
				if x[i] != y[i] {
					below = append(below, i)
				}
			}
		}
		differ = below
	}
	return differ, nil
}

func (t *Tree) leafNode(index int, d Digest) Hash {
	var buf [48]byte
	return hash(appendDigest(t.position(buf[:0], domainLeaf, 0, index), d))
}

func (t *Tree) innerNode(level, index int, children []Hash) Hash {
	var buf [64]byte
	b := t.position(buf[:0], domainInner, level, index)
	for _, c := range children {
		b = c.AppendBytes(b)
	}
	return hash(b)
}

// rootNode binds the top node, of which there is none in an empty tree, to
// what the digests below it mean.
func (t *Tree) rootNode(top []Hash) Hash {
	var buf [80]byte
	b := t.position(buf[:0], domainRoot, len(t.levels), 0)
	b = t.form.AppendBytes(b)
	b = appendDigest(b, t.total)
	for _, h := range top {
		b = h.AppendBytes(b)
	}
	return hash(b)
}

func (t *Tree) position(b []byte, domain byte, level, index int) []byte {
	b = append(b, domain, byte(level))
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	return binary.BigEndian.AppendUint64(b, uint64(len(t.leaves)))
}

func appendDigest(b []byte, d Digest) []byte {
	return d.Sum.AppendBytes(binary.BigEndian.AppendUint64(b, d.Count))
}

func hash(b []byte) Hash {
	return Hash(xxh3.Hash128(b))
}
