package parity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// SchemaRules say how the definitions of two sides are compared.
type SchemaRules struct {
	// Tables are those that are compared, under both sides' names and with the
	// policies that rename columns or leave them out.
	Tables []Tables
	// Renamed names tables of the source that are called otherwise on the target,
	// also such as are not compared: others may refer to them.
	Renamed map[relation.Name]relation.Name
	// Major are the sides' versions; 0: not known.
	Major [2]int
	// Ignore are differences that are not reported.
	Ignore []relation.ObjectPattern
	// formed holds what comparing the form of tables has found: it is not
	// reported again. Tables are by their names on the source.
	formed map[relation.Name]formed
}

// formed is what planForm made of a table.
type formed struct {
	differences []SchemaDifference
	keys        []string // names of the indexes that it took for keys
}

func ignored(patterns []relation.ObjectPattern, d *SchemaDifference) bool {
	return slices.ContainsFunc(patterns, func(p relation.ObjectPattern) bool { return p.Match(d.Table, d.Object) })
}

// CompareSchema compares definitions, those of the source first. It returns
// each object that differs once, in the source's order.
func CompareSchema(source, target []relation.Object, rules SchemaRules) []SchemaDifference {
	c := newSchemaComparison(rules)
	c.load(source, target)
	c.relations()
	c.members()
	c.rest()
	return slices.DeleteFunc(c.differences, func(d SchemaDifference) bool { return ignored(rules.Ignore, &d) })
}

// schemaComparison compares the objects of two sides.
type schemaComparison struct {
	rules   SchemaRules
	tables  map[relation.Name]Tables        // by the source's name
	sources map[relation.Name]relation.Name // the source's names by the target's
	// Objects by what they belong to, under the target's name for it; what
	// belongs to no table is under the zero name.
	objects [2]map[relation.Name][]*relation.Object
	order   []relation.Name // those names, the source's first
	// absent are the relations that are not looked into: one side lacks them,
	// or they are partitioned otherwise.
	absent map[relation.Name]bool
	// retyped are the tables with a column whose type differs.
	retyped     map[relation.Name]bool
	differences []SchemaDifference
}

func newSchemaComparison(rules SchemaRules) *schemaComparison {
	c := &schemaComparison{
		rules: rules, tables: make(map[relation.Name]Tables), sources: make(map[relation.Name]relation.Name),
		absent: make(map[relation.Name]bool), retyped: make(map[relation.Name]bool),
	}
	for source, target := range rules.Renamed {
		c.tables[source], c.sources[target] = Tables{Source: source, Target: target}, source
	}
	for _, t := range rules.Tables {
		c.tables[t.Source], c.sources[t.Target] = t, t.Source
	}
	return c
}

// onTarget is the target's name for a relation of the source.
func (c *schemaComparison) onTarget(n relation.Name) relation.Name {
	if t, ok := c.tables[n]; ok {
		return t.Target
	}
	return n
}

// onSource is the source's name for a relation of the target.
func (c *schemaComparison) onSource(n relation.Name) relation.Name {
	if s, ok := c.sources[n]; ok {
		return s
	}
	return n
}

func (c *schemaComparison) load(source, target []relation.Object) {
	for side, list := range [2][]relation.Object{source, target} {
		c.objects[side] = make(map[relation.Name][]*relation.Object)
		for i := range list {
			o := &list[i]
			at := o.Table
			if side == int(relation.Source) {
				at = c.onTarget(at)
			}
			if c.excludes(o, c.onSource(at)) {
				continue
			}
			if len(c.objects[0][at])+len(c.objects[1][at]) == 0 {
				c.order = append(c.order, at)
			}
			c.objects[side][at] = append(c.objects[side][at], o)
		}
	}
}

// excludes reports whether an object is of a column that the table's policy
// leaves out.
func (c *schemaComparison) excludes(o *relation.Object, table relation.Name) bool {
	excluded := c.tables[table].Policy.Exclude
	if len(excluded) == 0 {
		return false
	}
	var names []string
	switch o.Kind {
	case "column":
		return slices.Contains(excluded, o.Name)
	case "constraint":
		names = append(columnNames(o.Property("columns")), columnNames(o.Property("definition"))...)
	case "index":
		names = columnNames(o.Property("definition"))
	case "grant":
		_, column, found := strings.Cut(o.Name, " on column ")
		return found && slices.Contains(excluded, column)
	}
	return slices.ContainsFunc(excluded, func(column string) bool {
		return slices.Contains(names, unquoted(relation.QuoteIdent(column)))
	})
}

