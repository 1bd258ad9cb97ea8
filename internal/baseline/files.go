package baseline

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// maxFile bounds what is read into memory: it is the size of a baseline of some
// thousand of the largest tables.
const maxFile = 4 << 30

// Read reads and checks the file at path.
func Read(path string) (*File, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// What is no baseline may be of any size, or a device.
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	} else if err != nil || string(head) != magic {
		return nil, fmt.Errorf("%s: %w", path, ErrFormat)
	}
	rest, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	if len(rest) == maxFile {
		return nil, fmt.Errorf("%s: it is larger than a baseline can be", path)
	}
	return append(head, rest...), nil
}

// CheckWritable reports an error if Write would fail, as far as that can be
// told before there is anything to write.
func CheckWritable(path string, replace bool) error {
	if err := checkReplaceable(path, replace); err != nil {
		return err
	}
	f, err := aside(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// checkReplaceable reports an error if there is a file that is not to be
// replaced, or what can be no file.
func checkReplaceable(path string, replace bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no ordinary file", path)
	case !replace:
		return fmt.Errorf("%s exists already; give another name, or --force to replace it", path)
	}
	return nil
}

// checkAbsent reports an error if there is something of that name: a key that
// was replaced would check no signature any more.
func checkAbsent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s exists already; give another name", path)
}

// Write writes a file that only its owner may read. It appears whole or not at
// all.
func Write(path string, data []byte, replace bool) error {
	if err := checkReplaceable(path, replace); err != nil {
		return err
	}
	f, err := aside(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func aside(path string) (*os.File, error) {
	name := fmt.Sprintf(".%s.%s", filepath.Base(path), rand.Text()[:8])
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		pathError.Path = path // nobody asked for the file next to it
	}
	return f, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// privateKey is how a key that signs begins.
const privateKey = "PRIVATE+KEY+"

// Signer signs baselines.
type Signer = note.Signer

// ReadSigner reads the key that signs from a file.
func ReadSigner(path string) (Signer, error) {
	text, err := readKey(path)
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(text)
	if err != nil && !strings.HasPrefix(text, privateKey) {
		return nil, fmt.Errorf("%s holds no private key, which signing takes; verifierd baseline keygen makes one", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the key is malformed", path)
	}
	return s, nil
}

// ReadVerifier returns the key that checks signatures: text is the key itself,
// or the name of a file that holds it.
func ReadVerifier(text string) (note.Verifier, error) {
	if v, err := note.NewVerifier(text); err == nil {
		return v, nil
	}
	key, err := readKey(text)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(key)
	if err != nil && strings.HasPrefix(key, privateKey) {
		return nil, fmt.Errorf("%s holds a private key; give the public one", text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the key is malformed", text)
	}
	return v, nil
}

func readKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) && strings.HasPrefix(path, privateKey) {
			pathError.Path = "a key" // it stands on the command line in the place of a file
		}
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimSpace(string(text)), err
}

// WriteKeys makes a pair of keys of that name and writes them to two files, the
// private one so that only its owner may read it. Neither may exist.
func WriteKeys(name, private, public string) (verifier string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return "", fmt.Errorf("name %q: want one without spaces and plus signs", name)
	}
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", err
	}
	if _, err := note.NewVerifier(verifier); err != nil {
		return "", fmt.Errorf("name %q: want one without spaces and plus signs", name)
	}
	if err := errors.Join(checkAbsent(private), checkAbsent(public)); err != nil {
		return "", err
	}
	if err := Write(private, []byte(secret+"\n"), false); err != nil {
		return "", err
	}
	if err := Write(public, []byte(verifier+"\n"), false); err != nil {
		return "", err
	}
	return verifier, os.Chmod(public, 0o644)
}
