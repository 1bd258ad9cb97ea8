package config

import (
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// parse reads a configuration file. path is its name for errors, and what the
// files that it names are relative to.
func parse(path string, data []byte, o outside) (*Config, error) {
	d := &document{path: path, outside: o}
	c := &Config{Migrations: make(map[string]*Migration)}
	if root := d.read(data); root != nil {
		found := d.keys(*root, fields{
			"limits": func(v item) {
				d.keys(v, fields{"bytes_per_s": into(d, &c.MaxRate, ParseRate)}, unsupported{
					"connections": "set verify.workers", "rows_per_s": "set bytes_per_s",
				})
			},
			"migrations": func(v item) {
				d.each(v, func(name string, v item) { c.Migrations[name] = d.migration(name, v) })
			},
		}, unsupported{"listen": "", "state": "", "tokens": "", "signals": "", "actions": ""})
		if !found["migrations"] {
			d.wrong(*root, "migrations is missing: name a source and a target there")
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	c.Warnings = d.warnings
	return c, nil
}

var migrationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (d *document) migration(name string, v item) *Migration {
	m := &Migration{Name: name}
	if !migrationName.MatchString(name) {
		d.wrong(v, "the name of a migration is made of letters, digits, and - _ . after the first")
	}
	side := func(s relation.Side) func(item) {
		return func(v item) { m.DSN[s], m.DSNAt[s] = d.side(v) }
	}
	found := d.keys(v, fields{
		"source":  side(relation.Source),
		"target":  side(relation.Target),
		"tables":  func(v item) { m.Tables = d.patterns(v) },
		"exclude": func(v item) { m.Exclude = d.patterns(v) },
		"groups": func(v item) {
			d.each(v, func(name string, v item) { m.Groups = append(m.Groups, d.group(name, v)) })
		},
		"map":     func(v item) { m.Map = d.tableMap(v) },
		"columns": func(v item) { m.Policies = d.policies(v) },
		"references": func(v item) {
			d.list(v, func(v item) { m.References = append(m.References, d.reference(v)) })
		},
		"severity": func(v item) { m.Severity = d.severity(v) },
		"schema":   func(v item) { m.Schema = d.schema(v) },
		"verify":   func(v item) { m.Verify = d.verify(v) },
	}, unsupported{"gate": "", "baselines": "", "playbook": ""})
	for _, s := range relation.Sides {
		if !found[s.String()] {
			d.wrong(v, "%s is missing: say which database it is, with dsn or dsn_file", s)
		}
	}
	if found["groups"] && (found["tables"] || found["exclude"]) {
		d.wrong(v, "groups stand in place of tables and exclude: say those in the groups")
	}
	return m
}

// side reads where a database is.
func (d *document) side(v item) (dsn, at string) {
	place := func(v item) { at = d.place(v) }
	found := d.keys(v, fields{
		"dsn": func(v item) {
			place(v)
			dsn, _ = d.text(v)
		},
		"dsn_file": func(v item) {
			place(v)
			dsn = d.secretFile(v)
		},
	}, nil)
	if found["dsn"] == found["dsn_file"] {
		d.wrong(v, "want either dsn, a connection string, or dsn_file, a file that holds it")
	}
	return dsn, at
}

func (d *document) place(v item) string {
	return strings.Join([]string{d.path, strconv.Itoa(v.node.Line), strconv.Itoa(v.node.Column)}, ":") + ": " + v.at
}

func (d *document) secretFile(v item) string {
	path, ok := d.text(v)
	if !ok {
		return ""
	}
	text, warning, err := d.secret(besides(d.path, path))
	if err != nil {
		d.wrong(v, "%w", err)
		return ""
	}
	if warning != "" && !slices.Contains(d.warnings, warning) {
		d.warnings = append(d.warnings, warning)
	}
	return text
}

func (d *document) group(name string, v item) Group {
	g := Group{Name: name}
	found := d.keys(v, fields{
		"tables":  func(v item) { g.Tables = d.patterns(v) },
		"exclude": func(v item) { g.Exclude = d.patterns(v) },
	}, nil)
	if !found["tables"] {
		d.wrong(v, "tables is missing: say which tables the group holds")
	}
	return g
}

func (d *document) patterns(v item) []relation.Pattern {
	var patterns []relation.Pattern
	d.list(v, func(v item) {
		s, ok := d.text(v)
		if !ok {
			return
		}
		p, err := relation.ParsePattern(s)
		if err != nil {
			d.wrong(v, "not a pattern for tables%s: want schema.table, with * for any characters", cause(err))
			return
		}
		patterns = append(patterns, p)
	})
	return patterns
}

// cause is what is wrong with a name, without the name.
func cause(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		return " (" + inner.Error() + ")"
	}
	return ""
}

func (d *document) name(v item, s string) (relation.Name, bool) {
	p, err := relation.ParsePattern(s)
	if err != nil {
		d.wrong(v, "not the name of a table%s: want schema.table", cause(err))
		return relation.Name{}, false
	}
	name, exact := p.Exact()
	if !exact {
		d.wrong(v, "want the name of one table; put a part that holds a * in double quotes")
	}
	return name, exact
}

func (d *document) tableMap(v item) map[relation.Name]relation.Name {
	mapped, from := make(map[relation.Name]relation.Name), make(map[relation.Name]relation.Name)
	d.each(v, func(key string, v item) {
		source, ok := d.name(v, key)
		s, isText := d.text(v)
		if !ok || !isText {
			return
		}
		target, ok := d.name(v, s)
		if !ok {
			return
		}
		if _, twice := mapped[source]; twice {
			d.wrong(v, "the table %s is mapped twice", source)
		}
		if other, twice := from[target]; twice {
			d.wrong(v, "the table %s is mapped to the same one", other)
		}
		mapped[source], from[target] = target, source
	})
	return mapped
}

func (d *document) policies(v item) map[relation.Name]Policy {
	policies := make(map[relation.Name]Policy)
	d.each(v, func(key string, v item) {
		table, ok := d.name(v, key)
		if !ok {
			return
		}
		if _, twice := policies[table]; twice {
			d.wrong(v, "the columns of table %s stand here for the second time", table)
		}
		policies[table] = d.policy(v)
	})
	return policies
}

func (d *document) policy(v item) Policy {
	var p Policy
	d.keys(v, fields{
		"map":     func(v item) { p.Columns = d.columnMap(v) },
		"exclude": func(v item) { p.Exclude = d.columnList(v) },
		"value":   func(v item) { p.Value = d.columnList(v) },
		"cast":    func(v item) { p.Cast = d.casts(v) },
		"where":   func(v item) { p.Where = d.where(v) },
		"key":     func(v item) { p.Key = d.columnList(v) },
	}, nil)
	// What is not compared cannot be compared in a certain way.
	excluded := make(map[string]bool)
	for _, column := range p.Exclude {
		excluded[column] = true
	}
	for _, other := range []struct {
		key     string
		columns []string
	}{{"value", p.Value}, {"cast", slices.Sorted(maps.Keys(p.Cast))}, {"key", p.Key}} {
		for _, column := range other.columns {
			if excluded[column] {
				d.wrong(v, "column %s stands in exclude and in %s", relation.QuoteIdent(column), other.key)
			}
		}
	}
	return p
}

// reference reads a foreign key that the schema does not hold: where it leads
// from and to, each as schema.table(column, …).
func (d *document) reference(v item) relation.ForeignKey {
	var ends [2]string
	k := relation.ForeignKey{Declared: true}
	end := func(i int, table *relation.Name, columns *[]string) func(item) {
		return func(v item) {
			s, ok := d.text(v)
			if !ok {
				return
			}
			ends[i] = s
			var err error
			if *table, *columns, err = relation.ParseColumns(s); err != nil {
				d.wrong(v, "%w", err)
			}
		}
	}
	found := d.keys(v, fields{
		"from": end(0, &k.Table, &k.Columns),
		"to":   end(1, &k.References, &k.Referenced),
	}, nil)
	switch {
	case !found["from"] || !found["to"]:
		d.wrong(v, "want from and to, each as schema.table(column, …)")
	case len(k.Columns) > 0 && len(k.Referenced) > 0 && len(k.Columns) != len(k.Referenced):
		d.wrong(v, "from and to name different numbers of columns")
	}
	k.Name = ends[0] + " -> " + ends[1]
	return k
}

func (d *document) columnList(v item) []string {
	var columns []string
	seen := make(map[string]bool)
	d.list(v, func(v item) {
		s, ok := d.text(v)
		if ok && seen[s] {
			d.wrong(v, "the column stands here for the second time")
		}
		seen[s] = true
		columns = append(columns, s)
	})
	return columns
}

func (d *document) columnMap(v item) map[string]string {
	columns, from := make(map[string]string), make(map[string]string)
	d.each(v, func(source string, v item) {
		target, ok := d.text(v)
		if other, twice := from[target]; ok && twice {
			d.wrong(v, "column %s is mapped to the same one", relation.QuoteIdent(other))
		}
		columns[source], from[target] = target, source
	})
	return columns
}

func (d *document) casts(v item) map[string][2]string {
	casts := make(map[string][2]string)
	d.each(v, func(column string, v item) { casts[column] = d.sides(v) })
	return casts
}

func (d *document) sides(v item) (sql [2]string) {
	d.keys(v, fields{
		"source": func(v item) { sql[relation.Source], _ = d.text(v) },
		"target": func(v item) { sql[relation.Target], _ = d.text(v) },
	}, nil)
	return sql
}

// where reads one condition for both sides, or one for each.
func (d *document) where(v item) [2]string {
	if len(v.node.Content) > 0 {
		return d.sides(v)
	}
	s, _ := d.text(v)
	return [2]string{s, s}
}

func (d *document) severity(v item) Severity {
	var s Severity
	effect := func(to *string) func(item) {
		return func(v item) {
			var value *string
			if into(d, &value, oneOf("fail", "warn", "ignore"))(v); value != nil {
				*to = *value
			}
		}
	}
	d.keys(v, fields{
		"orphans":         effect(&s.Orphans),
		"source_orphans":  effect(&s.SourceOrphans),
		"schema_breaks":   effect(&s.SchemaBreaks),
		"schema_drift":    effect(&s.SchemaDrift),
		"sequence_behind": effect(&s.SequenceBehind),
		"corruption":      effect(&s.Corruption),
	}, nil)
	return s
}

func (d *document) verify(v item) Verify {
	var o Verify
	d.keys(v, fields{
		"timeout":       into(d, &o.Timeout, positive),
		"recheck":       into(d, &o.Recheck, duration),
		"stall_timeout": into(d, &o.StallTimeout, positive),
		"snapshot":      into(d, &o.Snapshot, oneOf("pass", "table")),
		"read":          into(d, &o.Read, oneOf("fast", "gentle")),
		"values":        into(d, &o.Values, oneOf("none", "keys", "full")),
		"workers":       into(d, &o.Workers, workers),

		"ignore_large_objects": into(d, &o.IgnoreLargeObjects, boolean),

		"amcheck":     into(d, &o.Amcheck, boolean),
		"skip_checks": func(v item) { o.SkipChecks = d.checks(v) },
	}, unsupported{"every": "", "max_age": "", "pause_while": ""})
	return o
}

// schema reads how definitions are compared.
func (d *document) schema(v item) Schema {
	var s Schema
	d.keys(v, fields{
		"ignore": func(v item) {
			d.list(v, func(v item) {
				text, ok := d.text(v)
				if !ok {
					return
				}
				p, err := relation.ParseObjectPattern(text)
				if err != nil {
					d.wrong(v, "not a pattern for objects: want an object as reports name it, as in \"index *\", perhaps after a table and a colon, as in \"public.orders: column note\"")
					return
				}
				s.Ignore = append(s.Ignore, p)
			})
		},
		"comments": func(v item) {
			var comments *bool
			if into(d, &comments, boolean)(v); comments != nil {
				s.Comments = *comments
			}
		},
	}, nil)
	return s
}

// checks reads which checks are not made.
func (d *document) checks(v item) []string {
	var checks []string
	d.list(v, func(v item) {
		var check *string
		if into(d, &check, oneOf("orphans", "schema", "sequences"))(v); check != nil {
			checks = append(checks, *check)
		}
	})
	return checks
}

// into reads a single value to where it belongs.
func into[T any](d *document, to **T, read func(string) (T, error)) func(item) {
	return func(v item) {
		s, ok := d.text(v)
		if !ok {
			return
		}
		value, err := read(s)
		if err != nil {
			d.wrong(v, "%w", err)
			return
		}
		*to = &value
	}
}

func oneOf(allowed ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(allowed, s) {
			return s, nil
		}
		last := len(allowed) - 1
		return "", errors.New("want " + strings.Join(allowed[:last], ", ") + " or " + allowed[last])
	}
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("want a duration, for example 30s, 10m or 1h30m")
	}
	return d, nil
}

func positive(s string) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && d == 0 {
		err = errors.New("want a duration of more than 0")
	}
	return d, err
}

func workers(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxWorkers {
		return 0, errors.New("want a number from 1 to " + strconv.Itoa(MaxWorkers))
	}
	return n, nil
}

func boolean(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, errors.New("want true or false")
	}
	return s == "true", nil
}

// units of bytes, as people write them.
var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "kib": 1 << 10,
	"m": 1e6, "mb": 1e6, "mib": 1 << 20,
	"g": 1e9, "gb": 1e9, "gib": 1 << 30,
	"t": 1e12, "tb": 1e12, "tib": 1 << 40,
}

// ParseRate reads a number of bytes a second: 50MB, 1.5 GiB/s, 1000000. The
// error does not repeat it.
func ParseRate(s string) (int64, error) {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	number, err := strconv.ParseFloat(text[:end], 64)
	unit, known := units[strings.TrimSpace(text[end:])]
	bytes := math.Round(number * unit)
	if err != nil || !known || bytes < 1 || bytes >= math.MaxInt64 {
		return 0, errors.New("want bytes a second, for example 50MB, 50MiB or 1GiB")
	}
	return int64(bytes), nil
}
