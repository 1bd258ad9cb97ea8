package merkle

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// A Sketch is an invertible Bloom lookup table: a small, fixed-size summary of
// a multiset of rows that, once the sketch of another multiset has been
// subtracted from it, gives back the rows in which the two differ, as long as
// these are few (about twice as many as there are cells in a sub-table, see
// [NewSketch]). How many rows they have in common does not matter.
//
// Each row is added to three cells, one in each sub-table, at positions taken
// from its hash. A cell only holds sums:
//
//	count | Σ hash (128 bits) | Σ check | Σ length | Σ key words …
//
// A cell that holds one row only shows it. Taking that row out of its other
// two cells may leave those with one row only, and so on: peeling. Sums cannot
// lie about being one row, since the check word is a hash, not a sum, of the
// row's hash and its key.
type Sketch struct {
	cells    []uint64 // 3 sub-tables × (mask+1) cells × stride words
	mask     uint64
	stride   int
	keyBytes int
	overflow bool
	words    []uint64 // scratch: the key being added
}

// Offsets of the words of a cell.
const (
	cellCount = iota
	cellHi
	cellLo
	cellCheck
	cellLength
	cellKey
)

const (
	subTables = 3
	posBits   = 21 // bits of a hash for one position: three fit 64 bits
	shortKey  = 2  // words that every cell has: those of a bigint's length and value
)

// An Entry is a row that two multisets do not hold equally often.
type Entry struct {
	Hash  Hash
	Key   []byte // empty in a sketch without keys
	Count int64  // how many more of it there are than in what was subtracted
}

// sketchBytes is what the cells of a sketch take.
func (z SketchSize) sketchBytes() int {
	cells, words := sketchShape(z.Cells, z.KeyBytes)
	return 8 * subTables * cells * (cellKey + words)
}

// sketchShape returns how many cells a sub-table has, and how many words a key.
func sketchShape(cells, keyBytes int) (int, int) {
	cells = min(max(cells, 1), 1<<posBits)
	return 1 << bits.Len(uint(cells-1)), max((keyBytes+7)/8, shortKey)
}

// NewSketch returns an empty sketch of 3 sub-tables of the given number of
// cells each, rounded up to a power of two. Keys of up to keyBytes bytes can be
// decoded. With keyBytes 0 rows have no keys, and are found by their hashes
// alone, whatever their multiplicity.
func NewSketch(cells, keyBytes int) *Sketch {
	keyBytes = max(keyBytes, 0)
	cells, words := sketchShape(cells, keyBytes)
	s := &Sketch{
		mask:     uint64(cells - 1),
		stride:   cellKey + words,
		keyBytes: keyBytes,
		words:    make([]uint64, words),
	}
	s.cells = make([]uint64, subTables*cells*s.stride)
	return s
}

// Bytes returns the memory that the cells of s take.
func (s *Sketch) Bytes() int { return 8 * len(s.cells) }

// Overflowed reports whether a key was too long for s, which can then no
// longer be decoded.
func (s *Sketch) Overflowed() bool { return s.overflow }

// Reset empties s.
func (s *Sketch) Reset() {
	clear(s.cells)
	s.overflow = false
}

// Add adds one row. Rows of equal hashes must have equal keys.
func (s *Sketch) Add(h Hash, key []byte) {
	switch {
	case len(key) > s.keyBytes:
		s.overflow = true
	case len(key) <= 8*shortKey:
		s.addShort(h, key)
	default:
		s.addN(h, key, 1)
	}
}

// addShort is addN for one row with a short key. It is called for each row of
// a table, and does without the loops that cost addN half as much again.
func (s *Sketch) addShort(h Hash, key []byte) {
	check := checkWord(h, key)
	var w0, w1 uint64
	if n := len(key); n <= 8 {
		w0 = Head(key)
	} else {
		w0, w1 = binary.BigEndian.Uint64(key), tail(key)
	}
	for t := range subTables {
		c := (*[cellKey + shortKey]uint64)(s.cells[s.position(h, t)*s.stride:])
		c[cellCount]++
		lo, carry := bits.Add64(c[cellLo], h.Lo, 0)
		c[cellLo] = lo
		c[cellHi] += h.Hi + carry
		c[cellCheck] += check
		c[cellLength] += uint64(len(key))
		c[cellKey] += w0
		c[cellKey+1] += w1
	}
}

