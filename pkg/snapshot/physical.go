package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/pkg/relation"
)

// maxCorruption is how many problems of one table's heap are told.
const maxCorruption = 10

// Physical checks the btree indexes and the heaps of a table's members with the
// extension amcheck: that indexes are in order and hold every row, and that
// rows are well-formed (version 14). What cannot be checked is among the gaps.
func (s *Snapshot) Physical(ctx context.Context, t *relation.Table) (relation.Physical, error) {
	p := &physical{snapshot: s, side: s.side, user: relation.QuoteIdent(s.db.parsed.User), heaps: s.db.server.Number >= 140000}
	var oids []string
	for i := range t.Members {
		if m := &t.Members[i]; m.Kind == relation.Ordinary || m.Kind == relation.MatView {
			oids = append(oids, fmt.Sprint(m.OID))
		}
	}
	if len(oids) == 0 {
		return p.found, nil
	}
	err := s.db.withWorker(ctx, s, func(ctx context.Context, reader *session) error {
		return reader.aside(ctx, func() error {
			p.session = reader
			if ready, err := p.find(ctx); err != nil || !ready {
				return err
			}
			return p.check(ctx, oids)
		})
	})
	if err != nil {
		return p.found, fmt.Errorf("check %s with amcheck: %w", t.Name, err)
	}
	return p.found, nil
}

// physical is a check of one table.
type physical struct {
	*session
	snapshot *Snapshot
	side     relation.Side
	user     string
	heaps    bool   // the version can check heaps
	schema   string // where amcheck is
	found    relation.Physical
}

// find looks for the extension, and whether the role may use it.
func (p *physical) find(ctx context.Context) (ready bool, err error) {
	functions := []string{"bt_index_check(regclass, boolean)"}
	if p.heaps {
		functions = append(functions, "verify_heapam(regclass, boolean, boolean, text, bigint, bigint)")
	} else {
		p.found.Notes = append(p.found.Notes, fmt.Sprintf("only indexes were checked for damage on the %s: tables can be since version 14", p.side))
	}
	rows, err := p.query(ctx, "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'")
	if err != nil {
		return false, err
	}
	if len(rows) == 0 {
		p.gap("the %s has no extension amcheck; CREATE EXTENSION amcheck", p.side)
		return false, nil
	}
	p.schema = relation.QuoteIdent(*rows[0][0])
	v, err := p.queryOne(ctx, "SELECT has_schema_privilege("+relation.QuoteLiteral(*rows[0][0])+", 'USAGE')")
	if err != nil {
		return false, err
	}
	if v[0] != "t" {
		p.gap("no privilege on the schema of amcheck on the %s; GRANT USAGE ON SCHEMA %s TO %s", p.side, p.schema, p.user)
		return false, nil
	}
	ready = true
	for _, f := range functions {
		f = p.schema + "." + f
		v, err := p.queryOne(ctx, "SELECT coalesce(has_function_privilege(to_regprocedure("+relation.QuoteLiteral(f)+"), 'EXECUTE')::text, '')")
		if err != nil {
			return false, err
		}
		switch v[0] {
		case "":
			p.gap("amcheck on the %s is of an old version; ALTER EXTENSION amcheck UPDATE", p.side)
			return false, nil
		case "false":
			p.gap("no privilege to use amcheck on the %s; GRANT EXECUTE ON FUNCTION %s TO %s", p.side, f, p.user)
			ready = false
		}
	}
	return ready, nil
}

func (p *physical) gap(format string, args ...any) {
	p.found.Gaps = append(p.found.Gaps, "not checked for damage: "+fmt.Sprintf(format, args...))
}

func (p *physical) check(ctx context.Context, oids []string) error {
	indexes, err := p.query(ctx, `SELECT i.indexrelid, n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
WHERE i.indrelid = ANY (`+oidArray(oids)+`) AND a.amname = 'btree' AND i.indisvalid AND i.indisready AND i.indislive ORDER BY 2, 3`)
	if err != nil {
		return err
	}
	for _, r := range indexes {
		object := "index " + relation.Name{Schema: *r[1], Name: *r[2]}.String()
		if _, err := p.run(ctx, object, "SELECT "+p.schema+".bt_index_check("+*r[0]+"::regclass, true)"); err != nil {
			return err
		}
	}
	if !p.heaps {
		return nil
	}
	heaps, err := p.query(ctx, `SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am a ON a.oid = c.relam WHERE c.oid = ANY (`+oidArray(oids)+`) AND a.amname = 'heap' ORDER BY 2, 3`)
	if err != nil {
		return err
	}
	for _, r := range heaps {
		object := "table " + relation.Name{Schema: *r[1], Name: *r[2]}.String()
		rows, err := p.run(ctx, object, fmt.Sprintf("SELECT blkno, msg FROM %s.verify_heapam(%s::regclass) LIMIT %d", p.schema, *r[0], maxCorruption))
		if err != nil {
			return err
		}
		for _, row := range rows {
			p.corrupt(object, fmt.Sprintf("block %s: %s", *row[0], *row[1]))
		}
	}
	return nil
}

func (p *physical) corrupt(object, problem string) {
	p.found.Corrupt = append(p.found.Corrupt, relation.Corruption{Object: object, Problem: problem})
}

// run runs one check. Its error ends all.
func (p *physical) run(ctx context.Context, object, sql string) (rows [][]*string, err error) {
	err = p.savepoint(ctx, func() error {
		return p.attended(ctx, p.snapshot, func() error {
			rows, err = p.query(ctx, sql)
			return err
		})
	})
	var server *pgconn.PgError
	switch {
	case err == nil || ctx.Err() != nil || p.conn.IsClosed() || !errors.As(err, &server):
		return rows, err
	case server.Code == codeDataCorrupted || server.Code == codeIndexCorrupted:
		p.corrupt(object, server.Message)
	default:
		p.gap("%s of the %s: %s", object, p.side, server.Message)
	}
	return nil, nil
}

// InvalidIndexes lists the indexes of the named tables, and of their members,
// that are not valid, or not ready.
func (s *Snapshot) InvalidIndexes(ctx context.Context, names []relation.Name) ([]relation.InvalidIndex, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows, err := s.holderQuery(ctx, family(names)+` SELECT n.nspname, c.relname, xn.nspname, x.relname, i.indisready
FROM (SELECT DISTINCT oid FROM family) f JOIN pg_index i ON i.indrelid = f.oid AND NOT (i.indisvalid AND i.indisready)
JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace xn ON xn.oid = x.relnamespace ORDER BY 1, 2, 4`)
	if err != nil {
		return nil, fmt.Errorf("look for invalid indexes: %w", err)
	}
	list := make([]relation.InvalidIndex, len(rows))
	for i, r := range rows {
		list[i] = relation.InvalidIndex{
			Table: relation.Name{Schema: *r[0], Name: *r[1]}, Index: relation.Name{Schema: *r[2], Name: *r[3]}, Ready: *r[4] == "t",
		}
	}
	return list, nil
}
