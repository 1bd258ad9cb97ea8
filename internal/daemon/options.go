package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// DefaultWorkers is the number of connections a side that read when Options
// name none.
func DefaultWorkers() int { return snapshot.DefaultWorkers() }

// ReadModes lists the names of the read modes, the default first.
func ReadModes() []string { return []string{string(snapshot.Fast), string(snapshot.Gentle)} }

// ParseRead returns the read mode of that name.
func ParseRead(s string) (snapshot.ReadMode, error) {
	if slices.Contains(ReadModes(), s) {
		return snapshot.ReadMode(s), nil
	}
	return "", fmt.Errorf("read mode %q: want %s", s, strings.Join(ReadModes(), " or "))
}

// ValuePolicies lists the names of the value policies.
func ValuePolicies() []string {
	return []string{string(parity.ValuesNone), string(parity.ValuesKeys), string(parity.ValuesFull)}
}

// ParseValues returns the value policy of that name.
func ParseValues(s string) (parity.ValuePolicy, error) {
	if slices.Contains(ValuePolicies(), s) {
		return parity.ValuePolicy(s), nil
	}
	return "", fmt.Errorf("value policy %q: want %s, %s or %s", s, parity.ValuesNone, parity.ValuesKeys, parity.ValuesFull)
}

// Checks lists the names of the checks.
func Checks() []string {
	names := make([]string, len(parity.Checks))
	for i, c := range parity.Checks {
		names[i] = string(c)
	}
	return names
}

// ParseChecks returns the checks of those names.
func ParseChecks(names []string) ([]parity.Check, error) {
	checks := make([]parity.Check, len(names))
	for i, s := range names {
		if !slices.Contains(Checks(), s) {
			return nil, fmt.Errorf("check %q: want %s", s, strings.Join(Checks(), ", "))
		}
		checks[i] = parity.Check(s)
	}
	return checks, nil
}

// CheckDSN reports an error if a connection string cannot be understood, and
// a warning if it leaves open whether the connection is encrypted. The error
// repeats no syntax that was not understood: a misplaced quote or slash makes a
// part of the password look like something else.
func CheckDSN(dsn string) (warning string, err error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "", explainDSN(dsn, err)
	}
	if isURI(dsn) && strings.Contains(config.Host, "@") {
		return "", errURI
	}
	// The mode prefer, which is the default, tries TLS and goes on without.
	secure, plain := config.TLSConfig != nil, config.TLSConfig == nil
	for _, other := range config.Fallbacks {
		secure, plain = secure || other.TLSConfig != nil, plain || other.TLSConfig == nil
	}
	if secure && plain && !local(config.Host) {
		return fmt.Sprintf("the connection to %s may end up unencrypted, and nobody checks that it is that server's: set sslmode=verify-full", config.Host), nil
	}
	return "", nil
}

var (
	errURI = errors.New("connection string: not a valid URI; special characters in user name and password must be percent-encoded, as in %40 for @")

	errKeywords = errors.New(`connection string: want a URI, as in postgres://user@host/database, or keywords, as in "host=… dbname=…"; a value with spaces stands in single quotes`)
)

func isURI(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

func explainDSN(dsn string, err error) error {
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return fmt.Errorf("connection string: %w", err)
	}
	// What stands before the cause repeats the string, redacted as well as
	// can be; whoever typed it knows it.
	prefix := pgconn.NewParseConfigError(parse.ConnString, "", nil).Error()
	cause := strings.TrimPrefix(parse.Error(), prefix)
	switch {
	case strings.Contains(cause, "failed to read service file: "):
		_, file, _ := strings.Cut(strings.TrimSuffix(cause, ")"), "failed to read service file: ")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("connection string: it names a service, and the service file %s does not exist; create it, or set PGSERVICEFILE", file)
		}
		return fmt.Errorf("connection string: it names a service, and the service file %s cannot be read: check its permissions and its form", file)
	case strings.Contains(cause, "unable to find service: "):
		_, name, _ := strings.Cut(strings.TrimSuffix(cause, ")"), "unable to find service: ")
		return fmt.Errorf("connection string: the service file has no service [%s]", name)
	case !strings.HasPrefix(cause, "failed to parse as "):
		return fmt.Errorf("connection string: %s", cause)
	case isURI(dsn):
		return errURI
	}
	return errKeywords
}

// local reports whether a host, or the directory of a socket, is this machine.
func local(host string) bool {
	if host == "localhost" || filepath.IsAbs(host) || strings.HasPrefix(host, "@") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
