package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Expression checks an SQL expression over one row of the table and says of
// which type it is. It must be a single expression that gives the same for the
// same row on every reading, so now() and its kin become the given time.
func (s *Snapshot) Expression(ctx context.Context, t *relation.Table, sql string, now time.Time) (relation.Expression, error) {
	none := relation.Expression{}
	fixed, err := fixExpression(sql, now)
	if err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == nil {
		return none, ErrClosed
	}
	e := relation.Expression{SQL: fixed}
	e.ByCollation, e.ByEncoding = dependsOnText(fixed, t)
	err = s.holder.savepoint(ctx, func() error {
		oid, modifier, err := s.holder.typeOf(ctx, t, fixed)
		if err != nil {
			return err
		}
		if err := s.holder.checkRepeatable(ctx, t, fixed); err != nil {
			return err
		}
		types, err := (&loader{Snapshot: s}).loadTypes(ctx, []uint32{oid})
		if err != nil {
			return err
		}
		v, err := s.holder.queryOne(ctx, fmt.Sprintf("SELECT format_type(%d, %d), typtype FROM pg_type WHERE oid = %[1]d", oid, modifier))
		if err != nil {
			return err
		}
		if v[1] == "p" {
			return fmt.Errorf("it gives the pseudo-type %s, which cannot be compared; cast it", v[0])
		}
		e.Type, e.Definition = types[oid], v[0]
		return nil
	})
	return e, err
}

// overRow returns a FROM item that has the columns of the table but no rows,
// whatever the table is made of, and no system columns, whose values mean
// nothing on another server.
func overRow(t *relation.Table) string {
	return "pg_catalog.json_populate_recordset(NULL::" + t.Name.SQL() + ", '[]') AS verifierd_row"
}

// typeOf asks the server for the type of an expression.
func (s *session) typeOf(ctx context.Context, t *relation.Table, sql string) (oid uint32, modifier int32, err error) {
	d, err := s.conn.Prepare(ctx, "", "SELECT ("+sql+") FROM "+overRow(t), nil)
	if err != nil {
		return 0, 0, explain(s.cause(err))
	}
	if len(d.Fields) != 1 {
		return 0, 0, errNotSingle
	}
	return d.Fields[0].DataTypeOID, d.Fields[0].TypeModifier, nil
}

var (
	errNotSingle     = errors.New("it is not a single expression")
	errNotRepeatable = errors.New("it calls a VOLATILE function, aggregates, returns sets, or has a subquery: only what follows from the row alone can be compared")
)

// checkRepeatable returns an error unless the expression follows from the row:
// it has no volatile function, subquery, aggregate, window or set. The planner
// says so: it merges a subselect into its outer query only then.
func (s *session) checkRepeatable(ctx context.Context, t *relation.Table, sql string) error {
	v, err := s.queryOne(ctx, "EXPLAIN (FORMAT JSON, COSTS OFF) SELECT FROM (SELECT ("+sql+") AS verifierd_value FROM "+overRow(t)+
		") AS verifierd_policy WHERE verifierd_value IS NULL")
	if err != nil {
		return err
	}
	var plans []struct {
		Plan struct {
			NodeType string            `json:"Node Type"`
			Plans    []json.RawMessage `json:"Plans"`
		} `json:"Plan"`
	}
	if err := json.Unmarshal([]byte(v[0]), &plans); err != nil || len(plans) != 1 {
		return errors.New("the server's plan of it cannot be read")
	}
	if p := plans[0].Plan; len(p.Plans) > 0 || p.NodeType != "Function Scan" && p.NodeType != "Result" {
		return errNotRepeatable
	}
	return nil
}

// clockLiteral matches a string that means another time on every reading if it
// is cast to one.
var clockLiteral = regexp.MustCompile(`(?i)^\s*(now|today|tomorrow|yesterday)\b|\b(now|today|tomorrow|yesterday)\s*$`)

// What stands for the time, as words and as functions without arguments.
var (
	clockWords = map[string]string{"current_timestamp": "timestamptz", "current_date": "date", "localtimestamp": "timestamp"}
	clockCalls = []string{"now", "transaction_timestamp", "statement_timestamp"}
)

// What tells of the clock, the transaction, the session or the server rather
// than of the row: words, functions, and how the names of functions begin.
var (
	unrepeatableWords = []string{
		"current_time", "localtime", "current_user", "current_role", "session_user", "system_user", "user", "current_catalog", "current_schema",
	}
	unrepeatableCalls    = []string{"version", "current_query", "current_database", "current_schemas", "current_setting", "getdatabaseencoding"}
	unrepeatablePrefixes = []string{"pg_", "txid_", "inet_client_", "inet_server_", "has_", "to_reg"}
)

func unrepeatable(word, next string, isQuoted bool) bool {
	if next != "(" {
		return !isQuoted && slices.Contains(unrepeatableWords, word)
	}
	return slices.Contains(unrepeatableWords, word) || slices.Contains(unrepeatableCalls, word) ||
		slices.ContainsFunc(unrepeatablePrefixes, func(p string) bool { return strings.HasPrefix(word, p) })
}

