package merkle

// SketchSize is the size of a sketch to be made. The zero value means none.
type SketchSize struct {
	Cells    int // in each sub-table
	KeyBytes int // of the longest key that can be decoded
}

// New returns an empty sketch of the size, or nil for none.
func (s SketchSize) New() *Sketch {
	if s.Cells == 0 {
		return nil
	}
	return NewSketch(s.Cells, s.KeyBytes)
}