// columnNames are the tokens of a text that may be names of columns.
func columnNames(text string) (names []string) {
	tokens := tokenize(text)
	may := columnsAmong(tokens)
	for i, token := range tokens {
		if may[i] {
			names = append(names, token)
		}
	}
	return names
}

var relationKinds = []string{"table", "view", "materialized view", "foreign table", "partition", "heir"}

func relationOf(objects []*relation.Object) *relation.Object {
	for _, o := range objects {
		if o.Name == "" && slices.Contains(relationKinds, o.Kind) {
			return o
		}
	}
	return nil
}

// relations compares tables and views themselves.
func (c *schemaComparison) relations() {
	scheme := make(map[relation.Name]bool) // partitioned otherwise
	parts := make(map[relation.Name][2][]*relation.Object)
	var roots []relation.Name
	root := func(n relation.Name, side int) relation.Name {
		for range 32 { // levels of partitions; a limit, should the catalog be read amid a change
			r := relationOf(c.objects[side][n])
			if r == nil || r.Property("of") == "" {
				break
			}
			of, err := relation.ParseName(r.Property("of"))
			if err != nil {
				break
			}
			if n = of; side == int(relation.Source) {
				n = c.onTarget(of)
			}
		}
		return n
	}
	for _, name := range c.order {
		s, t := relationOf(c.objects[0][name]), relationOf(c.objects[1][name])
		either := s
		if either == nil {
			either = t
		}
		if either == nil {
			continue
		}
		if either.Kind == "partition" || either.Kind == "heir" {
			for side, o := range [2]*relation.Object{s, t} {
				if o == nil {
					continue
				}
				r := root(name, side)
				p, known := parts[r]
				if !known {
					roots = append(roots, r)
				}
				p[side] = append(p[side], o)
				parts[r] = p
			}
			if s == nil || t == nil {
				c.absent[name] = true
			}
			continue
		}
		if s == nil || t == nil {
			c.absent[name] = true
			c.lacking(s, t)
			continue
		}
		if s.Kind != t.Kind && (s.Kind == "view" || t.Kind == "view" || s.Kind == "materialized view" || t.Kind == "materialized view") {
			c.differ(s, "changed", Drifts, s.Kind, t.Kind)
			c.absent[name] = true // they have little in common
			continue
		}
		if s.Property("partitioned by") != t.Property("partitioned by") {
			scheme[name] = true
		}
		c.compare(s, t)
		c.retyped[name] = c.typesDiffer(name)
	}
	for _, r := range roots {
		c.partitions(r, parts[r], scheme[r] || c.absent[r])
	}
}

// partitions compares the partitions and heirs of a table. Where it is
// partitioned otherwise, that has been said; where many differ, it is said once.
func (c *schemaComparison) partitions(of relation.Name, parts [2][]*relation.Object, otherwise bool) {
	c.absentParts(parts, otherwise)
	if otherwise {
		return
	}
	few := len(c.differences)
	for side, list := range parts {
		for _, o := range list {
			var pair [2]*relation.Object
			name := o.Table
			if side == int(relation.Source) {
				name = c.onTarget(name)
			}
			pair[0], pair[1] = relationOf(c.objects[0][name]), relationOf(c.objects[1][name])
			switch {
			case pair[0] == nil || pair[1] == nil:
				c.lacking(pair[0], pair[1])
			case side == int(relation.Source):
				c.compare(pair[0], pair[1])
			}
		}
	}
	if n := len(c.differences) - few; n > maxPartitions {
		c.differences = append(c.differences[:few], SchemaDifference{
			Table: c.onSource(of), Object: "partitions", Kind: "changed", Severity: Drifts,
			Source: plural(int64(len(parts[0])), "partition"), Target: plural(int64(len(parts[1])), "partition"),
			Hint: count(int64(n)) + " of them differ in name or bounds",
		})
	}
}

// maxPartitions is how many partitions of a table are reported one by one.
const maxPartitions = 5

func (c *schemaComparison) absentParts(parts [2][]*relation.Object, otherwise bool) {
	if !otherwise {
		return
	}
	for side, list := range parts {
		for _, o := range list {
			name := o.Table
			if side == int(relation.Source) {
				name = c.onTarget(name)
			}
			c.absent[name] = true
		}
	}
}

