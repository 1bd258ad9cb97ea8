package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// foreignKeysSQL lists the foreign keys of a family of relations. Those that a
// partition has from its table, or that stand for a partition of the table
// referred to, are checked with the one that they come from. Columns that only
// newer servers have are read by way of jsonb.
const foreignKeysSQL = ` SELECT k.conname, cn.nspname, c.relname, pn.nspname, p.relname, k.confmatchtype = 'f', k.convalidated,
 coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conenforced')::pg_catalog.bool, true),
 coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conperiod')::pg_catalog.bool, false),
 (SELECT pg_catalog.json_agg(a.attname ORDER BY u.n) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(num, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
 (SELECT pg_catalog.json_agg(a.attname ORDER BY u.n) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(num, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT oid FROM family)
ORDER BY cn.nspname COLLATE "C", c.relname COLLATE "C", k.conname COLLATE "C"`

func (s *session) foreignKeys(ctx context.Context, names []relation.Name) ([]relation.ForeignKey, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows, err := s.query(ctx, family(names)+foreignKeysSQL)
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	keys := make([]relation.ForeignKey, len(rows))
	for i, r := range rows {
		k := relation.ForeignKey{
			Name: *r[0], Table: relation.Name{Schema: *r[1], Name: *r[2]}, References: relation.Name{Schema: *r[3], Name: *r[4]},
			Full: *r[5] == "t", Validated: *r[6] == "t", Enforced: *r[7] == "t", Period: *r[8] == "t",
		}
		for at, list := range map[int]*[]string{9: &k.Columns, 10: &k.Referenced} {
			if err := json.Unmarshal([]byte(*r[at]), list); err != nil {
				return nil, fmt.Errorf("list foreign keys: %w", err)
			}
		}
		keys[i] = k
	}
	return keys, nil
}

// ForeignKeys lists the foreign keys of the named tables and of their members,
// as they are now.
func (db *Database) ForeignKeys(ctx context.Context, names []relation.Name) (keys []relation.ForeignKey, err error) {
	err = db.once(ctx, func(s *session) error {
		keys, err = s.foreignKeys(ctx, names)
		return err
	})
	return keys, err
}

// ForeignKeys lists the foreign keys of the named tables and of their members.
func (s *Snapshot) ForeignKeys(ctx context.Context, names []relation.Name) (keys []relation.ForeignKey, err error) {
	err = s.withHolder(ctx, func(ctx context.Context, holder *session) error {
		keys, err = holder.foreignKeys(ctx, names)
		return err
	})
	return keys, err
}

// Reference says how this side compares the columns of a foreign key, which it
// need not have itself. Both tables are the snapshot's.
func (s *Snapshot) Reference(ctx context.Context, k *relation.ForeignKey) (*relation.Reference, error) {
	child, err := s.Table(k.Table)
	if err != nil {
		return nil, err
	}
	parent, err := s.Table(k.References)
	if err != nil {
		return nil, err
	}
	query, err := operatorsSQL(k, child, parent)
	if err != nil {
		return nil, fmt.Errorf("%w on the %s", err, s.side)
	}
	rows, err := s.holderQuery(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("look up how %s compares on the %s: %w", k, s.side, err)
	}
	ref := &relation.Reference{ForeignKey: *k}
	var meaning []string
	for i, r := range rows {
		o := operator{
			schema: *r[0], name: *r[1], left: *r[2], right: *r[3], castLeft: *r[4] == "t", castRight: *r[5] == "t", collation: *r[6],
		}
		ref.On = append(ref.On, o.condition(k.Referenced[i], k.Columns[i]))
		if bytewise := *r[7] == "t"; bytewise && o.schema == "pg_catalog" && !k.Period &&
			isPlain(parent.Column(k.Referenced[i]).Type) && isPlain(child.Column(k.Columns[i]).Type) {
			meaning = append(meaning, o.left+" "+o.name+" "+o.right)
		}
	}
	if len(meaning) == len(rows) {
		ref.Meaning = strings.Join(meaning, ", ")
	}
	return ref, nil
}

// isPlain reports whether values of a type mean the same on every server: it is
// built in, or an enum, which is compared by its labels.
func isPlain(t *relation.Type) bool {
	t = t.Underlying()
	return t.Kind == relation.Enum || t.Kind == relation.Base && t.Builtin()
}

// operator is how a column that is referred to is compared with one that refers.
type operator struct {
	schema, name        string
	left, right         string // types; empty: whatever the columns have
	castLeft, castRight bool   // whether the columns have others
	collation           string // of the column referred to, where the columns' differ
}

