package merkle

// A Digest is a multiset hash of rows: how many there are, and the sum of
// their hashes mod 2^128. The zero Digest is that of no rows.
//
// A sum is used because it can be built in any order and in any number of
// parts, and because, unlike XOR, it does not cancel duplicates: {x, x, y} and
// {y} differ. The count, mod 2^64, tells apart multisets whose sums happen to
// agree because their sizes differ.
type Digest struct {
	Count uint64
	Sum   Hash
}

// Add adds one row.
func (d *Digest) Add(h Hash) {
	d.Count++
	d.Sum = d.Sum.add(h)
}

// Remove takes one row away. Taking away a row that was not there leaves the
// digest of a multiset with negative multiplicities, as does [Digest.Subtract].
func (d *Digest) Remove(h Hash) {
	d.Count--
	d.Sum = d.Sum.sub(h)
}

// Merge adds all the rows of e.
func (d *Digest) Merge(e Digest) {
	d.Count += e.Count
	d.Sum = d.Sum.add(e.Sum)
}

// Subtract takes away all the rows of e.
func (d *Digest) Subtract(e Digest) {
	d.Count -= e.Count
	d.Sum = d.Sum.sub(e.Sum)
}

// IsZero reports whether d is the digest of no rows.
func (d Digest) IsZero() bool {
	return d == Digest{}
}