func (c *schemaComparison) typesDiffer(table relation.Name) bool {
	types := make(map[string]string)
	for _, o := range c.objects[0][table] {
		if o.Kind == "column" {
			types[c.column(c.onSource(table), o.Name)] = o.Property("type")
		}
	}
	return slices.ContainsFunc(c.objects[1][table], func(o *relation.Object) bool {
		was, both := types[o.Name]
		return o.Kind == "column" && both && was != o.Property("type")
	})
}

// column is the target's name for a column of the source.
func (c *schemaComparison) column(table relation.Name, name string) string {
	if to, mapped := c.tables[table].Policy.Columns[name]; mapped {
		return to
	}
	return name
}

// members compares what belongs to tables, and rest what belongs to none.
func (c *schemaComparison) members() {
	for _, name := range c.order {
		if name != (relation.Name{}) && !c.absent[name] {
			c.pairUp(name)
		}
	}
}

func (c *schemaComparison) rest() { c.pairUp(relation.Name{}) }

// pairUp matches the objects of a table by kind and name, then constraints,
// indexes and sequences of other names by what they are.
func (c *schemaComparison) pairUp(table relation.Name) {
	var left [2][]*relation.Object
	byName := make(map[string]*relation.Object)
	for _, o := range c.objects[1][table] {
		byName[o.String()] = o
	}
	matched := make(map[*relation.Object]bool)
	pairs := make(map[*relation.Object]*relation.Object)
	for _, s := range c.objects[0][table] {
		name := s.String()
		if s.Kind == "column" {
			name = "column " + c.column(c.onSource(table), s.Name)
		}
		if t := byName[name]; t != nil && !matched[t] {
			pairs[s], matched[t] = t, true
		} else {
			left[0] = append(left[0], s)
		}
	}
	for _, t := range c.objects[1][table] {
		if !matched[t] {
			left[1] = append(left[1], t)
		}
	}
	for _, s := range left[0] {
		at := slices.IndexFunc(left[1], func(t *relation.Object) bool { return !matched[t] && c.alike(s, t) })
		if at >= 0 {
			pairs[s], matched[left[1][at]] = left[1][at], true
		}
	}
	for _, s := range c.objects[0][table] {
		if slices.Contains(relationKinds, s.Kind) && s.Name == "" {
			continue
		}
		if t := pairs[s]; t != nil {
			c.compare(s, t)
		} else if c.parented(s, relation.Target) {
			c.lacking(s, nil)
		}
	}
	for _, t := range left[1] {
		if !matched[t] && !slices.Contains(relationKinds, t.Kind) && c.parented(t, relation.Source) {
			c.lacking(nil, t)
		}
	}
}

// parented reports whether the side has what the object is on: a grant on a
// function that is missing is not missing, too.
func (c *schemaComparison) parented(o *relation.Object, side relation.Side) bool {
	_, on, found := strings.Cut(o.Name, " on ")
	if !found || o.Kind != "grant" && o.Kind != "constraint" {
		return true
	}
	table := o.Table
	if side == relation.Target {
		table = c.onTarget(table)
		if column, is := strings.CutPrefix(on, "column "); is {
			on = "column " + c.column(o.Table, column)
		}
	}
	return slices.ContainsFunc(c.objects[side][table], func(p *relation.Object) bool { return p.String() == on })
}

// alike reports whether two objects of different names are the same.
func (c *schemaComparison) alike(s, t *relation.Object) bool {
	switch {
	case s.Kind == "sequence" && t.Kind == "sequence":
		return s.Property("feeds") != "" && c.feeds(s) == t.Property("feeds")
	case s.Kind == "constraint" && t.Kind == "constraint":
		if s.Table == (relation.Name{}) {
			return false
		}
		kind, other := s.Property("type"), t.Property("type")
		return (kind == other || unique(s) && unique(t)) && c.sameText(s, t, "columns") && c.sameText(s, t, "definition") && c.sameText(s, t, "references") &&
			c.sameText(s, t, "referenced")
	case s.Kind == "index" && t.Kind == "index":
		return s.Property("unique") == t.Property("unique") && c.sameText(s, t, "definition")
	case unique(s) && unique(t): // a constraint and an index
		return slices.Equal(c.renamed(s, uniqueColumns(s)), flat(printed(uniqueColumns(t))))
	}
	return false
}

