package parity

import (
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// incomparable returns the part of a type whose values name objects or
// transactions of one server only, or which is internal to it; empty if there
// is none.
func incomparable(t *relation.Type) (name string) {
	anyPart(t, func(t *relation.Type) bool {
		if t.Builtin("oid", "xid", "cid", "tid", "oidvector") || internal(t) {
			name = t.Name
		}
		return name != ""
	})
	return name
}

// internal reports whether a type has no input: its values come from a server's
// own catalogs and indexes, do not survive a dump, and print less than they
// hold, or OIDs.
func internal(t *relation.Type) bool {
	if t.Builtin() {
		return t.Builtin("gtsvector", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list") || strings.HasPrefix(t.Name, "pg_brin_")
	}
	return extensionType(t) && slices.Contains([]string{"ghstore", "gtrgm", "intbig_gkey", "ltree_gist"}, t.Name)
}

// unstable says why a type's values look different on another server although
// they are the same; empty if they do not.
func unstable(t *relation.Type) string {
	switch {
	case t.Underlying().Kind != relation.Base && needsText(t) && anyPart(t, func(t *relation.Type) bool { return t.Builtin("char") }):
		return `its parts need the text form, in which "char" prints otherwise on another server`
	case anyPart(t, func(t *relation.Type) bool {
		return t.Kind == relation.Multirange && t.Elem != nil && t.Elem.Elem != nil && t.Elem.Elem.Collation
	}):
		return "it holds ranges of text, whose order depends on the collation"
	}
	return ""
}

// acrossEncodings prepares a field for sides whose encodings differ. It reports
// false if its values cannot be compared then.
func acrossEncodings(f *relation.Field, source, target *relation.Column, encodings [2]string) bool {
	s, t := source.Type.Underlying(), target.Type.Underlying()
	either := func(part func(*relation.Type) bool) bool { return anyPart(s, part) || anyPart(t, part) }
	switch {
	case either(isHstore):
		// It sends its length in the server's encoding with text in UTF8.
		f.Reorder = true
		return sameType(s, t) && castPlain(f, isHstore, jsonbType)
	case either(sortsByBytes):
		f.Reorder = true
		return sameType(s, t) && !needsText(s) && !needsText(t)
	case !either(padded) || !slices.Contains(encodings[:], "SQL_ASCII"):
		return true
	}
	// A server pads to a number of characters, which in SQL_ASCII are bytes.
	// Without a length there is no padding, and trailing blanks count.
	const unpadded, length = "bpchar", "character("
	switch from, to := source.Definition, target.Definition; {
	case strings.HasPrefix(from, unpadded) && strings.HasPrefix(to, unpadded):
		return true
	case strings.HasPrefix(from, length) && strings.HasPrefix(to, length):
		return castPlain(f, padded, textType)
	}
	return false
}

// castPlain casts a field whose types are what is says, or arrays of it. It
// reports false for others.
func castPlain(f *relation.Field, is func(*relation.Type) bool, common *relation.Type) bool {
	s, t := f.Type[relation.Source].Underlying(), f.Type[relation.Target].Underlying()
	switch {
	case is(s) && is(t):
		castBoth(f, common)
	case s.Kind == relation.Array && is(s.Elem) && t.Kind == relation.Array && is(t.Elem):
		castBoth(f, arrayOf(common))
	default:
		return false
	}
	return true
}

// sortsByBytes reports whether a type keeps its parts in the order of their
// length or bytes in the server's encoding.
func sortsByBytes(t *relation.Type) bool { return t.Builtin("jsonb", "tsvector") }

func isHstore(t *relation.Type) bool { return extensionType(t) && t.Name == "hstore" }

func padded(t *relation.Type) bool { return t.Builtin("bpchar") }

// receivable reports whether a server takes a type's canonical bytes for a
// value, and finds it by an operator that pg_catalog holds. Those of arrays and
// composites lack the OIDs that it insists on, and an empty tsquery is sent but
// not taken back.
func receivable(t *relation.Type) bool {
	return !anyPart(t, func(t *relation.Type) bool {
		return t.Kind == relation.Array || t.Kind == relation.Composite || t.Builtin("int2vector", "tsquery") || extensionType(t)
	})
}
