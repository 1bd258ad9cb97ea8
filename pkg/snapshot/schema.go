package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Schema returns the definitions in the scope as of the snapshot, in a form
// that says the same on every version where that can be had from the catalog.
// What still differs in how versions print it is parity's matter. What belongs
// to an extension is left out. The error tells which definitions could not be
// read.
func (s *Snapshot) Schema(ctx context.Context, scope relation.SchemaScope) ([]relation.Object, error) {
	var l *schemaLoader
	err := s.withAny(ctx, func(ctx context.Context, reader *session) error {
		l = &schemaLoader{session: reader, scope: &scope, number: s.db.server.Number}
		return reader.aside(ctx, func() error { return l.load(ctx) })
	})
	if err != nil {
		return nil, err
	}
	return l.objects, nil
}

// aside runs f under a savepoint and rolls back to it, whatever f returns:
// printing definitions takes locks on relations that the pass does not read.
func (s *session) aside(ctx context.Context, f func() error) error {
	if err := s.exec(ctx, "SAVEPOINT a"); err != nil {
		return err
	}
	err := f()
	if s.conn.IsClosed() {
		return err
	}
	return errors.Join(err, s.exec(ctx, "ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a"))
}

// schemaLoader collects definitions.
type schemaLoader struct {
	*session
	scope   *relation.SchemaScope
	number  int // the server's version
	objects []relation.Object

	relations map[string]*describedRelation // by oid
	labels    map[string]label              // what grants are on, by catalog and oid
	comments  map[string]string             // by catalog, oid and number of the column
}

type describedRelation struct {
	name relation.Name
	part bool // it is a partition or an heir of a table in the scope
	view bool
}

// label says which object a grant is on.
type label struct {
	table relation.Name
	on    string // as in "function public.f()"; "": the table itself
}

// userSchema is a condition on pg_namespace n.
const userSchema = `n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'`

// owned returns a condition that no extension owns the object.
func owned(catalog, oid string) string {
	return fmt.Sprintf(`NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = '%s'::regclass AND x.objid = %s AND x.objsubid = 0 AND x.deptype = 'e')`, catalog, oid)
}

// since returns the SQL if the server has that version, else what stands in.
func (l *schemaLoader) since(number int, sql, before string) string {
	if l.number >= number {
		return sql
	}
	return before
}

func (l *schemaLoader) load(ctx context.Context) error {
	l.relations, l.labels = make(map[string]*describedRelation), make(map[string]label)
	type step struct {
		what string
		load func(context.Context) error
	}
	steps := []step{
		{"comments", l.loadComments},
		{"tables and views", l.loadRelations},
		{"columns", l.loadColumns},
		{"constraints", l.loadConstraints},
		{"indexes", l.loadIndexes},
		{"triggers", l.loadTriggers},
		{"rules", l.loadRules},
		{"policies", l.loadPolicies},
		{"sequences", l.loadSequences},
	}
	if l.scope.Whole {
		steps = append(steps, step{"schemas", l.loadSchemas}, step{"extensions", l.loadExtensions},
			step{"functions", l.loadFunctions}, step{"types", l.loadTypes}, step{"domains", l.loadDomainConstraints})
	}
	for _, s := range append(steps, step{"grants", l.loadGrants}) {
		if err := s.load(ctx); err != nil {
			return fmt.Errorf("read the definitions of %s: %w", s.what, err)
		}
	}
	return nil
}

// add keeps an object. Properties come as names and values in turn; empty
// values are left out. The comment is the one on what the key names.
func (l *schemaLoader) add(table relation.Name, kind, name, comment string, properties ...string) {
	o := relation.Object{Table: table, Kind: kind, Name: name}
	for i := 0; i+1 < len(properties); i += 2 {
		if properties[i+1] != "" {
			o.Properties = append(o.Properties, relation.Property{Name: properties[i], Value: properties[i+1]})
		}
	}
	if text := l.comments[comment]; text != "" {
		o.Properties = append(o.Properties, relation.Property{Name: "comment", Value: text})
	}
	l.objects = append(l.objects, o)
}