// unique reports whether an object keeps rows apart by plain columns.
func unique(o *relation.Object) bool {
	return o.Kind == "constraint" && slices.Contains([]string{"primary key", "unique"}, o.Property("type")) ||
		o.Kind == "index" && o.Property("unique") != "" && strings.HasPrefix(o.Property("definition"), "btree (")
}

// uniqueColumns are the columns of what unique is true of; of an index with
// more to it than columns, all that.
func uniqueColumns(o *relation.Object) string {
	if o.Kind == "constraint" {
		return o.Property("columns")
	}
	columns := strings.TrimPrefix(o.Property("definition"), "btree (")
	if rest, plain := strings.CutSuffix(columns, ")"); plain && !strings.Contains(rest, "(") {
		return rest
	}
	return columns
}

// sameText reports whether a property defines the same on both sides.
func (c *schemaComparison) sameText(s, t *relation.Object, property string) bool {
	was, is := s.Property(property), t.Property(property)
	if was == is && len(c.tables) == 0 {
		return true
	}
	a, b := c.renamed(s, was), flat(printed(is))
	if samePrinted(a, b) {
		return true
	}
	if !c.retyped[t.Table] && (t.Table != (relation.Name{}) && !strings.Contains(t.Kind, "view") || !c.anyRetyped()) {
		return false
	}
	return samePrinted(withoutTypes(a), withoutTypes(b))
}

// anyRetyped reports whether a column of any table has another type: what
// refers to it converts it otherwise.
func (c *schemaComparison) anyRetyped() bool {
	for _, retyped := range c.retyped {
		if retyped {
			return true
		}
	}
	return false
}

func withoutTypes(tokens []string) []string {
	terms, _ := groups(tokens)
	return flat(withoutCasts(terms))
}

// renamed returns the tokens of a text of the source under the target's names
// for tables and columns.
func (c *schemaComparison) renamed(o *relation.Object, text string) []string {
	tokens := flat(printed(text))
	columns, may := c.tables[o.Table].Policy.Columns, columnsAmong(tokens)
	for i, token := range tokens {
		if i+2 < len(tokens) && tokens[i+1] == "." {
			name := relation.Name{Schema: bare(token), Name: bare(tokens[i+2])}
			if t, ok := c.tables[name]; ok && t.Target != t.Source {
				tokens[i], tokens[i+2] = unquoted(relation.QuoteIdent(t.Target.Schema)), unquoted(relation.QuoteIdent(t.Target.Name))
			}
		}
		if to, mapped := columns[bare(token)]; mapped && may[i] && (i+1 == len(tokens) || tokens[i+1] != "(" && tokens[i+1] != ".") {
			tokens[i] = unquoted(relation.QuoteIdent(to))
		}
	}
	return tokens
}

// bare is the identifier that a token stands for.
func bare(token string) string {
	if len(token) > 1 && token[0] == '"' {
		return strings.ReplaceAll(token[1:len(token)-1], `""`, `"`)
	}
	return token
}

// feeds is what a sequence of the source feeds, under the target's names.
func (c *schemaComparison) feeds(s *relation.Object) string {
	text := s.Property("feeds")
	at := strings.LastIndex(text, `."`)
	if at < 0 {
		return text
	}
	table, err := relation.ParseName(text[:at])
	if err != nil {
		return text
	}
	return c.onTarget(table).String() + "." + relation.QuoteIdent(c.column(table, bare(text[at+1:])))
}

// same reports whether a property is the same on both sides.
func (c *schemaComparison) same(s, t *relation.Object, property string) bool {
	was, is := s.Property(property), t.Property(property)
	switch property {
	case "feeds":
		return c.feeds(s) == is
	case "default":
		return c.sameText(s, t, property) || c.sameSequence(was, is)
	case "body":
		// Bodies are texts of their authors, unless the server has parsed them.
		return was == is || parsedBody(was) && parsedBody(is) && c.sameText(s, t, property)
	case "columns", "referenced":
		return c.sameText(s, t, property) || s.Property("type") == "foreign key" && c.samePairs(s, t)
	case "privileges":
		asMade := s.Property(relation.Initial) != "" && t.Property(relation.Initial) != ""
		return asMade || c.privileges(was) == c.privileges(is)
	case relation.Initial:
		return true
	case "labels", "comment", "settings", "library", "options":
		return was == is
	}
	return was == is && len(c.tables) == 0 || c.sameText(s, t, property)
}

