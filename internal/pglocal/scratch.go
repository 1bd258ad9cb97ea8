package pglocal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

const (
	scratchPrefix = "verifierd-pg-"
	ownerLock     = "owner.lock"
)

// A scratch is the temporary directory of one server. A file in it stays
// locked as long as its owner lives, so that directories of owners that were
// killed can be told from those in use. The lock, unlike a process id, cannot
// be mistaken for that of a later process.
type scratch struct {
	dir  string
	lock *os.File
}

// newScratch creates a directory that belongs to the account.
func newScratch(a account) (*scratch, error) {
	base, err := scratchBase(a)
	if err != nil {
		return nil, err
	}
	sweepOnce(base)
	// An attempt fails if another process, sweeping, takes the directory for
	// an abandoned one before it is locked.
	for range 10 {
		s, err := lockNewScratch(base)
		if err != nil {
			return nil, fmt.Errorf("create a directory for the server: %w", err)
		}
		if s == nil {
			continue
		}
		if err := a.own(s.dir); err != nil {
			return nil, errors.Join(fmt.Errorf("give the server's directory to %s: %w", a.name, err), s.remove())
		}
		return s, nil
	}
	return nil, fmt.Errorf("create a directory for the server in %s: other processes keep removing it", base)
}

// lockNewScratch returns nil if the new directory was lost to a sweeper.
func lockNewScratch(base string) (*scratch, error) {
	dir, err := os.MkdirTemp(base, scratchPrefix)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, ownerLock)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held, err := tryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if !held || !isFile(name) {
		_ = f.Close()
		return nil, nil
	}
	return &scratch{dir: dir, lock: f}, nil
}

// remove deletes the directory and gives the lock back. It may be called twice.
func (s *scratch) remove() error {
	// The lock goes last: until then no sweeper competes.
	err := os.RemoveAll(s.dir)
	_ = s.lock.Close()
	return err
}

// scratchBase returns the directory for temporary directories: the system's,
// or a common one if the account cannot enter that.
func scratchBase(a account) (string, error) {
	bases := slices.Compact([]string{filepath.Clean(os.TempDir()), "/tmp", "/var/tmp"})
	for _, base := range bases {
		if a.reaches(base) {
			return base, nil
		}
	}
	return "", fmt.Errorf("find a temporary directory: account %s can enter none of %v; set TMPDIR to one it can",
		a.name, bases)
}

var sweeps sync.Map // base directory to *sync.Once

func sweepOnce(base string) {
	once, _ := sweeps.LoadOrStore(base, new(sync.Once))
	once.(*sync.Once).Do(func() { sweep(base) })
}

// sweep removes the directories whose owners are gone. Where a server of such
// an owner still runs, it shuts itself down once it misses its directory. What
// cannot be removed belongs to other users.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, scratchPrefix+"*")) // cannot fail: the pattern is well-formed
	for _, dir := range dirs {
		f, err := os.OpenFile(filepath.Join(dir, ownerLock), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(dir) // succeeds only if empty
			continue
		}
		if err != nil {
			continue
		}
		if held, _ := tryLock(f); held {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}
