package relation

import "fmt"

// Chunk is how a table is read: a part of one member that one worker streams.
// A chunk is a range of blocks, a range of one column's values, or all of the
// member. Ranges are half-open; the first and the last have no bound on their
// outer side, so that the chunks of a member cover it whatever it holds.
type Chunk struct {
	Member *Member
	// FromBlock and ToBlock bound a range of blocks; ToBlock < 0: open.
	FromBlock, ToBlock int64
	// Column is set for a range of values; From and To are SQL literals
	// without quotes, nil: open. Bounds compare as the server compares.
	Column   string
	TypeSQL  string
	From, To *string
	// Share is the part of the member that the chunk is expected to hold, 0…1.
	Share float64
}

// Predicate returns the SQL condition that selects the chunk's rows; empty for
// a chunk that is the whole member.
func (c *Chunk) Predicate() string {
	if c.Column != "" {
		return rangePredicate(QuoteIdent(c.Column), literal(c.From, c.TypeSQL), literal(c.To, c.TypeSQL))
	}
	var from, to string
	if c.FromBlock > 0 {
		from = fmt.Sprintf("'(%d,0)'::tid", c.FromBlock)
	}
	if c.ToBlock >= 0 {
		to = fmt.Sprintf("'(%d,0)'::tid", c.ToBlock)
	}
	return rangePredicate("ctid", from, to)
}

// String names the chunk for errors. It shows no values.
func (c *Chunk) String() string {
	switch {
	case c.Column != "":
		return fmt.Sprintf("%s by %s", c.Member.Name, QuoteIdent(c.Column))
	case c.FromBlock == 0 && c.ToBlock < 0:
		return c.Member.Name.String()
	case c.ToBlock < 0:
		return fmt.Sprintf("%s blocks [%d, end)", c.Member.Name, c.FromBlock)
	}
	return fmt.Sprintf("%s blocks [%d, %d)", c.Member.Name, c.FromBlock, c.ToBlock)
}

func literal(s *string, typeSQL string) string {
	if s == nil {
		return ""
	}
	return QuoteLiteral(*s) + "::" + typeSQL
}

func rangePredicate(expr, from, to string) string {
	switch {
	case from == "" && to == "":
		return ""
	case from == "":
		return expr + " < " + to
	case to == "":
		return expr + " >= " + from
	}
	return expr + " >= " + from + " AND " + expr + " < " + to
}

// CheckChunks reports an error unless the chunks, in their order, cover every
// member exactly once: contiguous ranges, open at both outer ends.
func CheckChunks(members []Member, chunks []Chunk) error {
	next := 0
	for i := range members {
		m := &members[i]
		first := next
		for next < len(chunks) && chunks[next].Member.OID == m.OID {
			if err := checkFollows(chunks[first:next], &chunks[next]); err != nil {
				return fmt.Errorf("chunks of %s: %w", m.Name, err)
			}
			next++
		}
		if next == first {
			return fmt.Errorf("chunks of %s: none", m.Name)
		}
		if last := &chunks[next-1]; last.ToBlock >= 0 || last.To != nil {
			return fmt.Errorf("chunks of %s: the last one is not open-ended", m.Name)
		}
	}
	if next != len(chunks) {
		return fmt.Errorf("chunk %s belongs to no member, or stands out of order", &chunks[next])
	}
	return nil
}

func checkFollows(before []Chunk, c *Chunk) error {
	if len(before) == 0 {
		if c.FromBlock != 0 || c.From != nil {
			return fmt.Errorf("the first one does not begin at the start")
		}
		return nil
	}
	prev := &before[len(before)-1]
	if prev.Column != c.Column || prev.TypeSQL != c.TypeSQL {
		return fmt.Errorf("ranges over different columns")
	}
	if c.Column != "" {
		if prev.To == nil || c.From == nil || *prev.To != *c.From {
			return fmt.Errorf("a gap or an overlap in the values of %s", QuoteIdent(c.Column))
		}
		return nil
	}
	if prev.ToBlock <= prev.FromBlock || prev.ToBlock != c.FromBlock {
		return fmt.Errorf("a gap or an overlap at block %d", c.FromBlock)
	}
	return nil
}

// Bound is a boundary between ranges of a table's key space.
type Bound struct {
	Prefix []byte   // the leading key columns, normalised to sort bytewise
	Text   []string // the same values in PostgreSQL's text form, a column each
}

// RangeCondition returns the SQL condition for rows of a side whose ordered
// key columns lie in [lo, hi); a nil bound is open.
func (f *Form) RangeCondition(side Side, lo, hi *Bound) string {
	var exprs []string
	for _, k := range f.KeyFields()[:f.Ordered] {
		exprs = append(exprs, QuoteIdent(k.Name[side]))
	}
	return rangePredicate(tuple(exprs), f.boundSQL(side, lo), f.boundSQL(side, hi))
}

func (f *Form) boundSQL(side Side, b *Bound) string {
	if b == nil {
		return ""
	}
	var values []string
	for i, k := range f.KeyFields()[:f.Ordered] {
		values = append(values, QuoteLiteral(b.Text[i])+"::"+k.CommonSQL(side))
	}
	return tuple(values)
}

func tuple(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	s := "(" + parts[0]
	for _, p := range parts[1:] {
		s += ", " + p
	}
	return s + ")"
}

// CommonSQL returns the SQL name of the type that a side sends the field in.
func (f *Field) CommonSQL(side Side) string {
	if f.Cast[side] != "" {
		return f.Cast[side]
	}
	return f.Type[side].Underlying().SQL()
}
