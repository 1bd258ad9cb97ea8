package snapshot

import (
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

func TestDependsOnText(t *testing.T) {
	column := func(name, sqlType string, collation bool) relation.Column {
		return relation.Column{Name: name, Type: &relation.Type{Schema: "pg_catalog", Name: sqlType, Kind: relation.Base, Collation: collation}}
	}
	table := &relation.Table{Columns: []relation.Column{
		column("id", "int4", false), column("at", "timestamptz", false), column("name", "text", true), column("j", "jsonb", false),
		column("Odd name", "varchar", true), column("b", "bytea", false),
	}}
	neither, encoding, both := [2]bool{}, [2]bool{false, true}, [2]bool{true, true}
	for sql, want := range map[string][2]bool{
		`id % 2 = 0`:                         neither,
		`at < '2024-01-01'::timestamptz`:     neither,
		`at AT TIME ZONE 'Europe/Berlin'`:    neither,
		`id::numeric(12, 2)`:                 neither,
		`id IN (1, 2) AND NOT (at IS NULL)`:  neither,
		`date_trunc('day', at)`:              neither,
		`abs(id) > 5`:                        neither,
		`b = '\x00'`:                         neither,
		`name::text`:                         neither,
		`name::varchar(20)::text`:            neither,
		`name::pg_catalog.uuid`:              neither,
		`rtrim("name"::text)`:                neither,
		`(at::text || '+01')::timetz`:        neither,
		`id::text`:                           neither,
		`replace(name, 'a', 'b') < 'c'`:      both,
		`concat(name, id)`:                   both, // two columns: not looked into
		`name::bytea`:                        encoding,
		`j::text`:                            encoding,
		`name COLLATE "C" < 'b'`:             encoding,
		`octet_length(name COLLATE "C") < 2`: encoding,
		`name < 'b'`:                         both,
		`"name" < 'b'`:                       both,
		`"Odd name" < 'b'`:                   both,
		`name COLLATE "en_US" < 'b'`:         both,
		`id::text < '5'`:                     both,
		`id::pg_catalog.text < '5'`:          both,
		`(name < 'b')::text`:                 both,
		`j->>'a' < 'b'`:                      both,
		`upper('x') = 'X'`:                   both,
		`md5(name)`:                          both,
		`"upper"(name)`:                      both,
		`CAST(id AS text) < 'b'`:             both,
	} {
		collation, encoding := dependsOnText(sql, table)
		if got := [2]bool{collation, encoding}; got != want {
			t.Errorf("%s: %v, want %v", sql, got, want)
		}
	}
}
