package rowhash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// Codecs of types that keep their parts in the order of the parts' bytes,
// which is another one in another encoding. Every server sends the parts in
// UTF8; these codecs put them in the order that they have there.
var (
	JSONBSorted      = Codec{kind: sortedJSONB}         // jsonb: the members of each object
	JSONBValueSorted = Codec{kind: jsonb, sorted: true} // the same with numbers as in JSONBValue
	TSVectorSorted   = Codec{kind: sortedTSVector}      // tsvector: its words
)

var errTSVector = errors.New("malformed tsvector")

// entry is a part that has its place by its key.
type entry struct{ key, whole []byte }

// sortEntries puts the entries, which lie in b one after the other with the
// separator between them, in the order of their keys.
func sortEntries(b []byte, entries []entry, separator string) {
	byKey := func(a, b entry) int { return bytes.Compare(a.key, b.key) }
	if slices.IsSortedFunc(entries, byKey) {
		return
	}
	slices.SortFunc(entries, byKey)
	sorted := make([]byte, 0, len(b))
	for i, e := range entries {
		if i > 0 {
			sorted = append(sorted, separator...)
		}
		sorted = append(sorted, e.whole...)
	}
	copy(b, sorted)
}

// sortJSONB sorts the members of all objects in a version byte and the text of
// a jsonb value.
func sortJSONB(b []byte) error {
	if len(b) == 0 || b[0] != 1 {
		return errJSONB
	}
	rest, ok := sortJSON(b[1:])
	if !ok || len(rest) > 0 {
		return errJSONB
	}
	return nil
}

// sortJSON sorts the value that b begins with, as jsonb prints it, and returns
// what follows it.
func sortJSON(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case '"':
		n := jsonString(b)
		return b[n:], n > 0
	case '[', '{':
		return sortContainer(b)
	}
	n := bytes.IndexAny(b, ",]}")
	if n < 0 {
		n = len(b)
	}
	return b[n:], n > 0
}

// sortContainer is sortJSON for arrays and objects.
func sortContainer(b []byte) (rest []byte, ok bool) {
	object, end := b[0] == '{', byte(']')
	if object {
		end = '}'
	}
	inside := b[1:]
	if len(inside) > 0 && inside[0] == end {
		return inside[1:], true
	}
	var members []entry
	for rest = inside; ; {
		member := entry{whole: rest}
		if object {
			n := jsonString(rest)
			if n == 0 || !bytes.HasPrefix(rest[n:], []byte(": ")) {
				return nil, false
			}
			member.key, rest = rest[:n], rest[n+len(": "):]
		}
		if rest, ok = sortJSON(rest); !ok || len(rest) == 0 {
			return nil, false
		}
		if object {
			member.whole = member.whole[:len(member.whole)-len(rest)]
			members = append(members, member)
		}
		if rest[0] == end {
			sortEntries(inside[:len(inside)-len(rest)], members, ", ")
			return rest[1:], true
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(", ")); !ok {
			return nil, false
		}
	}
}

// sortTSVector follows tsvectorsend: int32 number of words; of each its bytes,
// a zero byte, uint16 number of positions, uint16 positions.
func sortTSVector(b []byte) error {
	r := reader{b}
	n, ok := r.int32()
	if !ok || n < 0 {
		return errTSVector
	}
	words := r.rest
	var entries []entry
	for range n { // ends early if there are not as many
		whole := r.rest
		word := whole[:max(0, bytes.IndexByte(whole, 0))]
		if _, ok := r.take(len(word) + 1); !ok {
			return errTSVector
		}
		count, ok := r.take(2)
		if !ok {
			return errTSVector
		}
		if _, ok := r.take(2 * int(binary.BigEndian.Uint16(count))); !ok {
			return errTSVector
		}
		entries = append(entries, entry{word, whole[:len(whole)-len(r.rest)]})
	}
	if err := r.end(errTSVector); err != nil {
		return err
	}
	sortEntries(words, entries, "")
	return nil
}
