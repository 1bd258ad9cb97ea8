package snapshot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/pkg/relation"
)

// TestExplainHidesValues: DETAIL, HINT and CONTEXT hold row values, and so do
// the messages of data errors.
func TestExplainHidesValues(t *testing.T) {
	const canary = "xC4nary"
	for _, code := range []string{
		codeLockNotAvailable, codeInsufficientPrivilege, codeQueryCanceled, codeAdminShutdown, codeCrashShutdown, codeUndefinedTable,
		codeBadEncoding, codeUntranslatable, codeSerialization, codeOutOfMemory, "22P02", "22003", "23505", "P0001", "38000", "39000", "XX001",
	} {
		pg := &pgconn.PgError{
			Severity: "ERROR", Code: code, Message: "some words", Detail: canary, Hint: canary, Where: canary, InternalQuery: canary,
			DataTypeName: canary, ConstraintName: canary,
		}
		if strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "P0") || strings.HasPrefix(code, "3") {
			pg.Message = "invalid input: " + canary
		}
		err := explain(fmt.Errorf("wrapped: %w", pg))
		if text := err.Error(); strings.Contains(text, canary) || text == "" {
			t.Errorf("%s: %q", code, text)
		}
		if !hasCode(err, code) {
			t.Errorf("%s: the cause is lost", code)
		}
	}
	if err := explain(fmt.Errorf("read: %w", io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "the server ended the connection") {
		t.Error(err)
	}
	if explain(nil) != nil {
		t.Error("nil is explained")
	}
	if err := explain(fmt.Errorf("read: %w", errStalled)); !errors.Is(err, errStalled) {
		t.Error(err)
	}
}

// TestExplainConnect: an attempt with TLS and one without are told once, on one
// line, and the cause is kept.
func TestExplainConnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	_, err = pgconn.Connect(t.Context(), "host=127.0.0.1 user=u dbname=d sslmode=prefer port="+port)
	err = explainConnect(t.Context(), err)
	if text := err.Error(); strings.ContainsAny(text, "\n\t") || strings.Count(text, "refused") != 1 || !strings.Contains(text, "check the host and the port") {
		t.Errorf("%q", text)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error("the cause is lost")
	}
}

func TestParseLSN(t *testing.T) {
	for s, want := range map[string]relation.LSN{"0/0": 0, "0/1A": 26, "1/0": 1 << 32, "FFFFFFFF/FFFFFFFF": math.MaxUint64, "16/B374D848": 0x16B374D848} {
		if got, err := parseLSN(s); got != want || err != nil {
			t.Errorf("%s: %x, %v; want %x", s, got, err, want)
		}
	}
	for _, s := range []string{"", "/", "1", "1/", "/1", "x/1", "1/100000000", "-1/0", "1/2/3", " 1/2"} {
		if got, err := parseLSN(s); err == nil {
			t.Errorf("%q: %x, want an error", s, got)
		}
	}
}

// TestChunksCover makes chunks of members of any size in any number, and checks
// that they cover each exactly once.
func TestChunksCover(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	int4 := &relation.Type{Schema: "pg_catalog", Name: "int4", Kind: relation.Base}
	for range 5000 {
		m := relation.Member{OID: 1, Kind: relation.Ordinary, Blocks: 1 + r.Int64N(1<<r.IntN(33))}
		n := 1 + r.IntN(1<<r.IntN(14))
		chunks := blockChunks(&m, n)
		check(t, seed, m, chunks)
		if len(chunks) > n {
			t.Errorf("seed %d: %d chunks, want at most %d", seed, len(chunks), n)
		}
		covered := int64(0)
		for i := range chunks[:len(chunks)-1] {
			covered += chunks[i].ToBlock - chunks[i].FromBlock
		}
		if covered >= m.Blocks {
			t.Errorf("seed %d: nothing is left for the last of %d chunks of %d blocks", seed, len(chunks), m.Blocks)
		}

		bounds := make([]string, 3+r.IntN(1<<r.IntN(10)))
		for i := range bounds {
			bounds[i] = strconv.Itoa(i)
		}
		chunks = valueChunks(&m, &relation.Column{Name: "c", Type: int4}, bounds, n)
		check(t, seed, m, chunks)
		for i := range chunks[:len(chunks)-1] {
			if i > 0 && number(t, chunks[i].To) <= number(t, chunks[i-1].To) {
				t.Errorf("seed %d: bounds do not ascend", seed)
			}
		}
	}
}

func check(t *testing.T, seed uint64, m relation.Member, chunks []relation.Chunk) {
	t.Helper()
	if err := relation.CheckChunks([]relation.Member{m}, chunks); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	share := 0.0
	for i := range chunks {
		share += chunks[i].Share
	}
	if math.Abs(share-1) > 1e-6 {
		t.Fatalf("seed %d: the shares of %d chunks sum up to %v", seed, len(chunks), share)
	}
}

func number(t *testing.T, s *string) int {
	t.Helper()
	n, err := strconv.Atoi(*s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestInterpolate: whatever the histogram, values stay within it and ascend
// with the fraction.
func TestInterpolate(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	histograms := [][]int64{
		{math.MinInt64, math.MaxInt64},
		{math.MinInt64, 0, math.MaxInt64},
		{math.MaxInt64 - 1, math.MaxInt64},
		{1<<62 - 1, 1<<62 + 513},
		{-1, 0, 1},
		{math.MinInt32, math.MaxInt32},
		{7, 7, 7},
	}
	for range 2000 {
		h := make([]int64, 2+r.IntN(100))
		h[0] = math.MinInt64 + r.Int64N(1<<r.IntN(63))
		for i := 1; i < len(h); i++ {
			h[i] = h[i-1] + min(r.Int64N(1<<r.IntN(63)), math.MaxInt64-max(0, h[i-1]))
		}
		histograms = append(histograms, h)
	}
	for _, h := range histograms {
		last := h[0]
		for i := range 1000 {
			got := interpolate(h, float64(i)/1000)
			if got < last || got > h[len(h)-1] {
				t.Fatalf("seed %d: %d at %d/1000, after %d, of a histogram from %d to %d", seed, got, i, last, h[0], h[len(h)-1])
			}
			last = got
		}
	}
}