// addN adds n copies of a row, n mod 2^64: it takes copies away if n is
// negative.
func (s *Sketch) addN(h Hash, key []byte, n uint64) {
	check := checkWord(h, key) * n
	length := uint64(len(key)) * n
	sum := h
	if n != 1 {
		sum = h.mul(Hash{uint64(int64(n) >> 63), n})
	}
	words := loadWords(s.words, key)
	for t := range subTables {
		c := s.cell(s.position(h, t))
		c[cellCount] += n
		lo, carry := bits.Add64(c[cellLo], sum.Lo, 0)
		c[cellLo] = lo
		c[cellHi] += sum.Hi + carry
		c[cellCheck] += check
		c[cellLength] += length
		c = c[cellKey:][:len(words)]
		for i, w := range words {
			c[i] += w * n
		}
	}
}

// cell returns the words of cell i, counted over all sub-tables.
func (s *Sketch) cell(i int) []uint64 {
	return s.cells[i*s.stride:][:s.stride]
}

// position returns the cell of h in sub-table t.
func (s *Sketch) position(h Hash, t int) int {
	return t*int(s.mask+1) + int(h.Lo>>(t*posBits)&s.mask)
}

// checkWord binds a key to its row's hash. It must not be linear in either:
// else sums of rows could pass for a row.
func checkWord(h Hash, key []byte) uint64 {
	return xxh3.HashSeed(key, h.Hi^bits.RotateLeft64(h.Lo, 32))
}

// loadWords sets words to key, padded with zeros, and returns those of them
// that key reaches.
func loadWords(words []uint64, key []byte) []uint64 {
	n := len(key) / 8
	for i := range n {
		words[i] = binary.BigEndian.Uint64(key[8*i:])
	}
	switch {
	case len(key)%8 == 0:
		return words[:n]
	case n == 0:
		words[0] = Head(key)
	default:
		words[n] = tail(key)
	}
	return words[:n+1]
}

// tail returns the last word of a key longer than eight bytes: a load that
// overlaps the word before it, which is shifted out.
func tail(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[len(key)-8:]) << (8 * (-uint(len(key)) % 8))
}

// Merge adds all rows of o to s. The error is [ErrShape] if the two were not
// made alike.
func (s *Sketch) Merge(o *Sketch) error { return s.combine(o, 1) }

// Subtract takes all rows of o out of s. The error is [ErrShape] if the two
// were not made alike.
func (s *Sketch) Subtract(o *Sketch) error { return s.combine(o, ^uint64(0)) }

// combine adds o, times sign, to s. Cells are sums, so words add up one by
// one; only the sum of hashes carries from one into another.
func (s *Sketch) combine(o *Sketch, sign uint64) error {
	if s.mask != o.mask || s.keyBytes != o.keyBytes {
		return ErrShape
	}
	s.overflow = s.overflow || o.overflow
	for i := 0; i < len(s.cells); i += s.stride {
		a, b := s.cells[i:i+s.stride], o.cells[i:i+s.stride]
		x, y := Hash{a[cellHi], a[cellLo]}, Hash{b[cellHi], b[cellLo]}
		for j := range a {
			a[j] += b[j] * sign
		}
		if sign == 1 {
			x = x.add(y)
		} else {
			x = x.sub(y)
		}
		a[cellHi], a[cellLo] = x.Hi, x.Lo
	}
	return nil
}