// fixExpression returns an expression with the time in place of now() and its
// kin. It refuses what is not a single expression, or would not be in the
// parentheses that it is put into.
func fixExpression(sql string, now time.Time) (string, error) {
	if !utf8.ValidString(sql) || strings.ContainsRune(sql, 0) {
		return "", errors.New("it is not valid text")
	}
	tokens, err := tokenize(sql)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	var open []byte  // brackets
	var calls []call // of age, by the depth of their brackets
	words := 0
	for i := 0; i < len(tokens); i++ {
		tok := tokens[i]
		word, isQuoted := identifier(tok)
		next := nextToken(tokens, i)
		if strings.TrimSpace(tok) != "" {
			words++
		}
		switch {
		case tok == "(" || tok == "[":
			open = append(open, tok[0])
			calls = append(calls, call{age: i > 0 && strings.EqualFold(prevToken(tokens, i), "age")})
		case tok == ")" || tok == "]":
			if len(open) == 0 || (open[len(open)-1] == '(') != (tok == ")") {
				return "", fmt.Errorf("%w: its brackets do not match", errNotSingle)
			}
			if c := calls[len(calls)-1]; c.age && !c.comma {
				return "", errors.New("age() of one argument depends on the clock; write age(now(), …)")
			}
			open, calls = open[:len(open)-1], calls[:len(calls)-1]
		case tok == ",":
			if len(open) == 0 {
				return "", fmt.Errorf("%w: there is a comma outside of brackets", errNotSingle)
			}
			calls[len(calls)-1].comma = true
		case tok[0] == '\'' && clockLiteral.MatchString(strings.Trim(tok, "'")):
			return "", errors.New("a string like 'now' or 'today' depends on the clock; write now() or current_date")
		case unrepeatable(word, next, isQuoted):
			return "", fmt.Errorf("%s tells of more than the row: it may be another on every reading, or on the other side", word)
		case slices.Contains(clockCalls, word) && next == "(":
			i = skipTo(tokens, i, ")")
			if i < 0 {
				return "", fmt.Errorf("%s() takes no arguments", word)
			}
			out.WriteString(timeLiteral(now, "timestamptz"))
			continue
		case clockWords[word] != "" && !isQuoted:
			if next == "(" {
				return "", fmt.Errorf("%s with a precision cannot be compared; write date_trunc", word)
			}
			out.WriteString(timeLiteral(now, clockWords[word]))
			continue
		}
		out.WriteString(tok)
	}
	switch {
	case len(open) > 0:
		return "", fmt.Errorf("%w: its brackets do not match", errNotSingle)
	case words == 0:
		return "", errors.New("it is empty")
	}
	return out.String(), nil
}

// identifier returns what a word of SQL names, quoted or not.
func identifier(token string) (name string, isQuoted bool) {
	if token[0] != '"' {
		return strings.ToLower(token), false
	}
	return strings.ReplaceAll(strings.Trim(token, `"`), `""`, `"`), true
}

// call is what a pair of brackets holds.
type call struct{ age, comma bool }

// timeLiteral is a time in UTC, which is the time zone of all transactions.
func timeLiteral(now time.Time, sqlType string) string {
	layout := "2006-01-02 15:04:05.999999"
	switch sqlType {
	case "date":
		layout = time.DateOnly
	case "timestamptz":
		layout += "+00"
	}
	return "'" + now.UTC().Format(layout) + "'::pg_catalog." + sqlType
}

// nextToken returns the token after tokens[i], blanks left out.
func nextToken(tokens []string, i int) string {
	for _, t := range tokens[i+1:] {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}

func prevToken(tokens []string, i int) string {
	for _, t := range slices.Backward(tokens[:i]) {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}

// skipTo returns where the token after the bracket that follows tokens[i] is,
// if it is end; else -1.
func skipTo(tokens []string, i int, end string) int {
	seen := 0
	for j := i + 1; j < len(tokens); j++ {
		if strings.TrimSpace(tokens[j]) == "" {
			continue
		}
		if seen++; seen == 2 {
			if tokens[j] == end {
				return j
			}
			return -1
		}
	}
	return -1
}

// tokenize cuts SQL into words, quoted things, blanks, and single characters
// of everything else. Put together, the tokens are the SQL again. It refuses
// what could end the expression, or hide what follows it.
func tokenize(sql string) ([]string, error) {
	var tokens []string
	for len(sql) > 0 {
		n := 1
		switch c := sql[0]; {
		case isBlank(c):
			for n < len(sql) && isBlank(sql[n]) {
				n++
			}
		case isWord(c):
			for n < len(sql) && (isWord(sql[n]) || sql[n] == '$') {
				n++
			}
		case c == '\'' || c == '"':
			before := "" // what the quote follows without a blank
			if len(tokens) > 0 {
				before = strings.ToLower(tokens[len(tokens)-1])
			}
			if c == '\'' && (strings.HasPrefix(prevToken(tokens, len(tokens)), "'") || before != "" && isWord(before[0]) && !slices.Contains(prefixes, before)) {
				return nil, errors.New("it holds a string that follows another or a word; write one string")
			}
			if n = quoted(sql, c == '\'' && before == "e"); n == 0 {
				return nil, fmt.Errorf("%w: a quote is not closed", errNotSingle)
			}
		case c == ';':
			return nil, fmt.Errorf("%w: it holds a semicolon", errNotSingle)
		case c == '$':
			return nil, errors.New("it holds a parameter or a dollar quote; use single quotes")
		case strings.HasPrefix(sql, "--"), strings.HasPrefix(sql, "/*"):
			return nil, errors.New("it holds a comment")
		}
		tokens = append(tokens, sql[:n])
		sql = sql[n:]
	}
	return tokens, nil
}

func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// prefixes are the words that may stand before a string's quote.
var prefixes = []string{"e", "b", "x", "n"}

// quoted returns the length of what is quoted at the beginning of sql; 0 if
// the quote is not closed.
func quoted(sql string, escapes bool) int {
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && escapes, strings.HasPrefix(sql[i:], sql[:1]+sql[:1]):
			i++
		case sql[i] == sql[0]:
			return i + 1
		}
	}
	return 0
}