// sameSequence reports whether two defaults take from sequences that feed the
// same column, of a table of another name: the sequence has another name, too.
func (c *schemaComparison) sameSequence(was, is string) bool {
	var feeds [2]string
	for side, text := range [2]string{was, is} {
		name, call := strings.CutPrefix(text, "nextval('")
		name, whole := strings.CutSuffix(name, "'::regclass)")
		if !call || !whole {
			return false
		}
		for _, o := range c.objects[side][relation.Name{}] {
			if o.Kind == "sequence" && o.Name == strings.ReplaceAll(name, "''", "'") {
				if feeds[side] = o.Property("feeds"); side == int(relation.Source) {
					feeds[side] = c.feeds(o)
				}
			}
		}
	}
	return feeds[0] != "" && feeds[0] == feeds[1]
}

// columnTokens are the names in a list of columns, under the target's names.
func (c *schemaComparison) columnTokens(o *relation.Object, property string) []string {
	return slices.DeleteFunc(c.renamed(o, o.Property(property)), func(t string) bool { return t == "," })
}

// sameColumns reports whether two keys have the same columns in any order.
func (c *schemaComparison) sameColumns(s, t *relation.Object) bool {
	return sameSet(c.columnTokens(s, "columns"), flatColumns(t, "columns"))
}

func flatColumns(o *relation.Object, property string) []string {
	return slices.DeleteFunc(flat(printed(o.Property(property))), func(t string) bool { return t == "," })
}

// samePairs reports whether two foreign keys refer to the same columns by the
// same ones, in any order.
func (c *schemaComparison) samePairs(s, t *relation.Object) bool {
	pairs := func(columns, referenced []string) (list []string) {
		for i := range min(len(columns), len(referenced)) {
			list = append(list, columns[i]+" "+referenced[i])
		}
		return list
	}
	other := &relation.Object{Properties: s.Properties, Table: c.referred(s)}
	return sameSet(pairs(c.columnTokens(s, "columns"), c.columnTokens(other, "referenced")), pairs(flatColumns(t, "columns"), flatColumns(t, "referenced")))
}

// referred is the table that a foreign key of the source refers to.
func (c *schemaComparison) referred(s *relation.Object) relation.Name {
	name, err := relation.ParseName(s.Property("references"))
	if err != nil {
		return s.Table
	}
	return name
}

func parsedBody(s string) bool {
	s = strings.TrimSpace(s)
	return strings.HasPrefix(s, "BEGIN ATOMIC") || strings.HasPrefix(s, "RETURN ")
}

