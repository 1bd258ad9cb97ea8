package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// EnvDirs names the environment variable with the directories searched
	// first: PostgreSQL installations or their bin directories, separated as
	// in PATH.
	EnvDirs = "VERIFIERD_PG_DIRS"

	// EnvCache names the environment variable with the directory that keeps
	// fetched binaries. See [CacheDir] for the default.
	EnvCache = "VERIFIERD_PG_CACHE"
)

// usualDirs are where distributions and installers put PostgreSQL.
var usualDirs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/Library/PostgreSQL/*/bin",
}

// Installation is a set of PostgreSQL server binaries.
type Installation struct {
	BinDir  string // directory that holds postgres and initdb
	Version string // as the binary says it, for example "15.18"
	Major   int
}

// UnavailableError says that no server of a major version could be had.
type UnavailableError struct {
	Major    int            // zero: any
	Searched []string       // where it was looked for, in order
	Found    []Installation // what was there instead
	Fetch    error          // why it could not be fetched
}

// Error names what was looked for, where, and what to do about it.
func (e *UnavailableError) Error() string {
	want := "PostgreSQL"
	if e.Major != 0 {
		want += " " + strconv.Itoa(e.Major)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "find %s: not in %s", want, strings.Join(e.Searched, ", "))
	if len(e.Found) > 0 {
		b.WriteString("; found only")
		for i, inst := range e.Found {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, " %s (%s)", inst.Version, inst.BinDir)
		}
	}
	fmt.Fprintf(&b, "; fetch it: %v. Install %s, or set %s to a directory that holds its bin/postgres",
		e.Fetch, want, EnvDirs)
	if errors.Is(e.Fetch, errNoNPM) {
		b.WriteString(", or install npm, which can fetch it")
	}
	return b.String()
}

// Unwrap returns the reason why the binaries could not be fetched.
func (e *UnavailableError) Unwrap() error { return e.Fetch }

// Find returns an installation of a major version: the first one from the
// directories in VERIFIERD_PG_DIRS, PATH, the usual folders and the cache. If
// there is none, it fetches one into the cache with npm. Major zero means the
// newest one found.
func Find(ctx context.Context, major int) (Installation, error) {
	found, searched, err := search(ctx)
	if err != nil {
		return Installation{}, err
	}
	if inst, ok := choose(found, major); ok {
		return inst, nil
	}
	inst, err := fetch(ctx, major)
	if ctx.Err() != nil {
		return Installation{}, fmt.Errorf("find PostgreSQL %d: %w", major, context.Cause(ctx))
	}
	if err != nil {
		return Installation{}, &UnavailableError{Major: major, Searched: searched, Found: found, Fetch: err}
	}
	return inst, nil
}

// Installations returns what is on this machine, in the order in which Find
// prefers it. It fetches nothing.
func Installations(ctx context.Context) ([]Installation, error) {
	found, _, err := search(ctx)
	return found, err
}

// choose picks the first installation of major, or the newest for zero.
func choose(found []Installation, major int) (Installation, bool) {
	if major == 0 && len(found) > 0 {
		return slices.MaxFunc(found, func(a, b Installation) int { return a.Major - b.Major }), true
	}
	i := slices.IndexFunc(found, func(inst Installation) bool { return inst.Major == major })
	if i < 0 {
		return Installation{}, false
	}
	return found[i], true
}

// search returns all installations in order of preference, and says in words
// where it looked.
func search(ctx context.Context) (found []Installation, searched []string, err error) {
	named, err := namedDirs()
	if err != nil {
		return nil, nil, err
	}
	dirs := append(named, filepath.SplitList(os.Getenv("PATH"))...)
	for _, pattern := range usualDirs {
		matches, _ := filepath.Glob(pattern) // the patterns are constant and well-formed
		dirs = append(dirs, matches...)
	}
	searched = []string{EnvDirs + " (unset)", "PATH", "the usual folders (" + strings.Join(usualDirs, ", ") + ")"}
	if len(named) > 0 {
		searched[0] = EnvDirs + " (" + os.Getenv(EnvDirs) + ")"
	}
	if cache, err := CacheDir(); err == nil {
		matches, _ := filepath.Glob(filepath.Join(cache, "*-"+platform(), "bin"))
		dirs = append(dirs, matches...)
		searched = append(searched, "the cache ("+cache+")")
	}

	seen := make(map[string]bool)
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue // like os/exec, take nothing from the working directory
		}
		// Symbolic links in PATH often point into one of the usual folders.
		postgres, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || seen[postgres] {
			continue
		}
		seen[postgres] = true
		inst, err := inspect(ctx, filepath.Dir(postgres))
		if err != nil {
			if slices.Contains(named, dir) {
				return nil, nil, fmt.Errorf("%s: %w", EnvDirs, err)
			}
			continue // broken, foreign or without initdb: as good as absent
		}
		found = append(found, inst)
	}
	return found, searched, ctx.Err()
}

// namedDirs returns the bin directories that VERIFIERD_PG_DIRS names. An entry
// without a server is an error: somebody meant something by it.
func namedDirs() ([]string, error) {
	var dirs []string
	for _, entry := range filepath.SplitList(os.Getenv(EnvDirs)) {
		if entry == "" {
			continue
		}
		entry, err := filepath.Abs(entry)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", EnvDirs, err)
		}
		dir := filepath.Join(entry, "bin")
		if !isFile(filepath.Join(dir, "postgres")) {
			dir = entry
		}
		if !isFile(filepath.Join(dir, "postgres")) {
			return nil, fmt.Errorf("%s: %s holds neither bin/postgres nor postgres", EnvDirs, entry)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect asks the binaries in dir for their version. It runs them as the
// account that will run the server, so that binaries which that account cannot
// reach are found out here.
func inspect(ctx context.Context, dir string) (Installation, error) {
	if !isFile(filepath.Join(dir, "initdb")) {
		return Installation{}, fmt.Errorf("inspect %s: there is no initdb beside postgres", dir)
	}
	account, err := serverAccount()
	if err != nil {
		return Installation{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = account.processAttributes()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Installation{}, fmt.Errorf("inspect %s: run postgres --version%s: %w: %s",
			dir, account.suffix(), err, strings.TrimSpace(string(out)))
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return Installation{}, fmt.Errorf("inspect %s: postgres --version says %q", dir, out)
	}
	major, err := strconv.Atoi(m[2])
	if err != nil {
		return Installation{}, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return Installation{BinDir: dir, Version: m[1], Major: major}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