// condition compares as the server does for the constraint itself: with its
// operator, under the collation of the column that is referred to.
func (o *operator) condition(referred, refers string) string {
	p, c := "p."+relation.QuoteIdent(referred), "c."+relation.QuoteIdent(refers)
	if o.castLeft {
		p = "(" + p + ")::" + o.left
	}
	if o.castRight {
		c = "(" + c + ")::" + o.right
	}
	if o.collation != "" {
		c += " COLLATE " + o.collation
	}
	return fmt.Sprintf("%s OPERATOR(%s.%s) %s", p, relation.QuoteIdent(o.schema), o.name, c)
}

// operatorsSQL looks up the operators that compare the columns of a foreign key:
// the constraint's own where the side has it, else the ordinary equality of the
// types, which for those that are made of others is pg_catalog's.
func operatorsSQL(k *relation.ForeignKey, child, parent *relation.Table) (string, error) {
	if len(k.Columns) != len(k.Referenced) {
		return "", fmt.Errorf("%s names %d columns for %d", k, len(k.Columns), len(k.Referenced))
	}
	var refers, referred, values []string
	for i := range k.Columns {
		c, p := child.Column(k.Columns[i]), parent.Column(k.Referenced[i])
		if c == nil || p == nil {
			name, of := k.Columns[i], k.Table
			if c != nil {
				name, of = k.Referenced[i], k.References
			}
			return "", fmt.Errorf("there is no column %s of %s", relation.QuoteIdent(name), of)
		}
		refers, referred = append(refers, fmt.Sprint(c.Number)), append(referred, fmt.Sprint(p.Number))
		values = append(values, fmt.Sprintf("(%d, %d, %d, %d::oid, %d::oid)", i+1, c.Number, p.Number, c.Type.Underlying().OID, p.Type.Underlying().OID))
	}
	whole := "="
	if k.Period {
		whole = "&&" // of the last column alone, which ordinary equality would be wrong for
	}
	return fmt.Sprintf(`WITH k(n, refers, referred, refers_type, referred_type) AS (VALUES %s), own AS (
 SELECT conpfeqop FROM pg_constraint WHERE contype = 'f' AND conrelid = %d AND confrelid = %d
  AND conkey = ARRAY[%s]::int2[] AND confkey = ARRAY[%s]::int2[] LIMIT 1), chosen AS (
 SELECT k.*, CASE WHEN EXISTS (SELECT FROM own) THEN (SELECT conpfeqop[k.n] FROM own) ELSE
  (SELECT o.oid FROM pg_operator o WHERE o.oprleft = k.referred_type AND o.oprright IN (k.refers_type, k.referred_type)
    AND (k.n < %d OR %t) AND EXISTS (SELECT FROM pg_amop a JOIN pg_am m ON m.oid = a.amopmethod
     WHERE a.amopopr = o.oid AND m.amname = 'btree' AND a.amopstrategy = 3)
   ORDER BY o.oprright = k.refers_type DESC LIMIT 1) END AS operator FROM k)
SELECT coalesce(n.nspname, 'pg_catalog'), coalesce(o.oprname, CASE WHEN ch.n = %d THEN '%s' ELSE '=' END),
 coalesce(format_type(l.oid, NULL), ''), coalesce(format_type(r.oid, NULL), ''),
 coalesce(l.typtype <> 'p' AND l.oid <> p.atttypid, false), coalesce(r.typtype <> 'p' AND r.oid <> c.atttypid, false),
 CASE WHEN p.attcollation <> c.attcollation AND p.attcollation <> 0 AND c.attcollation <> 0
  THEN (SELECT quote_ident(z.nspname) || '.' || quote_ident(x.collname) FROM pg_collation x JOIN pg_namespace z ON z.oid = x.collnamespace WHERE x.oid = p.attcollation)
  ELSE '' END,
 NOT EXISTS (SELECT FROM pg_collation x WHERE x.oid IN (p.attcollation, c.attcollation) AND NOT x.collisdeterministic)
FROM chosen ch JOIN pg_attribute c ON c.attrelid = %d AND c.attnum = ch.refers JOIN pg_attribute p ON p.attrelid = %d AND p.attnum = ch.referred
LEFT JOIN pg_operator o ON o.oid = ch.operator LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace
LEFT JOIN pg_type l ON l.oid = o.oprleft LEFT JOIN pg_type r ON r.oid = o.oprright ORDER BY ch.n`,
		strings.Join(values, ", "), child.OID, parent.OID, strings.Join(refers, ","), strings.Join(referred, ","),
		len(k.Columns), !k.Period, len(k.Columns), whole, child.OID, parent.OID), nil
}
