// Package config reads the configuration file: what to compare, with what
// policies, and how. It knows no database; what a connection string or an SQL
// condition means is for others to find out.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// MaxWorkers is far beyond what speeds up anything, and keeps a slip of the
// finger from taking all of a server's connections.
const MaxWorkers = 256

const (
	maxFile   = 1 << 20
	maxSecret = 64 << 10
)

// Config is a configuration file, checked as far as that goes without a
// database.
type Config struct {
	Migrations map[string]*Migration
	// MaxRate is limits.bytes_per_s, for each side; nil: not set.
	MaxRate *int64
	// Warnings are what is allowed, but unwise.
	Warnings []string
}

// Migration is a source, a target, and what of them to compare.
type Migration struct {
	Name string
	// DSN are the sides' connection strings, and DSNAt where in the file each
	// comes from, for errors about them.
	DSN, DSNAt [2]string
	// Tables and Exclude select tables by the source's names. Groups, if any,
	// stand in their place. Nothing of it: all that users made.
	Tables, Exclude []relation.Pattern
	Groups          []Group
	// Map names tables that are called otherwise on the target.
	Map map[relation.Name]relation.Name
	// Policies are the tables' columns keys, by the source's names.
	Policies map[relation.Name]Policy
	Severity Severity
	Schema   Schema
	Verify   Verify
	// References are foreign keys that the schema does not hold, by the source's
	// names.
	References []relation.ForeignKey
}

// Schema says how definitions are compared.
type Schema struct {
	Ignore   []relation.ObjectPattern // differences that are not reported
	Comments bool                     // what COMMENT ON says is compared, too
}

// Severity says what each kind of finding does to the verdict: fail, warn or
// ignore. What is empty is not set in the file.
type Severity struct {
	Orphans, SourceOrphans, SchemaBreaks, SchemaDrift, SequenceBehind, Corruption string
}

// Group is a named set of tables.
type Group struct {
	Name            string
	Tables, Exclude []relation.Pattern
}

// Policy says how one table is compared where the defaults do not serve. Its
// fields are those of the policy that the comparison takes.
type Policy struct {
	Columns map[string]string    // names on the source to names on the target
	Exclude []string             // not compared
	Value   []string             // compared by value rather than strictly
	Cast    map[string][2]string // SQL in place of a column; "": the column itself
	Where   [2]string            // SQL condition for rows; "": every row
	Key     []string             // columns that identify a row
}

// Verify says how a pass is made. What is nil is not set in the file.
type Verify struct {
	Timeout, Recheck, StallTimeout *time.Duration
	Snapshot, Read, Values         *string
	Workers                        *int
	IgnoreLargeObjects             *bool
	Amcheck                        *bool
	SkipChecks                     []string
}

// Load reads and checks a configuration file, and the secret files that it
// names. The error has a line for each problem, with its place in the file. It
// repeats no value: that may be a secret, or have come out of one.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read the configuration: %s is larger than %d bytes", path, maxFile)
	}
	return parse(path, data, outside{os.LookupEnv, readSecret})
}

// Migration returns the migration of that name. An empty name is the only one
// that there is.
func (c *Config) Migration(name string) (*Migration, error) {
	names := slices.Sorted(maps.Keys(c.Migrations))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	switch m := c.Migrations[name]; {
	case m != nil:
		return m, nil
	case name == "":
		return nil, fmt.Errorf("the file holds several migrations: choose one of %s", strings.Join(names, ", "))
	default:
		return nil, fmt.Errorf("the file holds no migration %q, only %s", name, strings.Join(names, ", "))
	}
}

// outside is what values of the file may come from.
type outside struct {
	env    func(name string) (value string, set bool)
	secret func(path string) (text, warning string, err error)
}

// readSecret reads a secret from a file: all of it, but for one newline at the
// end, which editors add.
func readSecret(path string) (text, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	// Not refused: orchestrators mount secrets so, where nobody else looks.
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode()&0o004 != 0 {
		warning = fmt.Sprintf("every user of this machine may read the secret in %s: chmod 600 it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", "", err
	}
	if len(data) > maxSecret {
		return "", "", fmt.Errorf("larger than %d bytes: is it the right file?", maxSecret)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", "", errors.New("the file is empty")
	}
	return text, warning, nil
}

// besides resolves a path that a file names: relative to that file.
func besides(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
