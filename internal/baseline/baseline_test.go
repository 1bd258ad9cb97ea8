package baseline

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

func builtin(name string) *relation.Type {
	return &relation.Type{Schema: "pg_catalog", Name: name, Kind: relation.Base, BinaryOutput: true}
}

// tableWith returns a table with a key of those types and a column of text.
func tableWith(t testing.TB, name string, layout *merkle.Layout, ordered int, key ...*relation.Type) parity.BaselineTable {
	t.Helper()
	b := parity.BaselineTable{
		Definition: relation.Table{Name: relation.Name{Schema: "public", Name: name}, Kind: relation.Ordinary},
		Layout:     layout,
	}
	b.Form.Table = [2]relation.Name{b.Name(), b.Name()}
	b.Form.Ordered = ordered
	types := append(slices.Clone(key), builtin("text"))
	for i, typ := range types {
		column := fmt.Sprintf("c%d", i)
		b.Definition.Columns = append(b.Definition.Columns, relation.Column{Name: column, Number: int16(i + 1), Type: typ, Definition: typ.Name, NotNull: i < len(key)})
		b.Form.Fields = append(b.Form.Fields, relation.Field{Name: both(column), Type: [2]*relation.Type{typ, typ}})
		if i < len(key) {
			b.Form.Key = append(b.Form.Key, i)
		}
	}
	if len(key) > 0 {
		b.Definition.Keys = []relation.Key{{Columns: []string{"c0"}, Index: name + "_pkey", Primary: true}}
	}
	leaves := make([]merkle.Digest, layout.Leaves())
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range leaves {
		for range random.IntN(3) { // some have no rows
			leaves[i].Add(merkle.Hash{Hi: random.Uint64(), Lo: random.Uint64()})
		}
	}
	b.Tree = merkle.NewTree([]byte(b.Form.Describe()), leaves)
	return b
}

