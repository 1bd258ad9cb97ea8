// Package relation holds the nouns that the rest of verifierd speaks in:
// tables, columns, types, keys, and the form in which two tables are compared.
// It imports nothing but the standard library and does no I/O.
package relation

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoTable says that a database has no relation of the name asked for.
var ErrNoTable = errors.New("no such table")

// Kind is the kind of a relation, as pg_class.relkind has it.
type Kind byte

// The kinds that can be selected for comparison.
const (
	Ordinary    Kind = 'r'
	Partitioned Kind = 'p'
	View        Kind = 'v'
	MatView     Kind = 'm'
	Foreign     Kind = 'f'
)

func (k Kind) String() string {
	switch k {
	case Ordinary:
		return "table"
	case Partitioned:
		return "partitioned table"
	case View:
		return "view"
	case MatView:
		return "materialized view"
	case Foreign:
		return "foreign table"
	}
	return "relation of kind " + string(rune(k))
}

// Table is a relation as one side's catalog describes it at a snapshot.
type Table struct {
	Name    Name
	OID     uint32
	Kind    Kind
	Columns []Column // in physical order, without dropped ones
	Keys    []Key    // what can identify a row, best first; empty: keyless
	Indexes []Index  // btrees that can find rows
	Members []Member // what is read: the table itself, or its partitions and heirs
}

// Column returns the column of that name, or nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Bytes returns the size of all members' main forks, in bytes.
func (t *Table) Bytes() int64 {
	var n int64
	for i := range t.Members {
		n += t.Members[i].Bytes
	}
	return n
}

// Rows returns the estimated number of rows of all members; at least 0.
func (t *Table) Rows() int64 {
	var n int64
	for i := range t.Members {
		n += max(0, t.Members[i].Rows)
	}
	return n
}

// Column is a column of a table.
type Column struct {
	Name       string
	Number     int16  // pg_attribute.attnum
	Type       *Type  //
	Definition string // the type as format_type prints it, with its modifier
	NotNull    bool
	Generated  bool // stored or virtual
	Identity   bool
}

// Key is a set of columns that identifies a row: a primary key, or a valid,
// non-partial unique index over NOT NULL columns.
type Key struct {
	Columns []string // in the index's order
	Index   string
	Primary bool
}

// Index is a valid, non-partial, ascending btree on plain columns: one that
// finds rows by a key, or by a range over its leading columns.
type Index struct {
	Name    string
	Columns []string
}

// Leads reports whether the index begins with the given columns, in order.
func (x Index) Leads(columns []string) bool {
	if len(columns) > len(x.Columns) {
		return false
	}
	for i, c := range columns {
		if x.Columns[i] != c {
			return false
		}
	}
	return true
}

// Member is one relation with storage (or a view) whose rows belong to a table.
type Member struct {
	Name         Name
	OID          uint32
	Filenode     uint32 // changes when the table is truncated or rewritten; 0 for views
	Kind         Kind
	AccessMethod string // "heap" for ordinary storage
	Bytes        int64  // of the main fork
	Blocks       int64  // of the main fork
	Rows         int64  // when it was last analyzed; -1: never
	// AnalyzedBlocks is what Blocks was when it was last analyzed.
	AnalyzedBlocks int64
}

// TypeKind says how a type is made.
type TypeKind byte

// The kinds of types, as pg_type.typtype has them, with arrays apart.
const (
	Base       TypeKind = 'b'
	Array      TypeKind = 'a'
	Enum       TypeKind = 'e'
	Domain     TypeKind = 'd'
	Composite  TypeKind = 'c'
	Range      TypeKind = 'r'
	Multirange TypeKind = 'm'
)

// Type is a data type as one side's catalog describes it.
type Type struct {
	Schema, Name string
	OID          uint32
	ArrayOID     uint32 // of the array over it; 0: none
	Kind         TypeKind
	Elem         *Type   // an array's element, a domain's base, a range's subtype, a multirange's range
	Attributes   []*Type // a composite's attribute types, in order, without dropped ones
	BinaryOutput bool    // whether the type has a binary output function
	Collation    bool    // whether its values sort by a collation
	// BaseDefinition is a domain's base type as format_type prints it, with the
	// modifier that the domain gives it.
	BaseDefinition string
}

// String returns the type's name; built-in types go without their schema.
func (t *Type) String() string {
	if t.Kind == Array && t.Elem != nil {
		return t.Elem.String() + "[]"
	}
	if t.Schema == "pg_catalog" {
		return t.Name
	}
	return Name{t.Schema, t.Name}.String()
}

// SQL returns the type's name for use in a cast.
func (t *Type) SQL() string { return Name{t.Schema, t.Name}.SQL() }

// Builtin reports whether the type ships with the server under one of names.
func (t *Type) Builtin(names ...string) bool {
	if t.Schema != "pg_catalog" {
		return false
	}
	for _, n := range names {
		if t.Name == n {
			return true
		}
	}
	return len(names) == 0
}

// Underlying strips domains.
func (t *Type) Underlying() *Type {
	for t.Kind == Domain && t.Elem != nil {
		t = t.Elem
	}
	return t
}