// privileges leaves out those that one side's version does not have.
func (c *schemaComparison) privileges(list string) string {
	if min(c.rules.Major[0], c.rules.Major[1]) >= 17 {
		return list
	}
	var kept []string
	for p := range strings.SplitSeq(list, ", ") {
		if !strings.HasPrefix(p, "MAINTAIN") {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ", ")
}

// compare compares two objects that stand for each other.
func (c *schemaComparison) compare(s, t *relation.Object) {
	form, isFormed := c.rules.formed[s.Table]
	isFormed = isFormed && s.Table != (relation.Name{})
	var parts [2][]string
	severity := Cosmetic
	note := func(property string, how Severity) {
		for side, o := range [2]*relation.Object{s, t} {
			parts[side] = append(parts[side], describeProperty(property, o.Property(property), [2]*relation.Object{s, t}[1-side].Property(property)))
		}
		severity = worse(severity, how)
	}
	for _, property := range propertyNames(s, t) {
		if c.same(s, t, property) || property == "type" && s.Kind == "column" && isFormed {
			continue
		}
		if unique(s) && unique(t) && s.Kind != t.Kind && (property == "definition" || property == "columns" || property == "type" || property == "unique") {
			continue // it is said that they are of two kinds
		}
		note(property, c.changed(s, t, property))
	}
	_, mapped := c.tables[s.Table]
	mapped = mapped && c.onTarget(s.Table) != s.Table
	switch {
	case s.Kind != t.Kind:
		severity = worse(severity, Drifts)
		for side, o := range [2]*relation.Object{s, t} {
			parts[side] = append([]string{o.String()}, parts[side]...)
		}
	case s.Name != t.Name && s.Kind != "column" && s.Kind != "sequence" && !mapped:
		for side, o := range [2]*relation.Object{s, t} {
			parts[side] = append([]string{"name " + displayName(o)}, parts[side]...)
		}
	case s.Name != t.Name && s.Kind == "sequence" && c.onTarget(nameOf(s)) != nameOf(t) && !c.feedsMapped(s):
		parts[0], parts[1] = append([]string{"name " + s.Name}, parts[0]...), append([]string{"name " + t.Name}, parts[1]...)
	}
	if len(parts[0]) == 0 || isFormed && unique(s) && form.reported(s, t) {
		return
	}
	c.differ(s, "changed", severity, strings.Join(parts[0], ", "), strings.Join(parts[1], ", "))
}

func nameOf(o *relation.Object) relation.Name {
	n, err := relation.ParseName(o.Name)
	if err != nil {
		return relation.Name{}
	}
	return n
}

// feedsMapped reports whether a sequence feeds a table of another name on the
// target: then the sequence has another name, too.
func (c *schemaComparison) feedsMapped(s *relation.Object) bool {
	return s.Property("feeds") != c.feeds(s)
}

func displayName(o *relation.Object) string {
	if o.Table == (relation.Name{}) {
		return o.Name
	}
	return relation.QuoteIdent(o.Name)
}

// reported reports whether one of the objects was found to differ as a key.
func (f *formed) reported(objects ...*relation.Object) bool {
	return slices.ContainsFunc(f.differences, func(d SchemaDifference) bool {
		return slices.ContainsFunc(objects, func(o *relation.Object) bool {
			return o != nil && (d.Object == "constraint "+o.Name || d.Object == "index "+o.Name)
		})
	})
}

func propertyNames(s, t *relation.Object) []string {
	var names []string
	for _, p := range slices.Concat(s.Properties, t.Properties) {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// unsaid is what the absence of a property means.
var unsaid = map[string]string{"not null": "nullable", "unlogged": "logged"}

// longText is how many bytes of a definition a difference shows.
const longText = 400

// describeProperty writes a property for people. Of long texts it shows where
// they begin to differ from the other side's.
func describeProperty(name, value, other string) string {
	switch {
	case value == "" && (other == "no" || name == "enabled"):
		return name
	case value == "" && unsaid[name] != "":
		return unsaid[name]
	case value == "":
		return "no " + name
	case value == "yes":
		return name
	case value == "no":
		return "not " + name
	case name == "type" || name == "definition" || name == "body" || name == "labels" || name == "attributes" || name == "privileges" || name == "bounds":
		return excerpt(value, other)
	}
	return name + " " + excerpt(value, other)
}

func excerpt(value, other string) string {
	if len(value) <= longText {
		return value
	}
	at := 0
	for at < min(len(value), len(other)) && value[at] == other[at] {
		at++
	}
	line := 1 + strings.Count(value[:at], "\n")
	at = strings.LastIndexByte(value[:at], '\n') + 1
	cut := value[at:]
	if len(cut) > longText {
		cut = strings.ToValidUTF8(cut[:longText], "") + " …"
	}
	if at == 0 {
		return cut
	}
	return fmt.Sprintf("… line %d: %s", line, cut)
}

// movedSchema reports whether a schema is on one side alone because tables are
// mapped out of it, or into it.
func (c *schemaComparison) movedSchema(s, t *relation.Object) bool {
	return slices.ContainsFunc(c.rules.Tables, func(m Tables) bool {
		moves := m.Source.Schema != m.Target.Schema
		return moves && (s != nil && s.Name == displayIdent(m.Source.Schema) || t != nil && t.Name == displayIdent(m.Target.Schema))
	})
}

func displayIdent(s string) string {
	return strings.TrimPrefix(relation.Name{Schema: "s", Name: s}.String(), "s.")
}

// lacking notes an object that one side lacks, which is nil.
func (c *schemaComparison) lacking(s, t *relation.Object) {
	if o := cmp.Or(s, t); o.Kind == "schema" && c.movedSchema(s, t) {
		return
	}
	o, kind, severity := s, "missing", Drifts
	if s == nil {
		o, kind = t, "extra"
	} else {
		severity = missing(s)
	}
	table := o.Table
	if s == nil {
		table = c.onSource(table)
	}
	if form, ok := c.rules.formed[table]; ok && table != (relation.Name{}) {
		switch {
		case o.Kind == "column" || unique(o) && form.reported(o):
			return // it has been said
		case unique(o) && slices.Contains(form.keys, o.Name):
			severity = Drifts // the rows are kept apart by something else
		}
	}
	c.noted(table, o, kind, severity)
}

func (c *schemaComparison) noted(table relation.Name, o *relation.Object, kind string, severity Severity) {
	var parts []string
	for _, p := range o.Properties {
		if p.Name == relation.Initial {
			continue
		}
		parts = append(parts, describeProperty(p.Name, p.Value, p.Value))
	}
	text := strings.Join(parts, ", ")
	if text == "" {
		text = o.String()
		if o.Name == "" {
			text = o.Table.String()
		}
	}
	d := SchemaDifference{Table: table, Object: o.String(), Kind: kind, Severity: severity}
	if text = excerpt(text, ""); kind == "missing" {
		d.Source = text
	} else {
		d.Target = text
	}
	c.differences = append(c.differences, d)
}

func (c *schemaComparison) differ(s *relation.Object, kind string, severity Severity, source, target string) {
	c.differences = append(c.differences, SchemaDifference{Table: s.Table, Object: s.String(), Kind: kind, Severity: severity, Source: source, Target: target})
}

func worse(a, b Severity) Severity {
	for _, s := range []Severity{Breaks, Drifts} {
		if a == s || b == s {
			return s
		}
	}
	return Cosmetic
}

// missing says how much it matters that the target lacks an object.
func missing(o *relation.Object) Severity {
	switch o.Kind {
	case "table", "foreign table", "column", "constraint":
		if o.Property("enforced") == "no" {
			return Drifts
		}
		return Breaks
	case "index":
		if o.Property("unique") != "" {
			return Breaks // it keeps rows apart as a constraint does
		}
	}
	return Drifts
}

// changed says how much it matters that a property differs.
func (c *schemaComparison) changed(s, t *relation.Object, property string) Severity {
	was, is := s.Property(property), t.Property(property)
	switch property {
	case "comment", "options", "replica identity", "cost", "rows", "cache", "start", "version":
		return Cosmetic
	}
	breaks := false
	switch s.Kind {
	case "column":
		breaks = property == "not null" && was == "yes" && is == "" || property == "type" && !widens(was, is)
	case "constraint":
		switch property {
		case "type":
			breaks = !unique(s) || !unique(t)
		case "columns":
			// Of a check, the definition says it; of a key, the order is no matter.
			breaks = s.Property("type") == "foreign key" || unique(s) && !c.sameColumns(s, t)
		case "definition":
			breaks = !c.retyped[t.Table]
		case "references", "match", "period":
			breaks = true
		case "referenced":
			// What a table that is not compared calls its columns, nobody has said.
			breaks = slices.ContainsFunc(c.rules.Tables, func(t Tables) bool { return t.Source == c.referred(s) })
		case "nulls not distinct", "enforced":
			breaks = was != is && (property == "enforced") == (is == "no")
		}
	case "index":
		breaks = property == "unique" && is == "" || property == "definition" && s.Property("unique") != "" && !c.retyped[t.Table]
	case "domain":
		breaks = property == "not null" && is == ""
	case "type":
		breaks = property == "labels" && lacksLabel(was, is)
	}
	if breaks {
		return Breaks
	}
	return Drifts
}

// lacksLabel reports whether the target's enum lacks one of the source's labels.
func lacksLabel(was, is string) bool {
	labels := tokenize(is)
	return slices.ContainsFunc(tokenize(was), func(l string) bool { return !slices.Contains(labels, l) })
}

// widenings are types that hold all that another one holds.
var widenings = map[string][]string{
	"smallint": {"integer", "bigint", "numeric"}, "integer": {"bigint", "numeric"}, "bigint": {"numeric"},
	"real": {"double precision"}, "character varying": {"text", "character varying"}, "text": {"character varying"},
	"json": {"jsonb"}, "jsonb": {"json"}, "numeric": {"numeric"},
}

// widens reports whether a type holds what another one holds, as far as their
// names tell. What reads rows knows better (planForm).
func widens(was, is string) bool {
	from, _, _ := strings.Cut(was, "(")
	to, _, _ := strings.Cut(is, "(")
	if !slices.Contains(widenings[from], to) {
		return false
	}
	scale, explicit := numericScale(was)
	other, also := numericScale(is)
	return !explicit || !also || scale == other
}
