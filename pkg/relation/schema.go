package relation

// Object is one named thing of a schema, with what defines it in a form that
// does not depend on the server's version.
type Object struct {
	// Table is the relation that the object belongs to, or is. Zero: none.
	Table Name
	// Kind is what a report calls it: "table", "column", "index", "constraint",
	// "trigger", "policy", "view", "function", "type", "extension" …
	Kind string
	// Name is its name: within Table, or qualified by its schema and, for
	// functions, with argument types. Empty where Table says it.
	Name string
	// Properties are what defines it, in a fixed order.
	Properties []Property
}

// Initial is the property of a grant that the server itself has made, and
// nobody changed.
const Initial = "initial"

// Property is one part of an object's definition.
type Property struct{ Name, Value string }

// ForeignKey is a reference from the rows of one table to those of another: a
// constraint, or what the configuration says.
type ForeignKey struct {
	Name       string // the constraint's; of one that the configuration declares, how it stands there
	Declared   bool   // by the configuration, not by the schema
	Table      Name   // whose rows refer
	Columns    []string
	References Name // whose rows are referred to
	Referenced []string
	// Full says that a row whose columns are partly NULL breaks it (MATCH FULL);
	// otherwise such a row refers to nothing (MATCH SIMPLE).
	Full bool
	// Period says that the last column is a range that the referenced rows must
	// cover together (PostgreSQL 18).
	Period bool
	// Validated and Enforced are what the catalog claims. Neither is proof.
	Validated, Enforced bool
}

// Sequence is a sequence with its state, which belongs to no snapshot.
type Sequence struct {
	Name                              Name
	Type                              string // "bigint"
	Start, Min, Max, Increment, Cache int64
	Cycle                             bool
	Last                              *int64 // the last value handed out; nil: none was
	// Next is what it hands out first where none was handed out. nil: Last says
	// it, or nobody could read it.
	Next *int64
	// Unreadable says that the role may not read Last and Next.
	Unreadable bool
	// Feeds are the columns that take values from it: first the one that owns
	// it, then those with it in their defaults.
	Feeds []Fed
}

// Fed is a column that takes its values from a sequence.
type Fed struct {
	Table  Name
	Column string
}

// SchemaScope says of what the definitions are read.
type SchemaScope struct {
	// Tables are read with all that belongs to them.
	Tables []Name
	// Whole adds what belongs to the database rather than to a table: views,
	// functions, types, schemas, extensions, and sequences that feed nothing.
	Whole bool
	// Exclude leaves out what has such a name: views and sequences that Whole
	// would add.
	Exclude []Pattern
	// Comments adds what COMMENT ON says.
	Comments bool
}

// Excludes reports whether the scope leaves out a relation of that name.
func (s *SchemaScope) Excludes(n Name) bool {
	for _, p := range s.Exclude {
		if p.Match(n) {
			return true
		}
	}
	return false
}

// String is how a report names the object within its table: its kind and its
// name, as in "column d".
func (o *Object) String() string {
	if o.Name == "" {
		return o.Kind
	}
	return o.Kind + " " + o.Name
}

// Property returns the value of the property of that name; "" if there is none.
func (o *Object) Property(name string) string {
	for _, p := range o.Properties {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Reference is a foreign key as one side can check it.
type Reference struct {
	ForeignKey
	// On says in SQL when a row p is referred to by a row c: a condition a column.
	On []string
	// Meaning names how the columns are compared, where that is the same on every
	// server that names it so. Empty: equal rows may refer to another row elsewhere.
	Meaning string
}

// String names the foreign key for people: "items_order_fk of public.items".
func (k *ForeignKey) String() string {
	if k.Declared {
		return "reference " + k.Name
	}
	return displayIdent(k.Name) + " of " + k.Table.String()
}

// Own returns those members of a table that a foreign key from or to it
// concerns: its partitions, but no heirs.
func (t *Table) Own() []Member {
	if t.Kind == Partitioned {
		return t.Members
	}
	for i := range t.Members {
		if t.Members[i].OID == t.OID {
			return t.Members[i : i+1]
		}
	}
	return nil
}
