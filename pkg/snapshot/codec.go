package snapshot

import (
	"fmt"

	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// codec returns how a type's binary form becomes canonical; by value, if what
// PostgreSQL takes for equal is to be the same; reordered, if what the encoding
// puts in order is to have one order.
func codec(t *relation.Type, value, reorder bool) rowhash.Codec {
	switch t.Kind {
	case relation.Domain:
		return codec(t.Elem, value, reorder)
	case relation.Array:
		return rowhash.ArrayOf(codec(t.Elem, value, reorder))
	case relation.Range:
		return rowhash.RangeOf(codec(t.Elem, value, reorder))
	case relation.Multirange:
		return rowhash.MultirangeOf(codec(t.Elem.Elem, value, reorder))
	case relation.Composite:
		attrs := make([]rowhash.Codec, len(t.Attributes))
		for i, a := range t.Attributes {
			attrs[i] = codec(a, value, reorder)
		}
		return rowhash.Record(attrs...)
	}
	if reorder {
		switch {
		case t.Builtin("jsonb") && value:
			return rowhash.JSONBValueSorted
		case t.Builtin("jsonb"):
			return rowhash.JSONBSorted
		case t.Builtin("tsvector"):
			return rowhash.TSVectorSorted
		}
	}
	if value {
		return valueCodec(t)
	}
	switch {
	case t.Builtin("float4"):
		return rowhash.Float4
	case t.Builtin("float8"):
		return rowhash.Float8
	case t.Builtin("point", "lseg", "box", "line", "circle"):
		return rowhash.Floats
	case t.Builtin("path"):
		return rowhash.Path
	case t.Builtin("polygon"):
		return rowhash.Polygon
	case t.Builtin("int2vector", "oidvector"):
		return rowhash.ArrayOf(rowhash.Plain)
	}
	return rowhash.Plain
}

// valueCodec is codec by value, for a type that is not made of others.
func valueCodec(t *relation.Type) rowhash.Codec {
	switch {
	case t.Builtin("numeric"):
		return rowhash.NumericValue
	case t.Builtin("float4"):
		return rowhash.Float4Value
	case t.Builtin("float8"):
		return rowhash.Float8Value
	case t.Builtin("point", "lseg", "box", "line", "circle"):
		return rowhash.FloatsValue
	case t.Builtin("path"):
		return rowhash.PathValue
	case t.Builtin("polygon"):
		return rowhash.PolygonValue
	case t.Builtin("jsonb"):
		return rowhash.JSONBValue
	}
	return rowhash.Plain
}

// hasher returns a hasher for the rows of a form as this side sends them,
// followed by extra fields that are not hashed.
func (s *Snapshot) hasher(form *relation.Form, extra int) (*rowhash.Hasher, error) {
	config := rowhash.Config{Seed: s.db.config.Seed, Key: form.Key, Extra: extra}
	for i := range form.Fields {
		config.Columns = append(config.Columns, codec(form.Fields[i].Type[s.side], form.Fields[i].Value, form.Fields[i].Reorder))
	}
	for _, f := range form.KeyFields()[:form.Ordered] {
		config.Ordered = append(config.Ordered, order(f.Type[s.side]))
	}
	h, err := rowhash.New(config)
	if err != nil {
		return nil, fmt.Errorf("hash rows of %s: %w", form.Table[s.side], err)
	}
	return h, nil
}

func order(t *relation.Type) rowhash.Order {
	switch t.Sorts() {
	case relation.SortsSigned:
		return rowhash.Int
	case relation.SortsBytes, relation.SortsVarying:
		return rowhash.Bytes
	}
	return rowhash.Unordered
}
