package snapshot

import (
	"crypto/rand"
	"encoding/binary"
)

func randomLockKey() ([2]int32, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return [2]int32{}, err
	}
	return [2]int32{int32(binary.BigEndian.Uint32(b[:4])), int32(binary.BigEndian.Uint32(b[4:]))}, nil
}
