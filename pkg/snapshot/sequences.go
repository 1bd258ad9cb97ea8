package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// sequenceRow is a sequence with its oid.
type sequenceRow struct {
	relation.Sequence
	oid string
}

func (s *sequenceRow) cycles() string {
	if s.Cycle {
		return "yes"
	}
	return ""
}

// sequences lists the sequences that feed the given tables, whose parts have no
// name, and, if the scope is the whole database, those that feed no table at
// all. State is not read.
func (s *session) sequences(ctx context.Context, tables map[string]relation.Name, scope *relation.SchemaScope) ([]sequenceRow, error) {
	// A column owns its sequence (serial, identity), or its default takes from it.
	rows, err := s.query(ctx, `SELECT c.oid, n.nspname, c.relname, format_type(q.seqtypid, NULL), q.seqstart, q.seqmin, q.seqmax, q.seqincrement, q.seqcache, q.seqcycle,
 f.relid, a.attname, EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.objsubid = 0 AND x.deptype = 'e')
FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
 SELECT d.objid AS seq, d.refobjid AS relid, d.refobjsubid AS num, 0 AS rank FROM pg_depend d
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
 UNION SELECT d.refobjid, b.adrelid, b.adnum, 1 FROM pg_depend d JOIN pg_attrdef b ON b.oid = d.objid
 WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
) f ON f.seq = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = f.relid AND a.attnum = f.num
LEFT JOIN pg_class fc ON fc.oid = f.relid LEFT JOIN pg_namespace fn ON fn.oid = fc.relnamespace
WHERE c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", c.oid, f.rank, fn.nspname COLLATE "C", fc.relname COLLATE "C", a.attname COLLATE "C"`)
	if err != nil {
		return nil, err
	}
	var list []sequenceRow
	foreign := make(map[string]bool) // feeds a table, but none of these
	for _, r := range rows {
		oid := *r[0]
		if len(list) == 0 || list[len(list)-1].oid != oid {
			list = append(list, sequenceRow{oid: oid, Sequence: relation.Sequence{
				Name: relation.Name{Schema: *r[1], Name: *r[2]}, Type: *r[3], Start: parseInt(*r[4]), Min: parseInt(*r[5]), Max: parseInt(*r[6]),
				Increment: parseInt(*r[7]), Cache: parseInt(*r[8]), Cycle: *r[9] == "t",
			}})
		}
		q := &list[len(list)-1]
		foreign[oid] = foreign[oid] || *r[12] == "t"
		if r[10] == nil || r[11] == nil {
			continue
		}
		table, ok := tables[*r[10]]
		fed := relation.Fed{Table: table, Column: *r[11]}
		foreign[oid] = foreign[oid] || !ok
		if table != (relation.Name{}) && !slices.Contains(q.Feeds, fed) {
			q.Feeds = append(q.Feeds, fed)
		}
	}
	return slices.DeleteFunc(list, func(q sequenceRow) bool {
		return len(q.Feeds) == 0 && (foreign[q.oid] || !scope.Whole || scope.Excludes(q.Name))
	}), nil
}

// stateBatch is how many sequences one statement looks into.
const stateBatch = 500

