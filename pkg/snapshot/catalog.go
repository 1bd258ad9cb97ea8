package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Listed is a relation that List found.
type Listed struct {
	Name relation.Name
	Kind relation.Kind
	// Part says that the relation's rows are read with another's: a
	// partition, or an heir with no columns of its own.
	Part bool
	// Parents are the relations that it is a partition or an heir of.
	Parents []relation.Name
	// Extension owns the relation; empty: none does.
	Extension string
	// Temporary relations belong to one session and are never compared.
	Temporary bool
}

const listSQL = `SELECT n.nspname, c.relname, c.relkind,
 c.relispartition OR (EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
   AND NOT a.attisdropped AND a.attinhcount = 0)),
 coalesce((SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
   AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1), ''),
 c.relpersistence = 't', c.oid,
 coalesce((SELECT pg_catalog.string_agg(i.inhparent::pg_catalog.text, ' ' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 AND n.nspname NOT LIKE 'pg\_temp\_%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// List returns all relations of the database that users made, by name.
func (db *Database) List(ctx context.Context) ([]Listed, error) {
	var list []Listed
	err := db.once(ctx, func(s *session) error {
		rows, err := s.query(ctx, listSQL)
		if err != nil {
			return fmt.Errorf("list tables: %w", err)
		}
		byOID := make(map[string]relation.Name, len(rows))
		for _, r := range rows {
			byOID[*r[6]] = relation.Name{Schema: *r[0], Name: *r[1]}
		}
		for _, r := range rows {
			l := Listed{
				Name: byOID[*r[6]], Kind: relation.Kind((*r[2])[0]),
				Part: *r[3] == "t", Extension: *r[4], Temporary: *r[5] == "t",
			}
			for _, oid := range strings.Fields(*r[7]) {
				if parent, ok := byOID[oid]; ok {
					l.Parents = append(l.Parents, parent)
				}
			}
			list = append(list, l)
		}
		return nil
	})
	return list, err
}

// lockTarget is a relation to lock for one of the selected tables.
type lockTarget struct {
	oid     uint32
	name    relation.Name
	kind    relation.Kind
	indexes int64
}

// familySQL lists the named relations and all that inherit from them.
const familySQL = `WITH RECURSIVE family(root, oid) AS (
 SELECT c.oid, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (VALUES %s)
 UNION SELECT f.root, i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid)`

func family(names []relation.Name) string {
	var values []string
	for _, n := range names {
		values = append(values, "("+relation.QuoteLiteral(n.Schema)+"::name, "+relation.QuoteLiteral(n.Name)+"::name)")
	}
	return fmt.Sprintf(familySQL, strings.Join(values, ", "))
}

// lockTargets lists what to lock for each named table, before the snapshot.
func (db *Database) lockTargets(ctx context.Context, s *session, names []relation.Name) (map[relation.Name][]lockTarget, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows, err := s.query(ctx, family(names)+` SELECT rn.nspname, r.relname, c.oid, n.nspname, c.relname, c.relkind,
 (SELECT count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid)
FROM family f JOIN pg_catalog.pg_class r ON r.oid = f.root JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY c.oid`)
	if err != nil {
		return nil, err
	}
	targets := make(map[relation.Name][]lockTarget)
	for _, r := range rows {
		root := relation.Name{Schema: *r[0], Name: *r[1]}
		targets[root] = append(targets[root], lockTarget{
			oid: parseOID(*r[2]), name: relation.Name{Schema: *r[3], Name: *r[4]},
			kind: relation.Kind((*r[5])[0]), indexes: parseInt(*r[6]),
		})
	}
	return targets, nil
}

// loadCatalog reads the named tables' definitions at the snapshot.
func (s *Snapshot) loadCatalog(ctx context.Context, names []relation.Name) error {
	if len(names) == 0 {
		return nil
	}
	l := &loader{Snapshot: s, byOID: make(map[uint32]*relation.Table), roots: make(map[uint32][]*relation.Table)}
	for _, step := range []func(context.Context, []relation.Name) error{
		l.loadMembers, l.checkLocks, l.loadColumns, l.loadIndexes, l.loadSizes,
	} {
		if err := step(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// loader holds what the steps of loading a catalog pass on to one another.
type loader struct {
	*Snapshot
	byOID map[uint32]*relation.Table   // selected tables
	roots map[uint32][]*relation.Table // tables that a relation's rows belong to
	oids  []string                     // all relations of all families
}

func (l *loader) loadMembers(ctx context.Context, names []relation.Name) error {
	leaving := "false"
	if l.db.server.Number >= 140000 {
		leaving = "c.oid <> f.root AND EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhdetachpending)"
	}
	rows, err := l.holder.query(ctx, family(names)+` SELECT f.root, c.oid, n.nspname, c.relname, c.relkind,
 c.relfilenode, coalesce(am.amname, ''), c.reltuples::bigint, c.relpages, c.relpersistence,
 has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid), `+leaving+`
FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am am ON am.oid = c.relam ORDER BY f.root, c.oid = f.root DESC, c.oid`)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	explained := make(map[*relation.Table]bool)
	for _, r := range rows {
		root, oid := parseOID(*r[0]), parseOID(*r[1])
		m := relation.Member{
			Name: relation.Name{Schema: *r[2], Name: *r[3]}, OID: oid, Kind: relation.Kind((*r[4])[0]),
			Filenode: parseOID(*r[5]), AccessMethod: *r[6], Rows: parseInt(*r[7]),
			AnalyzedBlocks: parseInt(*r[8]),
		}
		if m.Rows == 0 && *r[8] == "0" {
			m.Rows = -1 // before version 14 this is how "never analyzed" looks
		}
		t := l.byOID[root]
		if t == nil { // the root comes first
			t = &relation.Table{Name: m.Name, OID: oid, Kind: m.Kind}
			l.byOID[root] = t
			l.tables[t.Name] = t
		}
		if !seen[*r[1]] {
			seen[*r[1]] = true
			l.oids = append(l.oids, *r[1])
		}
		l.roots[oid] = append(l.roots[oid], t)
		if m.Kind != relation.Partitioned {
			t.Members = append(t.Members, m)
		}
		// A lock that was refused says less than the privilege that is missing.
		if err := l.readable(t.Name, &m, *r[9], *r[10] == "t", *r[11] == "t", *r[12] == "t"); err != nil && !explained[t] {
			l.broken[t.Name] = err
			explained[t] = true
		}
		if *r[13] == "t" && l.broken[t.Name] == nil {
			l.broken[t.Name] = &TableError{
				Reason: fmt.Sprintf("partition %s is being detached from %s on the %s: queries of the table leave its rows out, and it is no table of its own yet", m.Name, t.Name, l.side),
				Hint:   "run the pass again when that has ended; if it was interrupted, end it with ALTER TABLE … DETACH PARTITION … FINALIZE",
			}
		}
	}
	return nil
}

// checkLocks makes sure that what was locked is what the snapshot reads: a
// table that was replaced, or a partition that was attached, between the list
// of what to lock and the snapshot is not. Locks go by name, so that the server
// is asked what they came to.
func (l *loader) checkLocks(ctx context.Context, _ []relation.Name) error {
	rows, err := l.holder.query(ctx, "SELECT relation FROM pg_locks WHERE locktype = 'relation' AND granted"+
		" AND pid = pg_backend_pid() AND database = "+fmt.Sprint(l.db.server.DatabaseOID))
	if err != nil {
		return fmt.Errorf("list locks: %w", err)
	}
	held := make(map[uint32]bool, len(rows))
	for _, r := range rows {
		held[parseOID(*r[0])] = true
	}
	for name, t := range l.tables {
		for i := range t.Members {
			m := &t.Members[i]
			if m.Kind == relation.MatView || held[m.OID] || l.broken[name] != nil { // LOCK TABLE takes no materialized views
				continue
			}
			l.broken[name] = &TableError{
				Reason: fmt.Sprintf("%s changed on the %s while the pass began (DDL under way?)", name, l.side),
				Hint:   "run the pass again",
			}
		}
	}
	return nil
}

// readable says why a relation's rows cannot be read whole, if so.
func (l *loader) readable(table relation.Name, m *relation.Member, persistence string, usage, selects, rls bool) error {
	user := relation.QuoteIdent(l.db.parsed.User)
	switch {
	case m.Kind == relation.Foreign:
		return &TableError{
			Reason: fmt.Sprintf("%s is a foreign table on the %s: its rows live on another server and were not read", m.Name, l.side),
			Hint:   fmt.Sprintf("verify them where they live, and leave %s out with --exclude", table),
		}
	case m.Kind == relation.Partitioned && selects:
		return nil
	case !usage:
		schema := relation.QuoteIdent(m.Name.Schema)
		hint := fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, user)
		if !selects { // say it now, and the same for all tables, rather than in the next round
			hint += fmt.Sprintf("; GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s", schema, user)
		}
		return &TableError{Reason: fmt.Sprintf("no privilege on schema %s of the %s", schema, l.side), Hint: hint}
	case !selects:
		return &TableError{
			Reason: fmt.Sprintf("no privilege to read %s on the %s", m.Name, l.side),
			Hint:   fmt.Sprintf("GRANT SELECT ON TABLE %s TO %s", m.Name.SQL(), user),
		}
	case rls:
		return &TableError{
			Reason: fmt.Sprintf("row-level security would hide rows of %s on the %s", m.Name, l.side),
			Hint:   fmt.Sprintf("ALTER ROLE %s BYPASSRLS, or connect as the table's owner", user),
		}
	case persistence == "u" && l.db.server.Standby:
		return &TableError{Reason: fmt.Sprintf("%s is unlogged: it cannot be read on a standby", m.Name)}
	}
	return nil
}

func (l *loader) oidList() string { return oidArray(l.oids) }

func oidArray(oids []string) string { return "ARRAY[" + strings.Join(oids, ",") + "]::oid[]" }

// loadColumns reads the columns of the selected tables, and of their members
// only whether they hold NULLs: thousands of partitions have very many columns.
func (l *loader) loadColumns(ctx context.Context, _ []relation.Name) error {
	if len(l.oids) == 0 {
		return nil
	}
	var selected []string
	for oid := range l.byOID {
		selected = append(selected, fmt.Sprint(oid))
	}
	notNull, join := l.notNull()
	rows, err := l.holder.query(ctx, `SELECT a.attrelid, a.attname, a.attnum, a.atttypid, format_type(a.atttypid, a.atttypmod),
 `+notNull+`, a.attgenerated <> '', a.attidentity <> ''
