package relation

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var members = []Member{{OID: 1, Name: Name{"s", "a"}}, {OID: 2, Name: Name{"s", "b"}}}

func blocks(m int, bounds ...int64) []Chunk {
	var chunks []Chunk
	for i := 1; i < len(bounds); i++ {
		chunks = append(chunks, Chunk{Member: &members[m], FromBlock: bounds[i-1], ToBlock: bounds[i]})
	}
	return chunks
}

// ranges makes chunks over a column; an empty bound is open.
func ranges(m int, bounds ...string) []Chunk {
	var chunks []Chunk
	for i := 1; i < len(bounds); i++ {
		c := Chunk{Member: &members[m], Column: "id", TypeSQL: "int8", ToBlock: -1}
		if bounds[i-1] != "" {
			c.From = &bounds[i-1]
		}
		if bounds[i] != "" {
			c.To = &bounds[i]
		}
		chunks = append(chunks, c)
	}
	return chunks
}

func TestCheckChunks(t *testing.T) {
	mixed := slices.Concat(ranges(0, "", "5"), blocks(0, 0, -1))
	otherType := ranges(0, "", "5", "")
	otherType[1].TypeSQL = "text"
	for _, test := range []struct {
		name   string
		chunks []Chunk
		want   string // of the error; empty: none
	}{
		{"whole members", slices.Concat(blocks(0, 0, -1), blocks(1, 0, -1)), ""},
		{"blocks", slices.Concat(blocks(0, 0, 10, 20, -1), blocks(1, 0, 7, -1)), ""},
		{"ranges", slices.Concat(ranges(0, "", "5", "7", ""), ranges(1, "", "")), ""},
		{"none", nil, "chunks of s.a: none"},
		{"a member without", blocks(0, 0, -1), "chunks of s.b: none"},
		{"a gap in blocks", slices.Concat(blocks(0, 0, 10), blocks(0, 11, -1), blocks(1, 0, -1)), "gap or an overlap at block 11"},
		{"an overlap in blocks", slices.Concat(blocks(0, 0, 10), blocks(0, 9, -1), blocks(1, 0, -1)), "gap or an overlap at block 9"},
		{"an empty range", slices.Concat(blocks(0, 0, 10, 10, -1), blocks(1, 0, -1)), "gap or an overlap"},
		{"something behind the open end", slices.Concat(blocks(0, 0, -1), blocks(0, 5, -1), blocks(1, 0, -1)), "gap or an overlap at block 5"},
		{"twice the whole", slices.Concat(blocks(0, 0, -1), blocks(0, 0, -1), blocks(1, 0, -1)), "gap or an overlap"},
		{"blocks not from the start", slices.Concat(blocks(0, 1, -1), blocks(1, 0, -1)), "does not begin at the start"},
		{"blocks not to the end", slices.Concat(blocks(0, 0, 10), blocks(1, 0, -1)), "not open-ended"},
		{"a gap in values", slices.Concat(ranges(0, "", "5"), ranges(0, "6", ""), blocks(1, 0, -1)), `gap or an overlap in the values of "id"`},
		{"values not from the start", slices.Concat(ranges(0, "5", ""), blocks(1, 0, -1)), "does not begin at the start"},
		{"values not to the end", slices.Concat(ranges(0, "", "5"), blocks(1, 0, -1)), "not open-ended"},
		{"twice all values", slices.Concat(ranges(0, "", ""), ranges(0, "", ""), blocks(1, 0, -1)), "gap or an overlap"},
		{"blocks behind values", slices.Concat(mixed, blocks(1, 0, -1)), "different columns"},
		{"another type", slices.Concat(otherType, blocks(1, 0, -1)), "different columns"},
		{"another order", slices.Concat(blocks(1, 0, -1), blocks(0, 0, -1)), "chunks of s.a: none"},
		{"a member twice", slices.Concat(blocks(0, 0, -1), blocks(1, 0, -1), blocks(0, 0, -1)), "belongs to no member"},
	} {
		err := CheckChunks(members, test.chunks)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// TestCheckChunksExactlyOnce breaks good chunks at random, and compares the
// check with counting how often each block is read.
func TestCheckChunksExactlyOnce(t *testing.T) {
	const size = 12 // blocks that are counted; the last stands for all behind
	r := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for range 20_000 {
		bounds := []int64{0}
		for b := int64(1); b < size-1; b++ {
			if r.IntN(3) == 0 {
				bounds = append(bounds, b)
			}
		}
		chunks := blocks(0, append(bounds, -1)...)
		for range r.IntN(3) { // break it
			c := &chunks[r.IntN(len(chunks))]
			switch r.IntN(4) {
			case 0:
				c.FromBlock = int64(r.IntN(size - 1))
			case 1:
				c.ToBlock = int64(r.IntN(size))
			case 2:
				c.ToBlock = -1
			case 3:
				i := r.IntN(len(chunks))
				chunks = slices.Delete(slices.Clone(chunks), i, i+1)
			}
			if len(chunks) == 0 {
				break
			}
		}
		var read [size]int
		for _, c := range chunks {
			for b := range int64(size) {
				if b >= c.FromBlock && (c.ToBlock < 0 || b < c.ToBlock) {
					read[b]++
				}
			}
		}
		once := !slices.ContainsFunc(read[:], func(n int) bool { return n != 1 })
		if CheckChunks(members[:1], chunks) == nil {
			accepted++
			if !once {
				t.Fatalf("accepted %+v, which reads blocks %v times", chunks, read)
			}
		} else {
			refused++
		}
	}
	if accepted < 1000 || refused < 1000 {
		t.Errorf("%d accepted, %d refused: the test proves little", accepted, refused)
	}
}

func TestChunkPredicate(t *testing.T) {
	from, to := "it's", `b\`
	value := Chunk{Member: &members[0], Column: `c"d`, TypeSQL: "text", From: &from, To: &to, ToBlock: -1}
	whole := blocks(0, 0, -1)[0]
	for want, c := range map[string]Chunk{
		"":                     whole,
		"ctid < '(8,0)'::tid":  blocks(0, 0, 8)[0],
		"ctid >= '(8,0)'::tid": blocks(0, 8, -1)[0],
		"ctid >= '(8,0)'::tid AND ctid < '(9,0)'::tid":       blocks(0, 8, 9)[0],
		`"c""d" >= 'it''s'::text AND "c""d" <  E'b\\'::text`: value,
		`"id" < '5'::int8`:                       ranges(0, "", "5")[0],
		`"id" >= '5'::int8`:                      ranges(0, "5", "")[0],
		`"id" >= '5'::int8 AND "id" < '7'::int8`: ranges(0, "5", "7")[0],
	} {
		if got := c.Predicate(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if text := value.String(); strings.Contains(text, "it's") {
		t.Errorf("%s shows values", text)
	}
	for want, c := range map[string]Chunk{"s.a": whole, "s.a blocks [8, 9)": blocks(0, 8, 9)[0], "s.a blocks [8, end)": blocks(0, 8, -1)[0]} {
		if got := c.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestRangeCondition(t *testing.T) {
	int4 := &Type{Schema: "pg_catalog", Name: "int4", Kind: Base}
	domain := &Type{Schema: "s", Name: "code", Kind: Domain, Elem: &Type{Schema: "pg_catalog", Name: "uuid", Kind: Base}}
	f := Form{
		Fields: []Field{
			{Name: [2]string{"v", "v"}, Type: [2]*Type{int4, int4}},
			{Name: [2]string{"b", "B"}, Type: [2]*Type{domain, domain}},
			{Name: [2]string{"a", "A"}, Type: [2]*Type{int4, int4}, Cast: [2]string{"int8", "int8"}},
		},
		Key: []int{2, 1}, Ordered: 2,
	}
	lo, hi := &Bound{Text: []string{"1", "x"}}, &Bound{Text: []string{"2", "y'"}}
	for _, test := range []struct {
		side   Side
		lo, hi *Bound
		want   string
	}{
		{Source, nil, nil, ""},
		{Source, lo, nil, `("a", "b") >= ('1'::int8, 'x'::"pg_catalog"."uuid")`},
		{Target, nil, hi, `("A", "B") < ('2'::int8, 'y'''::"pg_catalog"."uuid")`},
		{Target, lo, hi, `("A", "B") >= ('1'::int8, 'x'::"pg_catalog"."uuid") AND ("A", "B") < ('2'::int8, 'y'''::"pg_catalog"."uuid")`},
	} {
		if got := f.RangeCondition(test.side, test.lo, test.hi); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	f.Ordered = 1
	if got, want := f.RangeCondition(Source, lo, hi), `"a" >= '1'::int8 AND "a" < '2'::int8`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFormDescribe(t *testing.T) {
	form := func(change func(*Form)) string {
		typ := &Type{Schema: "pg_catalog", Name: "int4", Kind: Base}
		f := &Form{Table: [2]Name{{"s", "a"}, {"t", "b"}}, Key: []int{0}}
		for i := range 3 {
			name := "c" + strconv.Itoa(i)
			f.Fields = append(f.Fields, Field{Name: [2]string{name, name}, Type: [2]*Type{typ, typ}})
		}
		change(f)
		return f.Describe()
	}
	base := form(func(*Form) {})
	seen := map[string]string{base: "nothing"}
	for name, change := range map[string]func(*Form){
		"the table":          func(f *Form) { f.Table[Source].Name = "b" },
		"a column":           func(f *Form) { f.Fields[1].Name[Source] = "d" },
		"a cast":             func(f *Form) { f.Fields[1].Cast[Source] = "int8" },
		"the key":            func(f *Form) { f.Key = []int{1} },
		"the order":          func(f *Form) { f.Fields[0], f.Fields[1] = f.Fields[1], f.Fields[0] },
		"keyless":            func(f *Form) { f.Key = nil },
		"a further key":      func(f *Form) { f.Key = []int{0, 1} },
		"fewer":              func(f *Form) { f.Fields = f.Fields[:2] },
		"a quote in a name":  func(f *Form) { f.Fields[1].Name[Source] = `c1" int4` },
		"a spaced-out name":  func(f *Form) { f.Fields[1].Name[Source] = "c1 int4" },
		"an expression":      func(f *Form) { f.Fields[1].SQL[Source] = "lower(c1)" },
		"the target's":       func(f *Form) { f.Fields[1].SQL[Target] = "lower(c1)" },
		"by value":           func(f *Form) { f.Fields[1].Value = true },
		"a condition":        func(f *Form) { f.Where[Source] = "true" },
		"another condition":  func(f *Form) { f.Where[Target] = "true" },
		"names run together": func(f *Form) { f.Table[Source] = Name{"s.a", "a"} },
	} {
		text := form(change)
		if other, taken := seen[text]; taken {
			t.Errorf("%s changed describes the same as %s changed", name, other)
		}
		seen[text] = name
	}
	// The target's names and place do not matter.
	if got := form(func(f *Form) { f.Table[Target].Name, f.Fields[0].Name[Target] = "x", "y" }); got != base {
		t.Error("the target's names show")
	}
}