func layoutOf(t testing.TB, bounds [][]byte, bits ...uint8) *merkle.Layout {
	t.Helper()
	l, err := merkle.NewLayout(bounds, bits)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// small returns a baseline with a table of each kind.
func small(t testing.TB) *parity.Baseline {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	mood := &relation.Type{Schema: "public", Name: "mood", Kind: relation.Enum, BinaryOutput: true}
	moods := &relation.Type{Schema: "public", Name: "_mood", Kind: relation.Array, Elem: mood, BinaryOutput: true}
	b := &parity.Baseline{
		ToolVersion: "1.2.3", StartedAt: at, FinishedAt: at.Add(time.Second), HashMode: rowhash.Mode, Seed: 42, SeedFingerprint: rowhash.Fingerprint(42),
		Tables: []string{"public.*"}, Exclude: []string{`public."no,t"`}, LargeObjects: true, Skipped: []string{"public.x: excluded"},
		Server: relation.Server{
			Version: "15.18", Number: 150018, Database: "sh\"op\n", DatabaseOID: 5, SystemIdentifier: "7412", Encoding: "UTF8", LCMonetary: "C", Locale: "C",
			Timeline: 3, Settings: []relation.Property{{Name: "lc_collate", Value: "C"}},
		},
		Moment: relation.Moment{TakenAt: at, LSN: 0x1_0000_0002, LSNText: "1/2", Visible: "1:1:"},
	}
	last := int64(-7)
	b.Schema = []relation.Object{
		{Table: relation.Name{Schema: "public", Name: "numbers"}, Kind: "index", Name: "i", Properties: []relation.Property{{Name: "columns", Value: "c0"}}},
		{Kind: "extension", Name: "hstore"},
	}
	b.Sequences = []relation.Sequence{
		{Name: relation.Name{Schema: "public", Name: "s"}, Type: "bigint", Start: 1, Min: 1, Max: math.MaxInt64, Increment: 1, Cache: 1, Last: &last, Feeds: []relation.Fed{{Table: relation.Name{Schema: "public", Name: "numbers"}, Column: "c0"}}},
		{Name: relation.Name{Schema: "public", Name: "u"}, Type: "integer", Increment: -1, Cycle: true, Unreadable: true},
	}
	b.Furthest = map[relation.Fed]*int64{b.Sequences[0].Feeds[0]: &last}
	b.Contents = []parity.BaselineTable{
		tableWith(t, "hashed", layoutOf(t, nil, 3), 0, builtin("text")),
		tableWith(t, "keyless", layoutOf(t, nil, 0), 0),
		tableWith(t, "moods", layoutOf(t, nil, 1), 0, moods),
		tableWith(t, "numbers", layoutOf(t, [][]byte{{0x80}, {0x80, 0, 1}, {0x80, 0, 2, 7}}, 0, 2, 0, 0), 1, builtin("int8")),
	}
	c := &b.Contents[3]
	c.Policy = parity.Policy{Value: []string{"c1"}, Exclude: []string{"gone"}, Where: both("c0 > 0"), Cast: map[string][2]string{"c1": both("c1::text")}}
	c.Form.Where, c.Form.Fields[1].SQL = both("c0 > 0"), both("c1::text")
	c.Expressions = map[string]relation.Expression{
		"c0 > 0": {SQL: "c0 > 0", Type: builtin("bool"), Definition: "boolean"}, "c1::text": {SQL: "c1::text", Type: builtin("text"), Definition: "text"},
	}
	c.Tree = merkle.NewTree([]byte(c.Form.Describe()), c.Tree.Leaves())
	return b
}

func keys(t testing.TB, name string) (Signer, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func encoded(t testing.TB, b *parity.Baseline, s Signer) []byte {
	t.Helper()
	file, err := Encode(b, s)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRoundTrip(t *testing.T) {
	b := small(t)
	f, err := Decode(encoded(t, b, nil))
	if err != nil {
		t.Fatal(err)
	}
	// What a layout holds beside its bounds does not matter.
	for i := range b.Contents {
		if got, want := appendLayout(nil, f.Contents[i].Layout), appendLayout(nil, b.Contents[i].Layout); !bytes.Equal(got, want) {
			t.Errorf("%s: another layout", b.Contents[i].Name())
		}
		f.Contents[i].Layout = b.Contents[i].Layout
	}
	if !reflect.DeepEqual(f.Baseline, b) {
		t.Errorf("got  %+v\nwant %+v", f.Baseline, b)
	}
	if f.Note != nil || f.Seal() != "not signed" || !errors.Is(f.CheckSignature(nil), ErrUnsigned) {
		t.Errorf("a file without a signature: %q, %s", f.Note, f.Seal())
	}
}

// TestEveryByte is the promise: whatever is changed in a file or missing from
// it, it is refused.
func TestEveryByte(t *testing.T) {
	signer, _ := keys(t, "dba")
	for _, s := range []Signer{nil, signer} {
		whole := encoded(t, small(t), s)
		for at := range whole {
			for _, flip := range []byte{1, 0x80, 0xff} {
				file := bytes.Clone(whole)
				file[at] ^= flip
				if _, err := Decode(file); err == nil {
					t.Errorf("byte %d of %d changed by %#x: not noticed", at, len(whole), flip)
				}
			}
			if _, err := Decode(whole[:at]); err == nil {
				t.Errorf("the first %d bytes of %d: not noticed", at, len(whole))
			}
		}
		if _, err := Decode(append(bytes.Clone(whole), 0)); err == nil {
			t.Error("a byte more: not noticed")
		}
	}
}

// resealed takes a file apart, lets f change the parts, and puts them together
// with checksums that fit: what only somebody can do who wants to.
func resealed(t testing.TB, file []byte, f func(payload, signed []byte) (newPayload, newSigned []byte)) []byte {
	t.Helper()
	n := int(binary.BigEndian.Uint64(file[len(magic)+4:]))
	payload, err := unpack(file[headerSize:headerSize+n], binary.BigEndian.Uint64(file[len(magic)+12:]))
	if err != nil {
		t.Fatal(err)
	}
	payload, signed := f(payload, file[headerSize+n+noteLength:len(file)-checksumSize])
	packed, err := pack(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := seal(packed, uint64(len(payload)), func([sha256.Size]byte) ([]byte, error) { return signed, nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestResealed changes contents and mends the checksum: the leaves must still
// come to the roots, and a signature must be one of these contents.
func TestResealed(t *testing.T) {
	signer, verifier := keys(t, "dba")
	file := encoded(t, small(t), signer)
	same := resealed(t, file, func(p, s []byte) ([]byte, []byte) { return p, s })
	f, err := Decode(same)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CheckSignature(verifier); err != nil {
		t.Error(err)
	}
	payload := payloadOf(t, file)
	manifest := int(binary.BigEndian.Uint64(payload)) + 8
	layouts := func(b *parity.Baseline) (all []byte) {
		for i := range b.Contents {
			all = appendLayout(all, b.Contents[i].Layout)
		}
		return all
	}
	for at := range payload {
		if at < manifest && at%7 > 0 {
			continue // it is long, and much alike
		}
		altered := func(signed bool) []byte {
			return resealed(t, file, func(p, s []byte) ([]byte, []byte) {
				p[at] ^= 4
				if !signed {
					s = nil
				}
				return p, s
			})
		}
		if f, err := Decode(altered(true)); err == nil && f.CheckSignature(verifier) == nil {
			t.Errorf("byte %d of the payload changed: not noticed in spite of the signature", at)
		}
		// A root is one of leaves; which keys they are of, it does not say.
		if f, err := Decode(altered(false)); err == nil && at >= manifest && bytes.Equal(layouts(f.Baseline), layouts(small(t))) {
			t.Errorf("byte %d of the leaves changed: not noticed by the root", at)
		}
	}
}

func payloadOf(t testing.TB, file []byte) (payload []byte) {
	t.Helper()
	resealed(t, file, func(p, s []byte) ([]byte, []byte) { payload = bytes.Clone(p); return p, s })
	return payload
}

func TestSignature(t *testing.T) {
	signer, verifier := keys(t, "dba")
	_, namesake := keys(t, "dba")
	_, other := keys(t, "other")
	b := small(t)
	f, err := Decode(encoded(t, b, signer))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CheckSignature(verifier); err != nil {
		t.Error(err)
	}
	if got := f.Seal(); !strings.Contains(got, `signed by "dba"`) || !strings.Contains(got, "not checked") {
		t.Errorf("seal: %s", got)
	}
	for _, v := range []note.Verifier{namesake, other} {
		if err := f.CheckSignature(v); err == nil || !strings.Contains(err.Error(), "another key") {
			t.Errorf("another key: %v", err)
		}
	}
	// A forged signature under the key's name and number.
	forged := resealed(t, encoded(t, b, signer), func(p, _ []byte) ([]byte, []byte) {
		signed, err := note.Sign(&note.Note{Text: noteText(b, f.Sum)}, forger{verifier})
		if err != nil {
			t.Fatal(err)
		}
		return p, signed
	})
	if f, err = Decode(forged); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckSignature(verifier); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a forged signature: %v", err)
	}
	// The signature of one file does not fit another.
	b.ToolVersion = "another"
	swapped := resealed(t, encoded(t, b, nil), func(p, _ []byte) ([]byte, []byte) { return p, f.Note })
	if _, err := Decode(swapped); err == nil || !strings.Contains(err.Error(), "other contents") {
		t.Errorf("a signature of another file: %v", err)
	}
}

// forger signs in the name of a key that it does not have.
type forger struct{ note.Verifier }

func (forger) Sign([]byte) ([]byte, error) { return make([]byte, ed25519.SignatureSize), nil }

func TestRefused(t *testing.T) {
	file := encoded(t, small(t), nil)
	checked := func(body []byte) []byte {
		sum := sha256.Sum256(body)
		return append(body, sum[:]...)
	}
	header := func(version uint32, packed, unpacked uint64, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32([]byte(magic), version)
		b = binary.BigEndian.AppendUint64(b, packed)
		return checked(append(binary.BigEndian.AppendUint64(b, unpacked), rest...))
	}
	zeros, err := pack(make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	zeroNote := []byte{0, 0, 0, 0}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":                {nil, "not a baseline"},
		"another file":           {[]byte("PGDMP\x01\x0e"), "not a baseline"},
		"as text":                {bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")), "not a baseline"},
		"the magic alone":        {[]byte(magic), "truncated"},
		"newer":                  {header(Version+1, 0, 0, 9, 9, 9, 9, 9, 9), "use a newer one"},
		"much newer":             {header(math.MaxUint32, 0, 0, zeroNote...), "use a newer one"},
		"of no version":          {header(0, 0, 0, zeroNote...), "none of that number"},
		"length beyond the file": {header(Version, math.MaxUint64, 1, zeroNote...), "lengths"},
		"huge contents":          {header(Version, 0, math.MaxUint64, zeroNote...), "lengths"},
		"no contents":            {header(Version, 0, 0, zeroNote...), "EOF"},
		"a bomb":                 {header(Version, uint64(len(zeros)), 100, append(zeros, zeroNote...)...), "longer or shorter"},
		"zeros":                  {header(Version, uint64(len(zeros)), 1<<20, append(zeros, zeroNote...)...), "description"},
		"a note beyond the file": {header(Version, 0, 0, 0, 0, 0, 9), "lengths"},
	} {
		if _, err := Decode(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	replace := func(from, to string) []byte {
		return resealed(t, file, func(p, s []byte) ([]byte, []byte) {
			size := binary.BigEndian.Uint64(p)
			manifest := strings.Replace(string(p[8:8+size]), from, to, 1)
			if manifest == string(p[8:8+size]) {
				t.Errorf("%q is not in the manifest: %s", from, manifest)
			}
			out := binary.BigEndian.AppendUint64(nil, uint64(len(manifest)))
			return append(append(out, manifest...), p[8+size:]...), s
		})
	}
	for _, c := range []struct{ from, to, want string }{
		{`"hash_mode"`, `"hush_mode"`, "unknown field"},
		{`"000000000000002a"`, `"0000000000000000"`, "seed"},
		{`"name":"numbers"`, `"name":"moods"`, "twice"},
		{`"ordered":1`, `"ordered":0`, "order"},
		{`"ordered":1`, `"ordered":2`, "order"},
		{`"key":[0]`, `"key":[7]`, "key"},
		{`"key":[0]`, `"key":[0,0]`, "key"},
		{`"kind":"a"`, `"kind":"m"`, "made of nothing"},
		{`"kind":"r"`, `"kind":"rr"`, "one letter"},
		{`"name":"c1","type":{"schema":"pg_catalog"`, `"name":"c2","type":{"schema":"pg_catalog"`, "root"},
		{`"leaves":8`, `"leaves":9`, "root"},
	} {
		if _, err := Decode(replace(c.from, c.to)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, want %q", c.to, c.from, err, c.want)
		}
	}
}

// FuzzDecode lets the fuzzer write payloads: contents of whole files
// that nobody captured.
func FuzzDecode(f *testing.F) {
	file := encoded(f, small(f), nil)
	f.Add(payloadOf(f, file))
	f.Add([]byte{})
	f.Add(binary.BigEndian.AppendUint64(nil, math.MaxUint64))
	f.Fuzz(func(t *testing.T, payload []byte) {
		decoded, err := decodePayload(payload)
		if err != nil {
			return
		}
		again, err := Decode(encoded(t, decoded, nil))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		var tables []parity.Tables
		for i := range again.Contents {
			name := again.Contents[i].Name()
			tables = append(tables, parity.Tables{Source: name, Target: name})
		}
		pass := parity.CompareBaselines(t.Context(), decoded, again.Baseline, parity.Config{Tables: tables})
		if pass.Verdict == parity.Diverged {
			t.Errorf("a baseline differs from itself: %s", pass.Reason)
		}
	})
}

// FuzzFile lets the fuzzer write whole files.
func FuzzFile(f *testing.F) {
	signer, _ := keys(f, "dba")
	f.Add(encoded(f, small(f), nil))
	f.Add(encoded(f, small(f), signer))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		if sum := sha256.Sum256(file); len(file) > headerSize {
			file = append(file[:len(file):len(file)], sum[:]...) // else none gets far
		}
		f, err := Decode(file)
		if err == nil {
			_ = f.Seal()
		}
	})
}

// TestSize measures what the format promises: 2 MB for a table of the most
// leaves, whatever its key.
func TestSize(t *testing.T) {
	const leaves, rowsALeaf, limit = merkle.MaxLeaves, 4096, 2_000_000
	random := mathrand.New(mathrand.NewPCG(3, 4))
	field := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	int8At := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i*rowsALeaf)+1<<63) }
	for name, c := range map[string]struct {
		types []*relation.Type
		bound func(i int) []byte // as it was sampled, whole
	}{
		"int8": {[]*relation.Type{builtin("int8")}, int8At},
		"snowflake": {[]*relation.Type{builtin("int8")}, func(i int) []byte {
			return binary.BigEndian.AppendUint64(nil, 1<<63|uint64(i)<<40|uint64(random.Uint32()))
		}},
		"uuid":      {[]*relation.Type{builtin("uuid")}, func(int) []byte { return field(16) }},
		"bytea":     {[]*relation.Type{builtin("bytea")}, func(int) []byte { return field(32) }},
		"composite": {[]*relation.Type{builtin("uuid"), builtin("timestamptz")}, func(i int) []byte { return append(append(make([]byte, 13), byte(i>>12), byte(i>>8), 0), int8At(i)...) }},
		"text":      {[]*relation.Type{builtin("text")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var bounds [][]byte
			if c.bound != nil {
				for i := range leaves {
					bounds = append(bounds, c.bound(i))
				}
				slices.SortFunc(bounds, bytes.Compare)
				bounds = slices.CompactFunc(bounds, bytes.Equal)
				for i := len(bounds) - 1; i > 0; i-- {
					bounds[i] = merkle.Separator(bounds[i-1], bounds[i])
				}
				bounds = bounds[1:]
			}
			bits := make([]uint8, len(bounds)+1)
			ordered := len(c.types)
			if bounds == nil {
				bits, ordered = []uint8{16}, 0
			}
			table := tableWith(t, "large", layoutOf(t, bounds, bits...), ordered, c.types...)
			digests := make([]merkle.Digest, table.Layout.Leaves())
			for i := range digests {
				digests[i] = merkle.Digest{Count: uint64(rowsALeaf/2 + random.IntN(rowsALeaf)), Sum: merkle.Hash{Hi: random.Uint64(), Lo: random.Uint64()}}
			}
			table.Tree = merkle.NewTree([]byte(table.Form.Describe()), digests)
			b := small(t)
			b.Contents = []parity.BaselineTable{table}
			file := encoded(t, b, nil)
			t.Logf("%d leaves: %d bytes", len(digests), len(file))
			if len(digests) < leaves-1 || len(file) > limit {
				t.Errorf("%d bytes for %d leaves, want at most %d for %d", len(file), len(digests), limit, leaves)
			}
		})
	}
}
