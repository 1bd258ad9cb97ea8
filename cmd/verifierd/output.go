package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is where a report goes: standard output or a file.
type output struct {
	path   string // empty: standard output
	stdout io.Writer
	direct *os.File // a file that is written in place
}

// openOutput makes sure that a report can be written to path, before a pass
// that may take hours begins. An empty path is standard output.
func openOutput(path string, stdout io.Writer) (*output, error) {
	o := &output{path: path, stdout: stdout}
	if path == "" {
		return o, nil
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		o.path = resolved // a rename would replace the link
	}
	info, err := os.Stat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, outError(err)
	case info.IsDir():
		return nil, outError(&fs.PathError{Op: "write", Path: path, Err: errors.New("is a directory")})
	case !info.Mode().IsRegular():
		_, err := o.open() // a device or a pipe: not to be replaced
		return o, err
	default:
		f, err := os.OpenFile(o.path, os.O_WRONLY, 0)
		if err != nil {
			return nil, outError(err)
		}
		_ = f.Close() // nothing was written
	}
	probe, err := o.aside()
	if err != nil {
		return nil, outError(err)
	}
	_ = probe.Close() // nothing was written
	os.Remove(probe.Name())
	return o, nil
}

func outError(err error) error { return fmt.Errorf("--out: %w", err) }

// private is the mode of a new report: it holds keys, and perhaps values, that
// others on this machine may have no right to read in the database.
const private = 0o600

// aside creates a file next to the output.
func (o *output) aside() (*os.File, error) {
	name := fmt.Sprintf(".%s.%s", filepath.Base(o.path), rand.Text()[:8])
	f, err := os.OpenFile(filepath.Join(filepath.Dir(o.path), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
	var path *fs.PathError
	if errors.As(err, &path) {
		path.Path = o.path // nobody asked for the file next to it
	}
	return f, err
}

// open returns the output for writing bit by bit: it is written in place.
func (o *output) open() (io.Writer, error) {
	if o.path == "" {
		return o.stdout, nil
	}
	f, err := os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private)
	if err != nil {
		return nil, outError(err)
	}
	o.direct = f
	return f, nil
}

// write writes the report with f. A file appears complete or not at all,
// unless it was opened to be written bit by bit.
func (o *output) write(f func(io.Writer) error) error {
	if o.path == "" {
		return reportError(buffered(o.stdout, f))
	}
	if o.direct != nil {
		return reportError(errors.Join(buffered(o.direct, f), o.direct.Close()))
	}
	file, err := o.aside()
	if err != nil {
		return reportError(err)
	}
	err = buffered(file, f)
	if info, statErr := os.Stat(o.path); statErr == nil { // keep what its owner has set
		err = errors.Join(err, file.Chmod(info.Mode().Perm()))
	}
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), o.path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return reportError(err)
}

func buffered(w io.Writer, f func(io.Writer) error) error {
	b := bufio.NewWriter(w)
	return errors.Join(f(b), b.Flush())
}

func reportError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the report: %w", err)
}
