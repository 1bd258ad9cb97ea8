// Package baseline reads and writes the file that a baseline is kept in. The
// file checks itself: each byte of it is covered by a checksum, what it says of
// its tables is worked out again from their leaves, and a signature, if it has
// one, covers all of its contents. docs/baselines.md describes it.
package baseline

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/verifierd/verifierd/pkg/parity"
)

// Version is that of the format that is written, and the newest that is read.
const Version = 1

// magic begins every file. Its odd bytes show transfers that took the file for
// text.
const magic = "\x89VFDBL\r\n"

const (
	headerSize   = len(magic) + 4 + 8 + 8 // magic, version, packed and unpacked length
	checksumSize = sha256.Size
	noteLength   = 4
	// maxNote bounds the note: it names one database and a few signers.
	maxNote = 1 << 16
)

// limit bounds what a file of so many bytes may unpack to, so that a small file
// cannot fill the memory. Baselines compress by far less, but for those of very
// many tables that are alike, or empty.
func limit(packed int) uint64 { return max(256<<20, 100*uint64(packed)) }

// File is a baseline as it was read, with its signatures.
type File struct {
	*parity.Baseline
	// Sum is the SHA-256 of the contents, which a signature signs.
	Sum [sha256.Size]byte
	// Note is the signed note, nil if there is none.
	Note []byte
	// Signers are the names of the keys that claim to have signed it.
	Signers []string
}

// Errors that tell apart what is wrong with a file.
var (
	ErrFormat   = errors.New("not a baseline")
	ErrDamaged  = errors.New("it is truncated or was altered: its checksum does not fit")
	ErrUnsigned = errors.New("it is not signed, and a key was given to check its signature with")
)

// NewerError says that a file's format is newer than this program.
type NewerError struct{ Version uint32 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it has format %d, and this version of verifierd reads up to %d: use a newer one", e.Version, Version)
}

// Encode returns the file of a baseline, signed if signer is not nil.
func Encode(b *parity.Baseline, signer Signer) ([]byte, error) {
	payload, err := appendPayload(nil, b)
	if err != nil {
		return nil, err
	}
	packed, err := pack(payload)
	if err != nil {
		return nil, err
	}
	if n := uint64(len(payload)); n > limit(len(packed)) {
		return nil, fmt.Errorf("the baseline takes %d bytes, more than a file may hold; capture fewer tables", n)
	}
	return seal(packed, uint64(len(payload)), func(sum [sha256.Size]byte) ([]byte, error) {
		if signer == nil {
			return nil, nil
		}
		return note.Sign(&note.Note{Text: noteText(b, sum)}, signer)
	})
}

// seal puts a file together around its packed payload.
func seal(packed []byte, unpacked uint64, sign func(sum [sha256.Size]byte) ([]byte, error)) ([]byte, error) {
	file := append([]byte(nil), magic...)
	file = binary.BigEndian.AppendUint32(file, Version)
	file = binary.BigEndian.AppendUint64(file, uint64(len(packed)))
	file = binary.BigEndian.AppendUint64(file, unpacked)
	file = append(file, packed...)
	signed, err := sign(sha256.Sum256(file))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if len(signed) > maxNote {
		return nil, fmt.Errorf("sign: a note of %d bytes", len(signed))
	}
	file = binary.BigEndian.AppendUint32(file, uint32(len(signed)))
	file = append(file, signed...)
	sum := sha256.Sum256(file)
	return append(file, sum[:]...), nil
}