FROM pg_attribute a `+join+` WHERE a.attrelid = ANY (`+oidArray(selected)+`) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum`)
	if err != nil {
		return err
	}
	typeOIDs := make([]uint32, len(rows))
	for i, r := range rows {
		typeOIDs[i] = parseOID(*r[3])
	}
	types, err := l.loadTypes(ctx, typeOIDs)
	if err != nil {
		return err
	}
	for _, r := range rows {
		t := l.byOID[parseOID(*r[0])]
		t.Columns = append(t.Columns, relation.Column{
			Name: *r[1], Number: int16(parseInt(*r[2])), Type: types[parseOID(*r[3])], Definition: *r[4],
			NotNull: *r[5] == "t", Generated: *r[6] == "t", Identity: *r[7] == "t",
		})
	}
	return l.loadNullable(ctx)
}

// loadNullable takes NOT NULL from columns for which it does not hold in every
// member.
func (l *loader) loadNullable(ctx context.Context) error {
	var roots, members []string
	for oid, tables := range l.roots {
		for _, t := range tables {
			if t.OID != oid {
				roots, members = append(roots, fmt.Sprint(t.OID)), append(members, fmt.Sprint(oid))
			}
		}
	}
	if len(members) == 0 {
		return nil
	}
	notNull, join := l.notNull()
	rows, err := l.holder.query(ctx, `SELECT DISTINCT f.root, a.attname