// Form is how one table is read on both sides so that equal rows have equal
// bytes: the columns both have, in the source's order, each in a type that both
// sides can send.
type Form struct {
	Table  [2]Name
	Fields []Field
	Key    []int // positions in Fields; empty: keyless
	// Ordered is the number of leading key columns that sort the same on
	// every server, and so can bound the leaves. 0: leaves go by hash alone.
	Ordered int
	// Indexed says, for each side, whether an index finds rows by their key.
	Indexed [2]bool
	// Ranged says, for each side, whether an index finds a range over the
	// Ordered columns.
	Ranged [2]bool
	// Where is, for each side, the SQL condition on the rows that are read; "":
	// all are.
	Where [2]string
}

// Field is one column of a Form.
type Field struct {
	Name [2]string // the column's name on each side
	Type [2]*Type  // the type that each side sends; same canonical bytes
	SQL  [2]string // the expression that stands in for the column; "": the column
	Cast [2]string // the SQL type to cast to before sending; "": none
	// Value says that what PostgreSQL takes for equal has the same canonical
	// bytes: numeric without its scale, −0 as 0, numbers in jsonb without theirs.
	Value bool
	// Reorder says that the sides' encodings differ, and that the type has parts
	// in the order of their bytes: they are put in one order.
	Reorder bool
}

// Expression is an SQL expression over a row of a table, as one side reads it.
type Expression struct {
	SQL        string
	Type       *Type
	Definition string // the type as format_type prints it, with its modifier
	// ByCollation and ByEncoding say that what it gives may depend on how the
	// database orders and changes text, and on how it encodes it.
	ByCollation, ByEncoding bool
}

// Expr returns the SQL expression that a side sends for the field.
func (f *Field) Expr(side Side) string {
	e := QuoteIdent(f.Name[side])
	if f.SQL[side] != "" {
		e = "(" + f.SQL[side] + ")"
	}
	if f.Cast[side] != "" {
		e += "::" + f.Cast[side]
	}
	return e
}

// KeyFields returns the fields of the key, in order.
func (f *Form) KeyFields() []*Field {
	fields := make([]*Field, len(f.Key))
	for i, k := range f.Key {
		fields[i] = &f.Fields[k]
	}
	return fields
}

// Select returns the field expressions of a side as a SQL select list.
func (f *Form) Select(side Side) string {
	exprs := make([]string, len(f.Fields))
	for i := range f.Fields {
		exprs[i] = f.Fields[i].Expr(side)
	}
	return strings.Join(exprs, ", ")
}

// Describe returns a text that names what is compared, and how: the source's
// names, the types, expressions, conditions and the key. Trees of equal data under equal forms have equal roots.
func (f *Form) Describe() string {
	var b strings.Builder
	b.WriteString(f.Table[Source].SQL())
	for i := range f.Fields {
		t := f.Fields[i].Type[Source].String()
		field := &f.Fields[i]
		if field.Cast[Source] != "" {
			t = field.Cast[Source]
		}
		b.WriteString("\x00" + QuoteIdent(field.Name[Source]) + " " + t)
		for _, side := range Sides {
			if field.SQL[side] != "" {
				fmt.Fprintf(&b, "\x00%s sends %s", side, field.SQL[side])
			}
		}
		if field.Value {
			b.WriteString("\x00by value")
		}
	}
	for _, side := range Sides {
		if f.Where[side] != "" {
			fmt.Fprintf(&b, "\x00%s where %s", side, f.Where[side])
		}
	}
	b.WriteString("\x00key")
	for _, k := range f.Key {
		b.WriteString(" " + QuoteIdent(f.Fields[k].Name[Source]))
	}
	return b.String()
}

// Server describes the instance and database behind one side.
type Server struct {
	Version          string // "15.18"
	Number           int    // 150018
	Database         string
	DatabaseOID      uint32
	SystemIdentifier string // shared by clones and standbys
	Standby          bool
	Encoding         string // the database's
	LCMonetary       string
	// Locale names all that the database orders text and changes its case by,
	// with its version. Empty: databases of the same names may differ.
	Locale        string
	SharedBuffers int64 // bytes
	Timeline      int   // of the last checkpoint
	// Settings are those that give values their meaning, by name: encoding and
	// locale of the database, and lc_monetary. A value that the version does
	// not tell is empty.
	Settings []Property
}

// Major returns the major version.
func (s *Server) Major() int { return s.Number / 10000 }

// SortOrder says how a type's canonical bytes can be made to sort bytewise as
// the server sorts the values, on every server.
type SortOrder byte

// The sort orders.
const (
	Unsorted     SortOrder = iota
	SortsSigned            // two's complement of fixed length: integers, dates, timestamps
	SortsBytes             // bytes of fixed length
	SortsVarying           // bytes of varying length: only as the last column of a prefix
)

// Sorts returns the type's sort order.
func (t *Type) Sorts() SortOrder {
	t = t.Underlying()
	switch {
	case t.Kind != Base:
		return Unsorted
	case t.Builtin("int2", "int4", "int8", "date", "timestamp", "timestamptz", "time"):
		return SortsSigned
	case t.Builtin("uuid", "bool"):
		return SortsBytes
	case t.Builtin("bytea"):
		return SortsVarying
	}
	return Unsorted
}
