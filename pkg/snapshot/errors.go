package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	errStalled = errors.New("the server sent nothing for too long (see --stall-timeout); the connection was closed")
	// ErrClosed is returned by a Database or Snapshot that was closed.
	ErrClosed = errors.New("snapshot is closed")
)

// TableError says why one table could not be read, and what would help. It
// concerns that table alone.
type TableError struct {
	Reason string
	Hint   string // what to do; may be empty
	Err    error  // the cause; may be nil
}

func (e *TableError) Error() string {
	if e.Hint == "" {
		return e.Reason
	}
	return e.Reason + "; " + e.Hint
}

func (e *TableError) Unwrap() error { return e.Err }

// explainConnect adds what to do about a connection that was not made.
func explainConnect(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	var dns *net.DNSError
	hint := ""
	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &pg):
		hint = map[string]string{
			"28P01": "check the user and the password",
			"28000": "check the user, and pg_hba.conf on the server",
			"3D000": "check the name of the database",
			"53300": "use fewer workers, or raise max_connections",
		}[pg.Code]
	case errors.As(err, &dns):
		hint = "check the host"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "check the host and the port, and that the server runs and listens there"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		hint = "check the host, the port and the firewalls between"
	}
	text := attempts(err)
	if hint != "" {
		text += "; " + hint
	}
	return &serverError{text: text, cause: err}
}

// attempts puts the error of a connection on one line. It has a line for each
// attempt, and those with TLS and without mostly fail alike.
func attempts(err error) string {
	first, rest, several := strings.Cut(err.Error(), "\n")
	if !several {
		return first
	}
	var lines []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return first + " " + strings.Join(lines, "; ")
}

// SQLSTATE codes that get an explanation of their own.
const (
	codeLockNotAvailable      = "55P03"
	codeInsufficientPrivilege = "42501"
	codeQueryCanceled         = "57014"
	codeAdminShutdown         = "57P01"
	codeCrashShutdown         = "57P02"
	codeUndefinedTable        = "42P01"
	codeUndefinedColumn       = "42703"
	codeBadEncoding           = "22021"
	codeUntranslatable        = "22P05"
	codeSerialization         = "40001"
	codeOutOfMemory           = "53200"
	codeUndefinedFunction     = "42883"
	codeUndefinedObject       = "42704"
	codeDataCorrupted         = "XX001"
	codeIndexCorrupted        = "XX002"
)

// explain turns an error of the server or the network into words for people.
// It keeps the cause, and shows no row value: PostgreSQL puts those into
// DETAIL, HINT and CONTEXT, which are dropped. The messages of data errors may
// hold values too, and are replaced.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errStalled) {
		return errStalled
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
	case errors.Is(err, io.ErrUnexpectedEOF):
		// A backend that is terminated while it sends cannot say so.
		return fmt.Errorf("the server ended the connection: %w", err)
	default:
		return err
	}
	text := explainCode(pg)
	return &serverError{text: text, cause: err, code: pg.Code}
}

func explainCode(pg *pgconn.PgError) string {
	switch pg.Code {
	case codeLockNotAvailable:
		return "another session holds or awaits a lock that conflicts with reading (DDL under way?); try again when it has ended"
	case codeAdminShutdown:
		return "the server ended the connection: " + pg.Message
	case codeCrashShutdown:
		return "the server is restarting after a crash: " + pg.Message
	case codeSerialization, codeQueryCanceled:
		if strings.Contains(pg.Message, "conflict with recovery") {
			return "the standby cancelled the read because it conflicts with recovery; set hot_standby_feedback or pause replay"
		}
		return "the server cancelled the query: " + pg.Message
	case codeBadEncoding, codeUntranslatable:
		return "the table holds text that is not valid in its encoding or cannot be converted to UTF8"
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "22", "23", "38", "39", "P0": // of data, and what functions raise
		if name := dataErrors[pg.Code]; name != "" {
			return fmt.Sprintf("the server reported a data error: %s (SQLSTATE %s)", name, pg.Code)
		}
		return fmt.Sprintf("the server reported a data error (SQLSTATE %s)", pg.Code)
	}
	return fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
}

// dataErrors are PostgreSQL's names of the conditions that conditions and casts
// run into, in place of its messages.
var dataErrors = map[string]string{
	"22001": "string too long for the type",
	"22003": "numeric value out of range",
	"22004": "null value not allowed",
	"22007": "invalid format of a date or time",
	"22008": "date or time out of range",
	"22011": "invalid use of substring",
	"22012": "division by zero",
	"22019": "invalid escape character",
	"2201B": "invalid regular expression",
	"2201E": "invalid argument for a logarithm",
	"2201F": "invalid argument for a power",
	"22023": "invalid parameter value",
	"22025": "invalid escape sequence",
	"2202E": "invalid array subscript",
	"22032": "invalid JSON text",
	"22P02": "invalid input syntax for the type",
	"22P03": "invalid binary representation",
	"23502": "null in a domain that allows none",
	"23514": "value that its domain's check refuses",
}

type serverError struct {
	text  string
	cause error
	code  string
}

func (e *serverError) Error() string { return e.text }
func (e *serverError) Unwrap() error { return e.cause }

// hasCode reports whether err came from the server with that SQLSTATE.
func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
