package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// DefaultWorkers is the number of connections a side that read when Options
// name none.
func DefaultWorkers() int { return snapshot.DefaultWorkers() }

// ParseRead returns the read mode of that name.
func ParseRead(s string) (snapshot.ReadMode, error) {
	switch mode := snapshot.ReadMode(s); mode {
	case snapshot.Fast, snapshot.Gentle:
		return mode, nil
	}
	return "", fmt.Errorf("read mode %q: want %s or %s", s, snapshot.Fast, snapshot.Gentle)
}

// ParseValues returns the value policy of that name.
func ParseValues(s string) (parity.ValuePolicy, error) {
	switch policy := parity.ValuePolicy(s); policy {
	case parity.ValuesNone, parity.ValuesKeys, parity.ValuesFull:
		return policy, nil
	}
	return "", fmt.Errorf("value policy %q: want %s, %s or %s", s, parity.ValuesNone, parity.ValuesKeys, parity.ValuesFull)
}

// CheckDSN reports an error if a connection string cannot be understood, and
// a warning if it leaves open whether the connection is encrypted. Neither
// repeats anything of the string that could be a secret: a misplaced quote or
// slash turns a part of a password into something else.
func CheckDSN(dsn string) (warning string, err error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "", explainDSN(dsn, err)
	}
	for name := range config.RuntimeParams {
		if !parameterName.MatchString(name) {
			return "", errors.New("connection string: a value with a space or a quote in it must stand in single quotes, as in password='it\\'s me'")
		}
	}
	// The mode prefer, which is the default, tries TLS and goes on without.
	secure, plain := config.TLSConfig != nil, config.TLSConfig == nil
	for _, other := range config.Fallbacks {
		secure, plain = secure || other.TLSConfig != nil, plain || other.TLSConfig == nil
	}
	if secure && plain && !local(config.Host) {
		return fmt.Sprintf("the connection to %s is encrypted only if the server offers it, and the server is not authenticated; sslmode=verify-full is safe", config.Host), nil
	}
	return "", nil
}

var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

func isURI(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

func explainDSN(dsn string, err error) error {
	if isURI(dsn) {
		if _, err := url.Parse(dsn); err != nil {
			return errors.New("connection string: not a valid URI; special characters in user name and password must be percent-encoded, for example / as %2F")
		}
	} else if !strings.Contains(dsn, "=") {
		return errors.New("connection string: want a URI (postgres://user@host/database) or keywords (host=… dbname=…)")
	}
	cause := err
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) && parse.Unwrap() != nil {
		cause = parse.Unwrap() // without the string itself
	} else if errors.As(err, &parse) {
		cause = errors.New("it cannot be parsed")
	}
	return fmt.Errorf("connection string: %w", cause)
}

// local reports whether a host, or the directory of a socket, is this machine.
func local(host string) bool {
	if host == "localhost" || filepath.IsAbs(host) || strings.HasPrefix(host, "@") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