// each calls f with the rows of a query, NULL as "".
func (l *schemaLoader) each(ctx context.Context, sql string, f func(r []string)) error {
	rows, err := l.query(ctx, sql)
	if err != nil {
		return err
	}
	for _, row := range rows {
		values := make([]string, len(row))
		for i, v := range row {
			if v != nil {
				values[i] = *v
			}
		}
		f(values)
	}
	return nil
}

// yes is a flag as a property: "yes" or nothing.
func yes(b string) string {
	if b == "t" {
		return "yes"
	}
	return ""
}

// no is a flag whose absence is worth saying.
func no(b string) string {
	if b == "t" {
		return ""
	}
	return "no"
}

func (l *schemaLoader) loadComments(ctx context.Context) error {
	l.comments = make(map[string]string)
	if !l.scope.Comments {
		return nil
	}
	return l.each(ctx, `SELECT c.relname, d.objoid, d.objsubid, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.classoid
WHERE d.objoid >= 16384`, func(r []string) { l.comments[r[0]+" "+r[1]+" "+r[2]] = r[3] })
}

func commentOn(catalog, oid string) string { return catalog + " " + oid + " 0" }

func (l *schemaLoader) loadRelations(ctx context.Context) error {
	wanted := "SELECT 0::oid WHERE false"
	if len(l.scope.Tables) > 0 {
		var values []string
		for _, n := range l.scope.Tables {
			values = append(values, "("+relation.QuoteLiteral(n.Schema)+"::name, "+relation.QuoteLiteral(n.Name)+"::name)")
		}
		wanted = `SELECT c.oid FROM (VALUES ` + strings.Join(values, ", ") + `) w(s, r)
 JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.r`
	}
	views := ""
	if l.scope.Whole {
		views = ` UNION ALL SELECT c.oid, 0::oid, true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('v', 'm') AND ` + userSchema + ` AND ` + owned("pg_class", "c.oid") + ` AND c.oid NOT IN (SELECT oid FROM wanted)`
	}
	return l.each(ctx, `WITH RECURSIVE wanted(oid) AS (`+wanted+`),
 family(oid, parent) AS (SELECT oid, 0::oid FROM wanted UNION SELECT i.inhrelid, i.inhparent FROM family f JOIN pg_inherits i ON i.inhparent = f.oid),
 chosen(oid, parent, added) AS (SELECT oid, max(parent), false FROM family GROUP BY oid`+views+`)
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'u', ch.parent <> 0, pn.nspname, pc.relname, ch.added,
 pg_get_expr(c.relpartbound, c.oid), CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
 (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(c.reloptions) o), c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
 CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, c.relispopulated
FROM chosen ch JOIN pg_class c ON c.oid = ch.oid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class pc ON pc.oid = ch.parent LEFT JOIN pg_namespace pn ON pn.oid = pc.relnamespace
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`, func(r []string) {
		name := relation.Name{Schema: r[1], Name: r[2]}
		if r[8] == "t" && l.scope.Excludes(name) {
			return
		}
		kind := relation.Kind(r[3][0])
		d := &describedRelation{name: name, part: r[5] == "t", view: kind == relation.View || kind == relation.MatView}
		l.relations[r[0]], l.labels["pg_class "+r[0]] = d, label{table: name}
		comment, text, of, populated := commentOn("pg_class", r[0]), kind.String(), "", ""
		switch {
		case d.part:
			if text, of = "heir", (relation.Name{Schema: r[6], Name: r[7]}).String(); r[9] != "" {
				text = "partition"
			}
		case kind == relation.Partitioned:
			text = "table" // that it is partitioned is a property
		case kind == relation.MatView:
			populated = no(r[16])
		}
		identity := map[string]string{"n": "nothing", "f": "full", "i": "an index"}[r[14]]
		if d.view || kind == relation.Foreign {
			identity = ""
		}
		l.add(name, text, "", comment, "of", of, "bounds", r[9], "partitioned by", r[10], "definition", strings.TrimSuffix(strings.TrimSpace(r[15]), ";"),
			"unlogged", yes(r[4]), "row security", yes(r[12]), "row security for the owner", yes(r[13]), "populated", populated,
			"replica identity", identity, "options", r[11])
	})
}

