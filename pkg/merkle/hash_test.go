package merkle

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// newRand returns a generator that yields the same values in each run.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randHash(r *rand.Rand) Hash { return Hash{r.Uint64(), r.Uint64()} }

func toBig(h Hash) *big.Int { return new(big.Int).SetBytes(h.AppendBytes(nil)) }

func fromBig(x *big.Int) Hash {
	mod := new(big.Int).Lsh(big.NewInt(1), 128)
	var b [HashSize]byte
	new(big.Int).Mod(x, mod).FillBytes(b[:])
	return HashFromBytes(b)
}

func TestHashArithmetic(t *testing.T) {
	r := newRand(1)
	edges := []Hash{{}, {0, 1}, {0, ^uint64(0)}, {1, 0}, {^uint64(0), ^uint64(0)}, {1 << 63, 0}}
	pick := func() Hash {
		if r.IntN(3) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return randHash(r)
	}
	for range 10000 {
		a, b := pick(), pick()
		x, y := toBig(a), toBig(b)
		if got, want := a.add(b), fromBig(new(big.Int).Add(x, y)); got != want {
			t.Fatalf("%v + %v = %v, want %v", a, b, got, want)
		}
		if got, want := a.sub(b), fromBig(new(big.Int).Sub(x, y)); got != want {
			t.Fatalf("%v - %v = %v, want %v", a, b, got, want)
		}
		if got, want := a.mul(b), fromBig(new(big.Int).Mul(x, y)); got != want {
			t.Fatalf("%v * %v = %v, want %v", a, b, got, want)
		}
		if got, want := a.Compare(b), x.Cmp(y); got != want {
			t.Fatalf("%v compare %v = %d, want %d", a, b, got, want)
		}
	}
}

func TestInverse(t *testing.T) {
	r := newRand(2)
	for i := range int64(2000) {
		odd := 2*i - 1999
		if i%4 == 0 {
			odd = int64(r.Uint64() | 1)
		}
		n := Hash{uint64(odd >> 63), uint64(odd)}
		if got := n.mul(inverse(odd)); got != (Hash{0, 1}) {
			t.Fatalf("%d * inverse = %v", odd, got)
		}
	}
}

func TestHashText(t *testing.T) {
	h := Hash{0x0123456789abcdef, 0xff}
	const text = "0123456789abcdef00000000000000ff"
	if h.String() != text {
		t.Errorf("String() = %q, want %q", h, text)
	}
	if got, err := ParseHash(text); err != nil || got != h {
		t.Errorf("ParseHash = %v, %v", got, err)
	}
	for _, bad := range []string{"", text[1:], text + "0", "g" + text[1:]} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("ParseHash(%q) gave no error", bad)
		}
	}
	if got := HashFromBytes([HashSize]byte(h.AppendBytes(nil))); got != h {
		t.Errorf("HashFromBytes = %v, want %v", got, h)
	}
	if h.IsZero() || !(Hash{}).IsZero() {
		t.Error("IsZero")
	}
}