// Sequences returns the sequences that feed the scope's tables, or all of them,
// with their state as it is now: it belongs to no snapshot. On a standby there
// is none to be had: it runs ahead of what was handed out.
func (s *Snapshot) Sequences(ctx context.Context, scope relation.SchemaScope) ([]relation.Sequence, error) {
	var list []sequenceRow
	err := s.withAny(ctx, func(ctx context.Context, reader *session) error {
		return reader.aside(ctx, func() error {
			l := &schemaLoader{session: reader, scope: &scope, number: s.db.server.Number}
			tables, err := l.relationNames(ctx)
			if err != nil {
				return err
			}
			if list, err = reader.sequences(ctx, tables, &scope); err != nil || s.db.server.Standby {
				return err
			}
			for at := 0; at < len(list); at += stateBatch {
				if err := reader.sequenceStates(ctx, list[at:min(at+stateBatch, len(list))]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read sequences: %w", err)
	}
	sequences := make([]relation.Sequence, 0, len(list))
	for _, q := range list {
		if s.db.server.Standby || q.Unreadable || q.Last != nil || q.Next != nil { // else it was dropped
			sequences = append(sequences, q.Sequence)
		}
	}
	return sequences, nil
}

// sequenceStates reads what sequences have handed out. Only those that have
// handed out nothing are read as relations, for what they begin with.
func (s *session) sequenceStates(ctx context.Context, list []sequenceRow) error {
	byOID := make(map[string]*sequenceRow, len(list))
	var oids []string
	for i := range list {
		byOID[list[i].oid] = &list[i]
		oids = append(oids, list[i].oid)
	}
	rows, err := s.query(ctx, `SELECT oid, has_sequence_privilege(oid, 'SELECT'),
 CASE WHEN has_sequence_privilege(oid, 'SELECT') THEN pg_sequence_last_value(oid::regclass) END,
 has_schema_privilege((SELECT c.relnamespace FROM pg_class c WHERE c.oid = o.oid), 'USAGE') FROM unnest(`+oidArray(oids)+`) AS o(oid)`)
	if err != nil {
		return err
	}
	var fresh []string
	for _, r := range rows {
		q := byOID[*r[0]]
		switch {
		case r[1] == nil: // dropped meanwhile
		case *r[1] != "t":
			q.Unreadable = true
		case r[2] != nil:
			last := parseInt(*r[2])
			q.Last = &last
		case r[3] == nil || *r[3] != "t":
			q.Unreadable = true // by its name
		default:
			fresh = append(fresh, "SELECT "+q.oid+", last_value, is_called FROM "+q.Name.SQL())
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if rows, err = s.query(ctx, strings.Join(fresh, " UNION ALL ")); err != nil {
		return err
	}
	for _, r := range rows {
		value := parseInt(*r[1])
		if q := byOID[*r[0]]; *r[2] == "t" { // called since
			q.Last = &value
		} else {
			q.Next = &value
		}
	}
	return nil
}

// relationNames finds the scope's tables by oid; partitions and heirs have no
// name.
func (l *schemaLoader) relationNames(ctx context.Context) (map[string]relation.Name, error) {
	names := make(map[string]relation.Name)
	if len(l.scope.Tables) == 0 {
		return names, nil
	}
	err := l.each(ctx, family(l.scope.Tables)+` SELECT c.oid, n.nspname, c.relname, bool_or(f.root = f.oid) FROM family f
JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace GROUP BY 1, 2, 3`, func(r []string) {
		names[r[0]] = relation.Name{}
		if r[3] == "t" {
			names[r[0]] = relation.Name{Schema: r[1], Name: r[2]}
		}
	})
	return names, err
}

// Furthest returns the largest whole number in a column, or the least one if
// least; nil: the column holds none, or no numbers. An index that begins with
// the column finds it at once, else the table is read.
func (s *Snapshot) Furthest(ctx context.Context, table relation.Name, column string, least bool) (*int64, error) {
	function := "max"
	if least {
		function = "min"
	}
	value := function + "(" + relation.QuoteIdent(column) + ")"
	var rows [][]*string
	err := s.db.withWorker(ctx, s, func(ctx context.Context, reader *session) error {
		err := reader.aside(ctx, func() error {
			return reader.attended(ctx, s, func() (err error) {
				rows, err = reader.query(ctx, "SELECT pg_typeof("+value+"), "+value+"::text FROM "+table.SQL())
				return err
			})
		})
		if hasCode(err, codeUndefinedFunction) {
			return nil // its type has no order, so it holds no numbers
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the %s of column %s of %s: %w", function, relation.QuoteIdent(column), table, err)
	}
	if len(rows) == 0 || rows[0][1] == nil || !slices.Contains([]string{"smallint", "integer", "bigint", "numeric"}, *rows[0][0]) {
		return nil, nil
	}
	whole, _, _ := strings.Cut(*rows[0][1], ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return nil, nil //nolint:nilerr // not a number, or beyond what a sequence reaches
	}
	return &n, nil
}
