package rowhash

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Mode names how rows become hashes. Hashes that were kept compare only with
// those of the same mode: whatever changes the canonical bytes of any type, or
// the hash of the same bytes, must change it.
const Mode = "xxh3-128/1"

// NewSeed returns a random seed, never 0.
func NewSeed() (uint64, error) {
	for {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if seed := binary.BigEndian.Uint64(b[:]); seed != 0 {
			return seed, nil
		}
	}
}

// Fingerprint returns a short text that tells seeds apart without giving them
// away: who knows a seed can make rows that collide.
func Fingerprint(seed uint64) string {
	b := binary.BigEndian.AppendUint64([]byte("verifierd seed fingerprint v1\x00"), seed)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