// oids returns an SQL array of the relations for which f holds, as a table r.
func (l *schemaLoader) oids(f func(*describedRelation) bool) string {
	var list []string
	for oid, d := range l.relations {
		if f(d) {
			list = append(list, oid)
		}
	}
	slices.Sort(list)
	return "unnest('{" + strings.Join(list, ",") + "}'::oid[]) r(oid)"
}

func (l *schemaLoader) all() string { return l.oids(func(*describedRelation) bool { return true }) }

func (l *schemaLoader) loadColumns(ctx context.Context) error {
	notValid, join := "false", ""
	if l.number >= 180000 {
		notValid = "u.conrelid IS NOT NULL"
		join = `LEFT JOIN (SELECT DISTINCT conrelid, unnest(conkey) AS attnum FROM pg_constraint WHERE contype = 'n' AND NOT convalidated) u
 ON u.conrelid = a.attrelid AND u.attnum = a.attnum`
	}
	whole := l.oids(func(d *describedRelation) bool { return !d.part && !d.view })
	return l.each(ctx, `SELECT a.attrelid, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), cn.nspname, co.collname,
 a.attnotnull, `+notValid+`, pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity
FROM `+whole+` JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation co ON co.oid = a.attcollation AND a.attcollation <> t.typcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum `+join+` ORDER BY a.attrelid, a.attnum`, func(r []string) {
		notNull := ""
		if r[6] == "t" {
			if notNull = "yes"; r[7] == "t" {
				notNull = "not valid"
			}
		}
		value, generated := r[8], ""
		if r[9] != "" {
			generated, value = map[string]string{"s": "stored", "v": "virtual"}[r[9]]+" as "+r[8], ""
		}
		identity := map[string]string{"a": "always", "d": "by default"}[r[10]]
		table := l.relations[r[0]].name
		l.labels["pg_attribute "+r[0]+" "+r[2]] = label{table, "column " + r[1]}
		l.add(table, "column", r[1], "pg_class "+r[0]+" "+r[2], "type", r[3], "collation", collation(r[4], r[5]), "not null", notNull,
			"default", value, "generated", generated, "identity", identity)
	})
}

// collation names a collation; those that ship with the server go without
// their schema.
func collation(schema, name string) string {
	switch schema {
	case "":
		return ""
	case "pg_catalog":
		return relation.QuoteIdent(name)
	}
	return relation.Name{Schema: schema, Name: name}.String()
}

// columnNames is SQL for the names of the columns whose numbers an array holds.
func columnNames(table, numbers string) string {
	return `(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(` + numbers + `) WITH ORDINALITY k(num, n)
  JOIN pg_attribute a ON a.attrelid = ` + table + ` AND a.attnum = k.num)`
}

var constraintTypes = map[string]string{
	"p": "primary key", "u": "unique", "f": "foreign key", "c": "check", "x": "exclusion",
}

