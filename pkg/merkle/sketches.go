package merkle

import "errors"

// SketchSize says how the leaves of a table are sketched. The zero value means
// not at all.
type SketchSize struct {
	// Cells and KeyBytes are those of each sketch, see [NewSketch].
	Cells, KeyBytes int
	// Leaves is how many neighbouring leaves share a sketch; 0: all. Small
	// shares keep to a processor's cache what rows in about the order of their
	// leaves are added to, and hold more differences in all.
	Leaves int
}

// New returns empty sketches of so many leaves, nil for the zero value.
func (z SketchSize) New(leaves int) *Sketches {
	if z.Cells == 0 {
		return nil
	}
	if z.Leaves == 0 {
		z.Leaves = max(leaves, 1)
	}
	return &Sketches{size: z, leaves: leaves, list: make([]*Sketch, (leaves+z.Leaves-1)/z.Leaves)}
}

// Sketches are the sketches of a table's leaves. A sketch is made when the
// first row is added to it.
type Sketches struct {
	size   SketchSize
	leaves int
	list   []*Sketch // nil: no row was added
}

// Add adds one row of a leaf. Rows of equal hashes must have equal keys.
func (s *Sketches) Add(leaf int, h Hash, key []byte) {
	s.at(leaf/s.size.Leaves).Add(h, key)
}

func (s *Sketches) at(i int) *Sketch {
	if s.list[i] == nil {
		s.list[i] = NewSketch(s.size.Cells, s.size.KeyBytes)
	}
	return s.list[i]
}

// Merge adds all rows of o to s, and takes over what o holds: o must not be
// used any more. The error is [ErrShape] if the two were not made alike.
func (s *Sketches) Merge(o *Sketches) error {
	return s.combine(o, func(i int, other *Sketch) error {
		if s.list[i] == nil {
			s.list[i] = other
			return nil
		}
		return s.list[i].Merge(other)
	})
}

// Subtract takes all rows of o out of s. The error is [ErrShape] if the two
// were not made alike.
func (s *Sketches) Subtract(o *Sketches) error {
	return s.combine(o, func(i int, other *Sketch) error { return s.at(i).Subtract(other) })
}

func (s *Sketches) combine(o *Sketches, f func(int, *Sketch) error) error {
	if s.size != o.size || s.leaves != o.leaves {
		return ErrShape
	}
	var err error
	for i, other := range o.list {
		if other != nil {
			err = errors.Join(err, f(i, other))
		}
	}
	return err
}

// Decode calls f with the rows that each sketch holds, and empties s. Leaves
// whose sketch holds too many rows, or too long a key, are left out; decoded
// tells for each leaf whether f has seen its rows. All rows of a leaf, and so of
// a key, are in the same call.
func (s *Sketches) Decode(f func([]Entry) error) (decoded []bool, err error) {
	decoded = make([]bool, s.leaves)
	for i, sketch := range s.list {
		ok := true
		if sketch != nil {
			s.list[i] = nil
			var entries []Entry
			if entries, ok = sketch.Decode(); ok && len(entries) > 0 {
				if err := f(entries); err != nil {
					return nil, err
				}
			}
		}
		for leaf := i * s.size.Leaves; leaf < min((i+1)*s.size.Leaves, s.leaves); leaf++ {
			decoded[leaf] = ok
		}
	}
	return decoded, nil
}

// Bytes returns the memory that the sketches of so many leaves take at most.
func (z SketchSize) Bytes(leaves int) int64 {
	if z.Cells == 0 {
		return 0
	}
	n := int64(1)
	if z.Leaves > 0 {
		n = int64((leaves + z.Leaves - 1) / z.Leaves)
	}
	return n * int64(z.sketchBytes())
}
