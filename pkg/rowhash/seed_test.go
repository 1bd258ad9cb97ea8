package rowhash

import "testing"

func TestNewSeed(t *testing.T) {
	seen := map[uint64]bool{}
	for range 100 {
		seed, err := NewSeed()
		if err != nil || seed == 0 || seen[seed] {
			t.Fatalf("seed %d, %v", seed, err)
		}
		seen[seed] = true
	}
}

// Reports of different versions are compared by fingerprint.
func TestFingerprint(t *testing.T) {
	if got, want := Fingerprint(1), "5a5e2f1282c7"; got != want {
		t.Errorf("Fingerprint(1) = %s, want %s", got, want)
	}
	if Fingerprint(1) == Fingerprint(1<<56) {
		t.Error("two seeds have one fingerprint")
	}
}