var actions = map[string]string{"r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}

// loadConstraints reads the constraints of tables. Partitions and heirs have
// theirs from their parents, but for local ones. A reference to a partitioned
// table has a row for each of its partitions, with a parent.
func (l *schemaLoader) loadConstraints(ctx context.Context) error {
	return l.each(ctx, `SELECT c.oid, c.conrelid, c.conname, c.contype, `+columnNames("c.conrelid", "c.conkey")+`,
 c.condeferrable, c.condeferred, c.convalidated, `+l.since(180000, "c.conenforced", "true")+`, c.connoinherit AND c.contype = 'c',
 CASE WHEN c.contype = 'c' THEN pg_get_expr(c.conbin, c.conrelid) WHEN c.contype = 'x' THEN pg_get_constraintdef(c.oid) END,
 fn.nspname, fc.relname, `+columnNames("c.confrelid", "c.confkey")+`, c.confmatchtype, c.confupdtype, c.confdeltype,
 `+l.since(150000, columnNames("c.conrelid", "c.confdelsetcols"), "NULL")+`, `+l.since(180000, "c.conperiod", "false")+`,
 `+l.since(150000, "i.indnullsnotdistinct", "false")+`,
 CASE WHEN i.indnatts > i.indnkeyatts THEN `+columnNames("c.conrelid", "(i.indkey::int2[])[i.indnkeyatts:]")+` END
FROM `+l.all()+` JOIN pg_constraint c ON c.conrelid = r.oid LEFT JOIN pg_class fc ON fc.oid = c.confrelid LEFT JOIN pg_namespace fn ON fn.oid = fc.relnamespace
LEFT JOIN pg_index i ON c.contype IN ('p', 'u') AND i.indexrelid = c.conindid
WHERE c.contype IN ('p', 'u', 'f', 'c', 'x') AND c.conparentid = 0 ORDER BY c.conrelid, c.conname COLLATE "C"`, func(r []string) {
		kind := constraintTypes[r[3]]
		deferrable := ""
		if r[5] == "t" {
			if deferrable = "initially immediate"; r[6] == "t" {
				deferrable = "initially deferred"
			}
		}
		references, match := "", ""
		if r[3] == "f" {
			references = relation.Name{Schema: r[11], Name: r[12]}.String()
			match = map[string]string{"f": "full", "p": "partial"}[r[14]]
		}
		definition := r[10]
		columns := r[4]
		if r[3] == "x" {
			columns = ""
		}
		table := l.relations[r[1]].name
		l.add(table, "constraint", r[2], commentOn("pg_constraint", r[0]), "type", kind, "columns", columns, "definition", definition,
			"references", references, "referenced", r[13], "match", match, "on update", actions[r[15]], "on delete", actions[r[16]],
			"of columns", r[17], "period", yes(r[18]), "nulls not distinct", yes(r[19]), "includes", r[20],
			"deferrable", deferrable, "no inherit", yes(r[9]), "validated", no(r[7]), "enforced", no(r[8]))
	})
}

// loadIndexes reads the indexes that belong to no constraint, and are no part
// of a partitioned table's.
func (l *schemaLoader) loadIndexes(ctx context.Context) error {
	return l.each(ctx, `SELECT i.indexrelid, i.indrelid, ic.relname, i.indisunique,
 substr(pg_get_indexdef(i.indexrelid), 1 + length('CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(ic.relname)
  || ' ON ' || CASE WHEN ic.relkind = 'I' THEN 'ONLY ' ELSE '' END || quote_ident(n.nspname) || '.' || quote_ident(c.relname) || ' USING ')),
 i.indisvalid, i.indisready
FROM `+l.all()+` JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))
 AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
ORDER BY i.indrelid, ic.relname COLLATE "C"`, func(r []string) {
		l.add(l.relations[r[1]].name, "index", r[2], commentOn("pg_class", r[0]),
			"unique", yes(r[3]), "definition", r[4], "valid", no(r[5]), "ready", no(r[6]))
	})
}

// loadTriggers reads triggers that somebody made, on the table itself.
func (l *schemaLoader) loadTriggers(ctx context.Context) error {
	return l.each(ctx, `SELECT t.oid, t.tgrelid, t.tgname,
 substr(pg_get_triggerdef(t.oid), 1 + length('CREATE ' || CASE WHEN t.tgconstraint <> 0 THEN 'CONSTRAINT ' ELSE '' END || 'TRIGGER ' || quote_ident(t.tgname) || ' ')),
 t.tgenabled, t.tgconstraint <> 0
FROM `+l.all()+` JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal `+l.since(130000, "AND t.tgparentid = 0", "")+`
ORDER BY t.tgrelid, t.tgname COLLATE "C"`, func(r []string) {
		enabled := map[string]string{"D": "no", "R": "on replicas", "A": "always"}[r[4]]
		l.add(l.relations[r[1]].name, "trigger", r[2], commentOn("pg_trigger", r[0]), "definition", r[3], "constraint", yes(r[5]), "enabled", enabled)
	})
}

func (l *schemaLoader) loadRules(ctx context.Context) error {
	return l.each(ctx, `SELECT w.oid, w.ev_class, w.rulename, substr(pg_get_ruledef(w.oid), 1 + length('CREATE RULE ' || quote_ident(w.rulename) || ' AS')), w.ev_enabled
FROM `+l.all()+` JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN' ORDER BY w.ev_class, w.rulename COLLATE "C"`, func(r []string) {
		enabled := map[string]string{"D": "no", "R": "on replicas", "A": "always"}[r[4]]
		l.add(l.relations[r[1]].name, "rule", r[2], commentOn("pg_rewrite", r[0]), "definition", strings.TrimSuffix(strings.TrimSpace(r[3]), ";"), "enabled", enabled)
	})
}

func (l *schemaLoader) loadPolicies(ctx context.Context) error {
	return l.each(ctx, `SELECT p.oid, p.polrelid, p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
 (SELECT string_agg(coalesce(quote_ident(o.rolname), 'PUBLIC'), ', ' ORDER BY o.rolname COLLATE "C") FROM unnest(p.polroles) m(oid) LEFT JOIN pg_roles o ON o.oid = m.oid)
FROM `+l.all()+` JOIN pg_policy p ON p.polrelid = r.oid ORDER BY p.polrelid, p.polname COLLATE "C"`, func(r []string) {
		command := map[string]string{"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}[r[3]]
		restrictive := ""
		if r[4] != "t" {
			restrictive = "yes"
		}
		l.add(l.relations[r[1]].name, "policy", r[2], commentOn("pg_policy", r[0]), "for", command, "restrictive", restrictive, "to", r[7], "using", r[5], "with check", r[6])
	})
}

func (l *schemaLoader) loadSequences(ctx context.Context) error {
	list, err := l.sequences(ctx, l.relationOIDs(), l.scope)
	for i := range list {
		s := &list[i]
		var feeds string
		if len(s.Feeds) > 0 {
			feeds = s.Feeds[0].Table.String() + "." + relation.QuoteIdent(s.Feeds[0].Column)
		}
		number := func(n, usual int64) string {
			if n == usual {
				return ""
			}
			return fmt.Sprint(n)
		}
		name := s.Name.String()
		l.labels["pg_class "+s.oid] = label{on: "sequence " + name}
		l.add(relation.Name{}, "sequence", name, commentOn("pg_class", s.oid), "type", s.Type, "increment", fmt.Sprint(s.Increment),
			"start", fmt.Sprint(s.Start), "min", fmt.Sprint(s.Min), "max", fmt.Sprint(s.Max), "cycle", s.cycles(), "cache", number(s.Cache, 1), "feeds", feeds)
	}
	return err
}

// relationOIDs are the tables by oid; parts of them have no name.
func (l *schemaLoader) relationOIDs() map[string]relation.Name {
	names := make(map[string]relation.Name, len(l.relations))
	for oid, d := range l.relations {
		if d.part {
			names[oid] = relation.Name{}
		} else if !d.view {
			names[oid] = d.name
		}
	}
	return names
}

func (l *schemaLoader) loadSchemas(ctx context.Context) error {
	return l.each(ctx, `SELECT n.oid, n.nspname FROM pg_namespace n WHERE `+userSchema+` AND `+owned("pg_namespace", "n.oid")+` ORDER BY n.nspname COLLATE "C"`, func(r []string) {
		name := displayIdent(r[1])
		l.labels["pg_namespace "+r[0]] = label{on: "schema " + name}
		l.add(relation.Name{}, "schema", name, commentOn("pg_namespace", r[0]))
	})
}

// displayIdent quotes an identifier where SQL would need it.
func displayIdent(s string) string {
	return strings.TrimPrefix(relation.Name{Schema: "s", Name: s}.String(), "s.")
}

func (l *schemaLoader) loadExtensions(ctx context.Context) error {
	return l.each(ctx, `SELECT e.oid, e.extname, e.extversion, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname COLLATE "C"`, func(r []string) {
		l.add(relation.Name{}, "extension", displayIdent(r[1]), commentOn("pg_extension", r[0]), "schema", r[3], "version", r[2])
	})
}

func (l *schemaLoader) loadFunctions(ctx context.Context) error {
	return l.each(ctx, `SELECT p.oid, n.nspname, p.proname, p.prokind, oidvectortypes(p.proargtypes), pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
 la.lanname, `+l.since(140000, "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)", "p.prosrc")+`, p.probin, p.provolatile, p.proisstrict, p.prosecdef, p.proleakproof,
 p.proparallel, p.procost, p.prorows, (SELECT string_agg(s, ', ' ORDER BY s COLLATE "C") FROM unnest(p.proconfig) s),
 CASE WHEN g.aggfnoid IS NOT NULL THEN concat_ws(' ', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggmtransfn, format_type(g.aggtranstype, NULL), g.agginitval) END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language la ON la.oid = p.prolang LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
WHERE `+userSchema+` AND `+owned("pg_proc", "p.oid")+`
 AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'i')
ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", p.oid`, func(r []string) {
		kind := map[string]string{"f": "function", "p": "procedure", "a": "aggregate", "w": "window function"}[r[3]]
		name := relation.Name{Schema: r[1], Name: r[2]}.String() + "(" + r[4] + ")"
		l.labels["pg_proc "+r[0]] = label{on: kind + " " + name}
		source := r[8]
		if kind == "aggregate" {
			source = r[18]
		}
		l.add(relation.Name{}, kind, name, commentOn("pg_proc", r[0]), "arguments", r[5], "returns", r[6], "language", r[7], "body", source, "library", r[9],
			"volatility", map[string]string{"i": "immutable", "s": "stable", "v": "volatile"}[r[10]], "strict", yes(r[11]), "security definer", yes(r[12]),
			"leakproof", yes(r[13]), "parallel", map[string]string{"s": "safe", "r": "restricted"}[r[14]], "settings", r[17], "cost", r[15], "rows", r[16])
	})
}

// loadTypes reads enums, composite types, domains and ranges.
func (l *schemaLoader) loadTypes(ctx context.Context) error {
	return l.each(ctx, `SELECT t.oid, n.nspname, t.typname, t.typtype,
 (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
 (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
  FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
 CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, t.typnotnull, t.typdefault,
 CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN cn.nspname END, co.collname,
 CASE WHEN r.rngtypid IS NOT NULL THEN concat_ws(', ', format_type(r.rngsubtype, NULL),
  (SELECT 'operator class ' || o.opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc AND NOT o.opcdefault),
  (SELECT 'collation ' || c.collname FROM pg_collation c WHERE c.oid = r.rngcollation AND c.collname <> 'default'),
  'canonical ' || nullif(r.rngcanonical::oid, 0)::regproc, 'difference ' || nullif(r.rngsubdiff::oid, 0)::regproc) END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_collation co ON co.oid = t.typcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace LEFT JOIN pg_range r ON r.rngtypid = t.oid
WHERE t.typtype IN ('e', 'c', 'd', 'r') AND (t.typtype <> 'c' OR c.relkind = 'c') AND `+userSchema+` AND `+owned("pg_type", "t.oid")+`
ORDER BY n.nspname COLLATE "C", t.typname COLLATE "C"`, func(r []string) {
		name := relation.Name{Schema: r[1], Name: r[2]}.String()
		kind := map[string]string{"d": "domain"}[r[3]]
		if kind == "" {
			kind = "type"
		}
		l.labels["pg_type "+r[0]] = label{on: kind + " " + name}
		notNull := ""
		if kind == "domain" {
			notNull = yes(r[7])
		}
		l.add(relation.Name{}, kind, name, commentOn("pg_type", r[0]), "labels", r[4], "attributes", r[5], "base", r[6], "not null", notNull,
			"default", r[8], "collation", collation(r[9], r[10]), "range of", r[11])
	})
}

func (l *schemaLoader) loadDomainConstraints(ctx context.Context) error {
	return l.each(ctx, `SELECT c.oid, n.nspname, t.typname, c.conname, pg_get_expr(c.conbin, 0), c.convalidated
FROM pg_constraint c JOIN pg_type t ON t.oid = c.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE c.contype = 'c' AND `+userSchema+` AND `+owned("pg_type", "t.oid")+` ORDER BY n.nspname COLLATE "C", t.typname COLLATE "C", c.conname COLLATE "C"`, func(r []string) {
		l.add(relation.Name{}, "constraint", displayIdent(r[3])+" on domain "+relation.Name{Schema: r[1], Name: r[2]}.String(), commentOn("pg_constraint", r[0]),
			"type", "check", "definition", r[4], "validated", no(r[5]))
	})
}

// loadGrants reads who but the owner may do what. Where nothing was granted or
// revoked, the defaults count. What the server itself granted on a schema is
// marked: it differs between versions.
func (l *schemaLoader) loadGrants(ctx context.Context) error {
	arms := []string{
		`SELECT 'pg_class', c.oid, 0::int2, c.relowner, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)), false
 FROM ` + l.labelled("pg_class") + ` JOIN pg_class c ON c.oid = r.oid`,
		`SELECT 'pg_attribute', c.oid, a.attnum, c.relowner, a.attacl, false
 FROM ` + l.all() + ` JOIN pg_class c ON c.oid = r.oid JOIN pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL`,
	}
	if l.scope.Whole {
		arms = append(arms, `SELECT 'pg_proc', p.oid, 0::int2, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), false FROM pg_proc p JOIN `+l.labelled("pg_proc")+` ON r.oid = p.oid`,
			`SELECT 'pg_type', t.oid, 0::int2, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner)), false FROM pg_type t JOIN `+l.labelled("pg_type")+` ON r.oid = t.oid`,
			`SELECT 'pg_namespace', n.oid, 0::int2, n.nspowner, n.nspacl,
 EXISTS (SELECT 1 FROM pg_init_privs i WHERE i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid AND i.initprivs = n.nspacl)
 FROM pg_namespace n JOIN `+l.labelled("pg_namespace")+` ON r.oid = n.oid`)
	}
	return l.each(ctx, `SELECT o.catalog, o.oid, o.sub, x.grantee = 0, coalesce(g.rolname, x.grantee::text),
 string_agg(DISTINCT x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', '
  ORDER BY x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END), o.initial
FROM (`+strings.Join(arms, "\nUNION ALL ")+`) o(catalog, oid, sub, owner, acl, initial)
CROSS JOIN LATERAL aclexplode(o.acl) x LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE x.grantee <> o.owner GROUP BY 1, 2, 3, 4, 5, 7 ORDER BY 1, 2, 3, 5`, func(r []string) {
		key := r[0] + " " + r[1]
		grantee := "PUBLIC"
		if r[3] != "t" {
			grantee = displayIdent(r[4])
		}
		if r[0] == "pg_attribute" {
			d := l.relations[r[1]]
			column, known := l.labels[key+" "+r[2]]
			if !known { // a view's, or a partition's
				return
			}
			l.add(d.name, "grant", grantee+" on "+column.on, "", "privileges", r[5])
			return
		}
		on := l.labels[key]
		if on.on != "" {
			grantee += " on " + on.on
		}
		l.add(on.table, "grant", grantee, "", "privileges", r[5], relation.Initial, yes(r[6]))
	})
}

// labelled returns an SQL array of what grants may be on, as a table r.
func (l *schemaLoader) labelled(catalog string) string {
	var list []string
	for key := range l.labels {
		if oid, ok := strings.CutPrefix(key, catalog+" "); ok {
			list = append(list, oid)
		}
	}
	slices.Sort(list)
	return "unnest('{" + strings.Join(list, ",") + "}'::oid[]) r(oid)"
}