FROM unnest(`+oidArray(roots)+", "+oidArray(members)+`) AS f(root, member)
JOIN pg_attribute a ON a.attrelid = f.member AND a.attnum > 0 AND NOT a.attisdropped `+join+`
WHERE NOT (`+notNull+")")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if c := l.byOID[parseOID(*r[0])].Column(*r[1]); c != nil {
			c.NotNull = false
		}
	}
	return nil
}

// notNull returns an SQL condition that a column of pg_attribute a holds no
// NULL, and the join that it needs. A NOT NULL constraint that is NOT VALID
// (version 18) promises nothing about the rows that are there.
func (l *loader) notNull() (condition, join string) {
	if l.db.server.Number < 180000 {
		return "a.attnotnull", ""
	}
	return "(a.attnotnull AND u.conrelid IS NULL)",
		`LEFT JOIN (SELECT DISTINCT conrelid, unnest(conkey) AS attnum FROM pg_constraint WHERE contype = 'n' AND NOT convalidated) u
 ON u.conrelid = a.attrelid AND u.attnum = a.attnum`
}

const typesSQL = `SELECT t.oid, n.nspname, t.typname, t.typtype, t.typoutput = 'array_out'::regproc,
 CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typoutput = 'array_out'::regproc THEN t.typelem
  WHEN t.typtype = 'r' THEN (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid)
  %s ELSE 0 END,
 t.typarray, t.typsend <> 0, t.typcollation <> 0, t.typrelid,
 CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE '' END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY (ARRAY[%s]::oid[])`

// loadTypes reads the given types and all that they are made of.
func (l *loader) loadTypes(ctx context.Context, want []uint32) (map[uint32]*relation.Type, error) {
	multirange := ""
	if l.db.server.Number >= 140000 {
		multirange = "WHEN t.typtype = 'm' THEN (SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid)"
	}
	types := make(map[uint32]*relation.Type)
	elems := make(map[uint32]uint32)        // type to element
	attributes := make(map[uint32][]uint32) // composite type to its attributes' types
	for len(want) > 0 {
		var list []string
		for _, oid := range want {
			if types[oid] == nil {
				types[oid] = &relation.Type{OID: oid}
				list = append(list, fmt.Sprint(oid))
			}
		}
		want = want[:0:0]
		if len(list) == 0 {
			break
		}
		rows, err := l.holder.query(ctx, fmt.Sprintf(typesSQL, multirange, strings.Join(list, ",")))
		if err != nil {
			return nil, err
		}
		composites := make(map[uint32]string)
		for _, r := range rows {
			t := types[parseOID(*r[0])]
			t.Schema, t.Name, t.Kind = *r[1], *r[2], relation.TypeKind((*r[3])[0])
			t.ArrayOID, t.BinaryOutput, t.Collation = parseOID(*r[6]), *r[7] == "t", *r[8] == "t"
			t.BaseDefinition = *r[10]
			if *r[4] == "t" && t.Kind == relation.Base {
				t.Kind = relation.Array
			}
			if elem := parseOID(*r[5]); elem != 0 {
				elems[t.OID] = elem
				want = append(want, elem)
			}
			if t.Kind == relation.Composite {
				composites[t.OID] = *r[9]
			}
		}
		found, err := l.loadAttributes(ctx, composites)
		if err != nil {
			return nil, err
		}
		for oid, attrs := range found {
			attributes[oid] = attrs
			want = append(want, attrs...)
		}
	}
	for oid, elem := range elems {
		types[oid].Elem = types[elem]
	}
	for oid, attrs := range attributes {
		for _, attr := range attrs {
			types[oid].Attributes = append(types[oid].Attributes, types[attr])
		}
	}
	return types, nil
}

// loadAttributes lists the attribute types of composite types, given as a map
// from the type to its relation.
func (l *loader) loadAttributes(ctx context.Context, composites map[uint32]string) (map[uint32][]uint32, error) {
	if len(composites) == 0 {
		return nil, nil
	}
	owner := make(map[string]uint32, len(composites))
	var rels []string
	for oid, rel := range composites {
		owner[rel] = oid
		rels = append(rels, rel)
	}
	rows, err := l.holder.query(ctx, `SELECT attrelid, atttypid FROM pg_attribute WHERE attrelid = ANY (ARRAY[`+
		strings.Join(rels, ",")+`]::oid[]) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum`)
	if err != nil {
		return nil, err
	}
	attributes := make(map[uint32][]uint32, len(composites))
	for _, r := range rows {
		oid := owner[*r[0]]
		attributes[oid] = append(attributes[oid], parseOID(*r[1]))
	}
	return attributes, nil
}

func (l *loader) loadIndexes(ctx context.Context, _ []relation.Name) error {
	if len(l.oids) == 0 {
		return nil
	}
	rows, err := l.holder.query(ctx, `SELECT i.indrelid, c.relname, i.indisprimary, i.indisunique, am.amname,
 a.attname, (i.indoption::int2[])[k.n - 1] = 0 AND o.opcdefault AND (a.attcollation = (i.indcollation::oid[])[k.n - 1])
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
CROSS JOIN generate_series(1, i.indnkeyatts) AS k(n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = (i.indkey::int2[])[k.n - 1]
JOIN pg_opclass o ON o.oid = (i.indclass::oid[])[k.n - 1]
WHERE i.indrelid = ANY (`+l.oidList()+`) AND i.indisvalid AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, c.relname COLLATE "C", k.n`)
	if err != nil {
		return err
	}
	byRelation := make(map[uint32][]*indexRow)
	for _, r := range rows {
		oid := parseOID(*r[0])
		list := byRelation[oid]
		if len(list) == 0 || list[len(list)-1].Name != *r[1] {
			list = append(list, &indexRow{
				Index: relation.Index{Name: *r[1]}, primary: *r[2] == "t", unique: *r[3] == "t", ordered: *r[4] == "btree",
			})
			byRelation[oid] = list
		}
		x := list[len(list)-1]
		x.Columns = append(x.Columns, *r[5])
		x.ordered = x.ordered && *r[6] == "t"
	}
	for oid, t := range l.byOID {
		t.Keys = keysOf(t, byRelation[oid])
		t.Indexes = sharedIndexes(t, byRelation)
	}
	return nil
}

type indexRow struct {
	relation.Index
	primary, unique, ordered bool
}

// keysOf returns what identifies a table's rows, best first: the primary key,
// then unique indexes with the fewest columns.
func keysOf(t *relation.Table, indexes []*indexRow) []relation.Key {
	var keys []relation.Key
	for _, x := range indexes {
		notNull := !slices.ContainsFunc(x.Columns, func(name string) bool {
			c := t.Column(name)
			return c == nil || !c.NotNull
		})
		if x.unique && notNull {
			keys = append(keys, relation.Key{Columns: x.Columns, Index: x.Name, Primary: x.primary})
		}
	}
	slices.SortStableFunc(keys, func(a, b relation.Key) int {
		if a.Primary != b.Primary {
			if a.Primary {
				return -1
			}
			return 1
		}
		return len(a.Columns) - len(b.Columns)
	})
	return keys
}

// sharedIndexes returns the ordered indexes that every member of a table has.
func sharedIndexes(t *relation.Table, byRelation map[uint32][]*indexRow) []relation.Index {
	if len(t.Members) == 0 {
		return nil
	}
	var shared []relation.Index
	for _, x := range byRelation[t.Members[0].OID] {
		everywhere := x.ordered
		for i := range t.Members[1:] {
			everywhere = everywhere && slices.ContainsFunc(byRelation[t.Members[i+1].OID], func(y *indexRow) bool {
				return y.ordered && slices.Equal(x.Columns, y.Columns)
			})
		}
		if everywhere {
			shared = append(shared, x.Index)
		}
	}
	return shared
}

// loadSizes asks for the sizes of the relations that can be read; pg_class
// only has what the last VACUUM or ANALYZE saw. To ask waits for a relation's
// lock: those that could not be locked are left out.
func (l *loader) loadSizes(ctx context.Context, _ []relation.Name) error {
	var oids []string
	for _, t := range l.byOID {
		if l.broken[t.Name] != nil {
			continue
		}
		for i := range t.Members {
			oids = append(oids, fmt.Sprint(t.Members[i].OID))
		}
	}
	if len(oids) == 0 {
		return nil
	}
	rows, err := l.holder.query(ctx, "SELECT oid, coalesce(pg_relation_size(oid), 0) FROM unnest(ARRAY["+strings.Join(oids, ",")+"]::oid[]) AS oid")
	if err != nil {
		return err
	}
	sizes := make(map[uint32]int64, len(rows))
	for _, r := range rows {
		sizes[parseOID(*r[0])] = parseInt(*r[1])
	}
	for _, t := range l.byOID {
		for i := range t.Members {
			m := &t.Members[i]
			if m.Kind == relation.Ordinary || m.Kind == relation.MatView {
				m.Bytes = sizes[m.OID]
				m.Blocks = m.Bytes / l.db.blockSz
			}
		}
	}
	return nil
}