// Decode returns the rows that s holds. If ok, they are all its rows: nothing
// is left over once they are taken out. Otherwise there were too many, or a key
// was too long, and the entries are some of them. Decode does not change s.
func (s *Sketch) Decode() (entries []Entry, ok bool) {
	if s.overflow {
		return nil, false
	}
	rest := *s
	rest.cells = append([]uint64(nil), s.cells...)
	rest.words = make([]uint64, len(s.words))

	cells := len(rest.cells) / rest.stride
	todo := make([]int, cells)
	for i := range todo {
		todo[i] = i
	}
	// Each row that is taken out empties a cell for good, so there cannot be
	// more of them than cells.
	for len(todo) > 0 && len(entries) < cells {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		e, found := rest.peel(i)
		if !found {
			continue
		}
		rest.addN(e.Hash, e.Key, -uint64(e.Count))
		entries = append(entries, e)
		for t := range subTables {
			if p := rest.position(e.Hash, t); p != i {
				todo = append(todo, p)
			}
		}
	}
	for _, w := range rest.cells {
		if w != 0 {
			return entries, false
		}
	}
	return entries, true
}

// peel returns the row of cell i, if the cell holds one row only.
func (s *Sketch) peel(i int) (Entry, bool) {
	c := s.cell(i)
	n := int64(c[cellCount])
	switch {
	case n == 1 || n == -1:
		return s.peelOne(i, uint64(n))
	case n != 0 && s.keyBytes == 0:
		return s.peelCopies(i, n)
	}
	return Entry{}, false
}

// peelOne returns the row of cell i if it holds one, times sign.
func (s *Sketch) peelOne(i int, sign uint64) (Entry, bool) {
	c := s.cell(i)
	h := Hash{c[cellHi], c[cellLo]}
	if sign != 1 {
		h = Hash{}.sub(h)
	}
	length := c[cellLength] * sign
	if length > uint64(s.keyBytes) || s.position(h, i/int(s.mask+1)) != i {
		return Entry{}, false
	}
	key := make([]byte, 0, 8*len(s.words))
	for _, w := range c[cellKey:] {
		key = binary.BigEndian.AppendUint64(key, w*sign)
	}
	for _, b := range key[length:] {
		if b != 0 {
			return Entry{}, false
		}
	}
	key = key[:length:length]
	if c[cellCheck]*sign != checkWord(h, key) {
		return Entry{}, false
	}
	return Entry{Hash: h, Key: key, Count: int64(sign)}, true
}

// maxTwos bounds the candidates that peelCopies tries: 2^6.
const maxTwos = 6

// peelCopies returns the row of cell i, in a sketch without keys, if it holds
// n copies of one row. Then n·h = Σ mod 2^128 for the row's hash h. With
// n = odd·2^a that determines all bits of h but its a topmost, which are tried.
func (s *Sketch) peelCopies(i int, n int64) (Entry, bool) {
	c := s.cell(i)
	twos := bits.TrailingZeros64(uint64(n))
	if twos > maxTwos {
		return Entry{}, false
	}
	odd := n >> twos
	h := Hash{c[cellHi], c[cellLo]}.mul(inverse(odd))
	if h.Lo&(1<<twos-1) != 0 {
		return Entry{}, false
	}
	h = Hash{h.Hi >> twos, h.Lo>>twos | h.Hi<<(64-twos)}
	// The position depends on bits that are already known.
	if s.position(h, i/int(s.mask+1)) != i {
		return Entry{}, false
	}
	for top := range uint64(1) << twos {
		g := Hash{h.Hi | top<<(64-twos), h.Lo}
		if checkWord(g, nil)*uint64(n) == c[cellCheck] {
			return Entry{Hash: g, Count: n}, true
		}
	}
	return Entry{}, false
}

// inverse returns 1/odd mod 2^128, by Newton's iteration.
func inverse(odd int64) Hash {
	n := Hash{uint64(odd >> 63), uint64(odd)}
	x := n // n·n = 1 mod 8: three bits are right, and each step doubles them
	for range 6 {
		x = x.mul(Hash{0, 2}.sub(n.mul(x)))
	}
	return x
}
