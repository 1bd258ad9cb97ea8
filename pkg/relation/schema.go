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
	// Table and Column are what it feeds: the column that owns it, or whose
	// default takes values from it. Zero: none.
	Table  Name
	Column string
}