// Decode reads a file. Signatures are not checked: see [File.CheckSignature].
func Decode(file []byte) (*File, error) {
	if len(file) < len(magic) || string(file[:len(magic)]) != magic {
		return nil, ErrFormat
	}
	if len(file) < headerSize+noteLength+checksumSize {
		return nil, ErrDamaged
	}
	// All versions begin with the magic and their number, and end like this.
	body, want := file[:len(file)-checksumSize], file[len(file)-checksumSize:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], want) {
		return nil, ErrDamaged
	}
	if v := binary.BigEndian.Uint32(body[len(magic):]); v != Version {
		if v > Version {
			return nil, &NewerError{v}
		}
		return nil, fmt.Errorf("%w: its format is %d, and there is none of that number", ErrFormat, v)
	}
	packedSize, unpackedSize := binary.BigEndian.Uint64(body[len(magic)+4:]), binary.BigEndian.Uint64(body[len(magic)+12:])
	rest := body[headerSize:]
	if packedSize > uint64(len(rest)-noteLength) || unpackedSize > limit(int(packedSize)) {
		return nil, fmt.Errorf("%w: its lengths do not fit", ErrFormat)
	}
	packed, signed := rest[:packedSize], rest[packedSize+noteLength:]
	if n := binary.BigEndian.Uint32(rest[packedSize:]); uint64(n) != uint64(len(signed)) || n > maxNote {
		return nil, fmt.Errorf("%w: its lengths do not fit", ErrFormat)
	}
	payload, err := unpack(packed, unpackedSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	b, err := decodePayload(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	f := &File{Baseline: b, Sum: sha256.Sum256(body[:headerSize+int(packedSize)])}
	if len(signed) > 0 {
		if err := f.open(signed); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func pack(payload []byte) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(payload)
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}

// unpack decompresses what must come to exactly so many bytes. It takes no more
// memory than arrives.
func unpack(packed []byte, size uint64) ([]byte, error) {
	in := bytes.NewReader(packed)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(z, int64(size)+1)); err != nil {
		return nil, err
	}
	if uint64(out.Len()) != size || in.Len() > 0 {
		return nil, errors.New("its contents are longer or shorter than it says")
	}
	return out.Bytes(), nil
}

// noteText is what a signature signs. It names the database for people; what
// binds the contents is the sum.
func noteText(b *parity.Baseline, sum [sha256.Size]byte) string {
	return fmt.Sprintf("verifierd baseline\nsha256 %x\ndatabase %s system %s\ncaptured %s at %s\ntables %d rows %d\n",
		sum, strconv.QuoteToASCII(b.Server.Database), strconv.QuoteToASCII(b.Server.SystemIdentifier),
		b.Moment.TakenAt.UTC().Format(time.RFC3339), strconv.QuoteToASCII(b.Moment.LSNText), len(b.Contents), b.Rows())
}

// open takes the note apart without checking its signatures.
func (f *File) open(signed []byte) error {
	_, err := note.Open(signed, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return fmt.Errorf("%w: its signature is malformed", ErrFormat)
	}
	if unverified.Note.Text != noteText(f.Baseline, f.Sum) {
		return errors.New("its signature is one of other contents: the file was altered")
	}
	f.Note = signed
	for _, s := range unverified.Note.UnverifiedSigs {
		f.Signers = append(f.Signers, s.Name)
	}
	return nil
}

// CheckSignature reports an error unless the key's owner signed the file.
func (f *File) CheckSignature(key note.Verifier) error {
	if f.Note == nil {
		return ErrUnsigned
	}
	_, err := note.Open(f.Note, note.VerifierList(key))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return fmt.Errorf("it is signed by another key (%s) than the one given (%s)", quoted(f.Signers), strconv.Quote(key.Name()))
	case errors.As(err, &invalid):
		return fmt.Errorf("the signature of %s is wrong: the file was altered, or another key signed it", strconv.Quote(key.Name()))
	}
	return err
}

func quoted(names []string) string {
	var b []byte
	for i, n := range names {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, n)
	}
	return string(b)
}

// Seal says who signed the file, and that it was not checked.
func (f *File) Seal() string {
	if f.Note == nil {
		return "not signed"
	}
	return "signed by " + quoted(f.Signers) + "; the signature was not checked: give --key"
}
