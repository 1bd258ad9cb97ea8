package snapshot

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var wellFormedLSN = regexp.MustCompile(`^0*[0-9A-Fa-f]{1,8}/0*[0-9A-Fa-f]{1,8}$`)

// FuzzParseLSN: exactly what PostgreSQL writes is read, and is written so.
func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/100000000", "0/", "/", "1", "-1/0", "0x1/0", "1/2/3", " 0/0", "1_0/0", "+1/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lsn, err := parseLSN(s)
		if want := wellFormedLSN.MatchString(s); want != (err == nil) {
			t.Fatalf("%q: %v, want it read: %t", s, err, want)
		}
		if err != nil {
			return
		}
		hi, lo, _ := strings.Cut(s, "/")
		want := strings.ToUpper(orZero(strings.TrimLeft(hi, "0")) + "/" + orZero(strings.TrimLeft(lo, "0")))
		if got := fmt.Sprintf("%X/%X", uint64(lsn)>>32, uint64(lsn)&0xffffffff); got != want {
			t.Fatalf("%q is read as %s", s, got)
		}
	})
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
