package conformance

// null stands for NULL among a case's values.
const null = "\x00"

// comparison is how the values of a type are compared.
type comparison string

const (
	asSent      comparison = "as sent"
	asText      comparison = "as text"
	notCompared comparison = "not compared"
)

// typeCase is one type with what must and what must not be taken for equal.
// Values are in the type's input form; one that begins with "sql:" is an
// SQL expression.
type typeCase struct {
	sql       string
	since     int    // first major version that has the type; 0: all
	extension string // that brings the type
	setup     []string
	// how is asserted against the form that the comparison really took.
	how comparison
	// why the type cannot be compared: a part of the reason that is given.
	why string

	values []string
	// recent values exist from a major version on.
	recent map[int][]string
	// pairs are near neighbours: put in each other's place they are reported.
	pairs [][2]string
	// same are two ways to write one value: they are not reported.
	same [][2]string
	// bare: between some encodings not compared inside of composites.
	bare bool
	// unindexed: rows are not looked up by the type's canonical bytes.
	unindexed bool
	note      string // for the reader of the guarantees
}

// groups hold every type that a column can have, as the guarantees list them.
var groups = []struct {
	title string
	cases []typeCase
}{
	{"Numbers", numbers},
	{"Text and bytes", texts},
	{"Dates and times", times},
	{"Documents", documents},
	{"Ranges and text search", search},
	{"Geometry", geometric},
	{"Other built-in types", others},
	{"Names of objects", named},
	{"Types made by users", user},
	{"Types of extensions", contrib},
	{"Numbers of one server", serverBound},
	{"Internal types", internals},
}

func cases() []typeCase {
	var all []typeCase
	for _, g := range groups {
		all = append(all, g.cases...)
	}
	return all
}

var numbers = []typeCase{
	{sql: "bool", how: asSent, values: []string{"t", "f"}, pairs: [][2]string{{"t", "f"}}, same: [][2]string{{"t", "yes"}}},
	{sql: "int2", how: asSent, values: []string{"0", "-1", "32767", "-32768"}, pairs: [][2]string{{"0", "1"}, {"1", "-1"}}},
	{sql: "int4", how: asSent, values: []string{"0", "-1", "2147483647", "-2147483648"}, pairs: [][2]string{{"0", "1"}, {"1", "256"}}},
	{sql: "int8", how: asSent, values: []string{"0", "-1", "9223372036854775807", "-9223372036854775808"}, pairs: [][2]string{{"0", "1"}, {"1", "4294967297"}}},
	{
		sql: "float4", how: asSent, values: []string{"0", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38"},
		pairs: [][2]string{{"0", "-0"}, {"1", "1.0000001"}, {"NaN", "Infinity"}}, same: [][2]string{{"NaN", "nan(7)"}, {"NaN", "-nan"}},
		note: "NaN is NaN, whatever its bits.",
	},
	{
		sql: "float8", how: asSent, values: []string{"0", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308"},
		pairs: [][2]string{{"0", "-0"}, {"0.3", "0.30000000000000004"}, {"NaN", "Infinity"}}, same: [][2]string{{"NaN", "nan(7)"}, {"NaN", "-nan"}},
		note: "NaN is NaN, whatever its bits.",
	},
	{
		sql: "numeric", how: asSent, values: []string{"0", "0.00", "-1", "NaN", "1e50", "-1e-50", "12345678901234567890.0987654321"},
		recent: map[int][]string{14: {"Infinity", "-Infinity"}},
		pairs:  [][2]string{{"1.0", "1.00"}, {"1", "1.0"}, {"0", "0.0"}, {"1e20", "100000000000000000001"}, {"NaN", "0"}}, same: [][2]string{{"1e2", "100"}, {"-0", "0"}},
		note: "The scale counts. Infinities exist from PostgreSQL 14 on.",
	},
	{
		sql: "numeric(12,2)", how: asSent, values: []string{"0", "9999999999.99"}, pairs: [][2]string{{"1.00", "1.01"}},
		same: [][2]string{{"1", "1.00"}},
	},
	{
		sql: "money", how: asSent, values: []string{"0", "-12.34", "92233720368547758.07"}, pairs: [][2]string{{"12.34", "12.35"}, {"12.34", "1234"}},
		note: "Compared as a number; where lc_monetary differs between the sides, the report says that it may mean other amounts.",
	},
}

var texts = []typeCase{
	{
		sql: "text", how: asSent, values: []string{"", " ", "a", "é", "a|b", `"'\`, "\n", "\\N", "日本"},
		pairs: [][2]string{{"", null}, {"", "NULL"}, {null, "NULL"}, {"a", "a "}, {"a", "A"}, {" a", "a"}, {"e", "é"}, {"é", "e\u0301"}, {"\n", "\r\n"}, {"a\tb", "a b"}},
		note:  "Bytes count, whatever the collation: also for a collation that takes a and A for equal.",
	},
	{sql: "varchar(20)", how: asSent, values: []string{"", "x", "straße"}, pairs: [][2]string{{"", null}, {"x", "x "}, {"x", "X"}}},
	{
		sql: "char(5)", how: asSent, values: []string{"", "a", "é", "éé", "abcde"}, pairs: [][2]string{{"", null}, {"a", "A"}, {"a", " a"}, {"e", "é"}},
		same: [][2]string{{"a", "a  "}},
		note: "Padding is not part of the value. Between SQL_ASCII, which pads by bytes, and another encoding compared as text without it; inside of other types it is incomplete then.", bare: true,
	},
	{sql: "bpchar", how: asSent, values: []string{"", "a", "é"}, pairs: [][2]string{{"a", "a "}, {"", null}}, note: "Without a length, trailing blanks are kept and count.", bare: true},
	{sql: "name", how: asSent, values: []string{"", "a", "pg_class"}, pairs: [][2]string{{"a", "A"}, {"", null}}},
	{sql: `"char"`, how: asSent, values: []string{"", "a", `sql:(-56)::"char"`, `sql:(-128)::"char"`}, pairs: [][2]string{{"a", "b"}, {"", null}, {`sql:(-56)::"char"`, `sql:(-57)::"char"`}}},
	{sql: "bytea", how: asSent, values: []string{`\x`, `\x00`, `\xff`, `\x5c`}, pairs: [][2]string{{`\x`, null}, {`\x00`, `\x0000`}, {`\x41`, `\x61`}}, same: [][2]string{{`\x41`, "A"}}},
	{sql: "refcursor", how: asSent, values: []string{"", "c"}, pairs: [][2]string{{"c", "c "}}},
}

var times = []typeCase{
	{sql: "date", how: asSent, values: []string{"2024-02-29", "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"}, pairs: [][2]string{{"2024-01-01", "2024-01-02"}, {"0001-01-01", "0001-01-01 BC"}}},
	{sql: "time", how: asSent, values: []string{"00:00", "24:00", "12:34:56.789012"}, pairs: [][2]string{{"00:00", "24:00"}, {"12:00", "12:00:00.000001"}}},
	{sql: "timetz", how: asSent, values: []string{"00:00+00", "24:00-15:59", "12:34:56+05:45"}, pairs: [][2]string{{"00:00+00", "01:00+01"}, {"12:00+00", "12:00+01"}}, note: "The zone counts, not only the moment."},
	{sql: "timestamp", how: asSent, values: []string{"2024-02-29 12:00", "infinity", "-infinity", "4713-01-01 BC", "294276-12-31 23:59:59.999999"}, pairs: [][2]string{{"2024-01-01", "2024-01-01 00:00:00.000001"}, {"2024-01-01", "2024-01-01 01:00"}}},
	{
		sql: "timestamptz", how: asSent, values: []string{"2024-02-29 12:00+00", "infinity", "-infinity", "1900-01-01 00:00+00"}, pairs: [][2]string{{"2024-01-01 00:00+00", "2024-01-01 00:00+01"}},
		same: [][2]string{{"2024-01-01 00:00+00", "2024-01-01 05:45+05:45"}},
		note: "The moment counts; a zone is not stored.",
	},
	{
		sql: "interval", how: asSent, values: []string{"0", "1 mon", "-1 mon +1 day", "178000000 years"}, recent: map[int][]string{17: {"infinity", "-infinity"}},
		pairs: [][2]string{{"1 day", "24 hours"}, {"1 mon", "30 days"}, {"1 s", "1.000001 s"}}, same: [][2]string{{"12 mons", "1 year"}, {"60 min", "1 hour"}},
		note: "Months, days and the rest count apart. Infinities exist from PostgreSQL 17 on.",
	},
}

var others = []typeCase{
	{sql: "uuid", how: asSent, values: []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"}, pairs: [][2]string{{"00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000100"}}, same: [][2]string{{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}"}}},
	{sql: "inet", how: asSent, values: []string{"10.0.0.1", "::1", "0.0.0.0/0"}, pairs: [][2]string{{"10.0.0.1", "10.0.0.1/24"}, {"::ffff:1.2.3.4", "1.2.3.4"}}, same: [][2]string{{"::1", "0:0::1"}}},
	{sql: "cidr", how: asSent, values: []string{"10.0.0.0/8", "::/0"}, pairs: [][2]string{{"10.0.0.0/8", "10.0.0.0/9"}}},
	{sql: "macaddr", how: asSent, values: []string{"08:00:2b:01:02:03"}, pairs: [][2]string{{"08:00:2b:01:02:03", "08:00:2b:01:02:04"}}, same: [][2]string{{"08:00:2b:01:02:03", "08002B-010203"}}},
	{sql: "macaddr8", how: asSent, values: []string{"08:00:2b:01:02:03:04:05"}, pairs: [][2]string{{"08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06"}}, same: [][2]string{{"08:00:2b:01:02:03", "08:00:2b:ff:fe:01:02:03"}}},
	{sql: "bit(3)", how: asSent, values: []string{"000", "111"}, pairs: [][2]string{{"101", "100"}}},
	{sql: "varbit", how: asSent, values: []string{"", "0", "1"}, pairs: [][2]string{{"", null}, {"0", "00"}, {"1", "10"}}},
	{sql: "pg_lsn", how: asSent, values: []string{"0/0", "FFFFFFFF/FFFFFFFF"}, pairs: [][2]string{{"0/1", "1/0"}}},
	{sql: "txid_snapshot", how: asSent, values: []string{"10:20:10,14"}, pairs: [][2]string{{"10:20:", "10:20:11"}}},
	{sql: "pg_snapshot", since: 13, how: asSent, values: []string{"10:20:10,14"}, pairs: [][2]string{{"10:20:", "10:20:11"}}},
	{sql: "xid8", since: 13, how: asSent, values: []string{"0", "18446744073709551615"}, pairs: [][2]string{{"1", "2"}}},
	{sql: "int2vector", how: asSent, unindexed: true, values: []string{"", "1 2"}, pairs: [][2]string{{"1 2", "2 1"}, {"", null}}},
	{sql: "aclitem", how: asText, values: []string{"=r/postgres"}, pairs: [][2]string{{"=r/postgres", "=rw/postgres"}, {"=r/postgres", "postgres=r/postgres"}}, note: "Roles by their names."},
}

var documents = []typeCase{
	{
		sql: "json", how: asSent, values: []string{"null", "{}", "[]", `"é"`, "1"},
		pairs: [][2]string{{`{"a":1,"b":2}`, `{"b":2,"a":1}`}, {`{"a":1}`, `{"a": 1}`}, {"1.0", "1.00"}, {`{"a":1,"a":1}`, `{"a":1}`}, {"null", null}, {`"é"`, `"\u00e9"`}},
		note:  "The text counts, blanks and the order of keys included.",
	},
	{
		sql: "jsonb", how: asSent, values: []string{"null", "{}", "[]", `"é"`, "1", `{"é":1,"ab":{"ß":[{"zz":1,"ü":"}\\\"{"}],"":null},"c":[]}`, `{"é, ":"\"", "abcd\\": 1, "日本": {}}`},
		pairs: [][2]string{{`{"a":1.0}`, `{"a":1.00}`}, {`{"a":1}`, `{"a":"1"}`}, {"null", null}, {`{"a":null}`, `{}`}, {`[1,2]`, `[2,1]`}, {`{"é":1,"ab":2}`, `{"é":2,"ab":1}`}, {`{"é":{"x":1},"ab":2}`, `{"é":{"x":2},"ab":2}`}},
		same:  [][2]string{{`{"a":1,"b":2}`, `{"b":2, "a":1}`}, {`{"a":0,"a":1}`, `{"a":1}`}, {`"é"`, `"\u00e9"`}},
		note:  "The scale of numbers counts. Keys are put in one order where the encodings differ.",
	},
	{sql: "jsonpath", how: asSent, values: []string{"$", `strict $.a[*] ? (@.b > 1 && @.c starts with "x")`, "$.**{2 to last}.a", `$.a like_regex "^a" flag "i"`}, pairs: [][2]string{{"$.a", "$.b"}, {"$.a", "strict $.a"}, {"1.0", "1.00"}}, same: [][2]string{{"$.a", `$."a"`}}, note: "A number followed by a method, (1).type(), is printed otherwise from PostgreSQL 15 on, and reported between the two."},
	{
		sql: "xml", how: asSent, values: []string{"<a/>", "", "<é/>", `<?xml version="1.1"?><a/>`}, pairs: [][2]string{{"<a/>", "<a></a>"}, {"<a/>", "<a />"}, {"<a/>", `<?xml version="1.0" standalone="yes"?><a/>`}, {"", null}},
		same: [][2]string{{"<a/>", `<?xml version="1.0"?><a/>`}, {"<a/>", `<?xml version="1.0" encoding="UTF-8"?><a/>`}},
		note: "The text counts, but for a declaration that says no more than version 1.0 and an encoding: a dump drops it, too.",
	},
}

var geometric = []typeCase{
	{sql: "point", how: asSent, values: []string{"(1,2)", "(0,0)", "(Infinity,NaN)"}, pairs: [][2]string{{"(0,0)", "(-0,0)"}, {"(1,2)", "(2,1)"}}, same: [][2]string{{"(NaN,1)", "(nan(7),1)"}, {"(1,NaN)", "(1,-nan)"}}},
	{sql: "lseg", how: asSent, values: []string{"[(0,0),(1,1)]"}, pairs: [][2]string{{"[(0,0),(1,1)]", "[(1,1),(0,0)]"}}, same: [][2]string{{"[(NaN,0),(1,1)]", "[(nan(7),0),(1,1)]"}}},
	{sql: "box", how: asSent, values: []string{"(1,1),(0,0)"}, pairs: [][2]string{{"(1,1),(0,0)", "(1,1),(0,-0)"}}, same: [][2]string{{"(1,1),(0,0)", "(0,0),(1,1)"}}},
	{sql: "line", how: asSent, values: []string{"{1,-1,0}"}, pairs: [][2]string{{"{1,-1,0}", "{1,-1,-0}"}, {"{1,-1,0}", "{2,-2,0}"}}, same: [][2]string{{"{1,-1,NaN}", "{1,-1,nan(7)}"}}},
	{sql: "circle", how: asSent, values: []string{"<(0,0),1>"}, pairs: [][2]string{{"<(0,0),1>", "<(0,0),1.0000000000000002>"}}, same: [][2]string{{"<(NaN,0),1>", "<(nan(7),0),1>"}}},
	{sql: "path", how: asSent, values: []string{"[(0,0)]", "((0,0),(1,1))"}, pairs: [][2]string{{"[(0,0),(1,1)]", "((0,0),(1,1))"}, {"[(0,0)]", "[(0,-0)]"}}, same: [][2]string{{"[(NaN,0),(1,1)]", "[(nan(7),0),(1,1)]"}}},
	{sql: "polygon", how: asSent, values: []string{"((0,0))", "((0,0),(1,1),(2,0))"}, pairs: [][2]string{{"((0,0),(1,1))", "((1,1),(0,0))"}}, same: [][2]string{{"((NaN,0),(1,1))", "((nan(7),0),(1,1))"}}},
}

var search = []typeCase{
	{sql: "tsvector", how: asSent, values: []string{"", "'a':1A 'é':2 'bc':3,4B", "'ab' 'b' 'ÿ' 'é'"}, pairs: [][2]string{{"'a'", "'a':1"}, {"'a':1", "'a':1A"}, {"'a':1", "'a':2"}, {"", null}}, same: [][2]string{{"'a' 'b'", "'b' 'a'"}}, note: "Words are put in one order where the encodings differ."},
	{sql: "tsquery", how: asSent, unindexed: true, values: []string{"", "'a' & !'é':*A"}, pairs: [][2]string{{"'a' & 'b'", "'b' & 'a'"}, {"'a'", "'a':*"}, {"'a' <-> 'b'", "'a' <2> 'b'"}, {"", null}}},
	{sql: "int4range", how: asSent, values: []string{"empty", "[1,2)", "(,)"}, pairs: [][2]string{{"[1,2)", "[1,3)"}, {"(,2)", "[1,2)"}, {"empty", null}}, same: [][2]string{{"[1,2]", "[1,3)"}, {"[1,1)", "empty"}}},
	{sql: "int8range", how: asSent, values: []string{"empty", "(,)"}, pairs: [][2]string{{"[1,2)", "[1,3)"}}, same: [][2]string{{"(0,2]", "[1,3)"}}},
	{sql: "numrange", how: asSent, values: []string{"empty", "[1.5,)"}, pairs: [][2]string{{"[1,2)", "[1,2]"}, {"[1,2]", "[1.0,2]"}}},
	{sql: "tsrange", how: asSent, values: []string{"empty", "[2024-01-01,infinity]"}, pairs: [][2]string{{"[2024-01-01,infinity)", "[2024-01-01,)"}}},
	{sql: "tstzrange", how: asSent, values: []string{"empty", "(,2024-01-01 00:00+00)"}, pairs: [][2]string{{"[2024-01-01 00:00+00,)", "[2024-01-01 00:00+01,)"}}},
	{sql: "daterange", how: asSent, values: []string{"empty", "(,)"}, pairs: [][2]string{{"[2024-01-01,)", "[2024-01-02,)"}}, same: [][2]string{{"(2024-01-01,2024-01-05)", "[2024-01-02,2024-01-04]"}}},
	{sql: "int4multirange", since: 14, how: asSent, values: []string{"{}", "{[1,2),[5,6)}"}, pairs: [][2]string{{"{[1,2),[3,4)}", "{[1,4)}"}, {"{}", null}}, same: [][2]string{{"{[1,2),[2,3)}", "{[1,3)}"}}},
	{sql: "int8multirange", since: 14, how: asSent, values: []string{"{}", "{(,)}"}, pairs: [][2]string{{"{[1,2)}", "{[1,3)}"}}},
	{sql: "nummultirange", since: 14, how: asSent, values: []string{"{}"}, pairs: [][2]string{{"{[1,2)}", "{[1,2.0)}"}}},
	{sql: "tsmultirange", since: 14, how: asSent, values: []string{"{}"}, pairs: [][2]string{{"{[2024-01-01,)}", "{[2024-01-02,)}"}}},
	{sql: "tstzmultirange", since: 14, how: asSent, values: []string{"{}"}, pairs: [][2]string{{"{[2024-01-01 00:00+00,)}", "{[2024-01-02 00:00+00,)}"}}},
	{sql: "datemultirange", since: 14, how: asSent, values: []string{"{}"}, pairs: [][2]string{{"{[2024-01-01,)}", "{[2024-01-02,)}"}}},
}

// named are types whose values are OIDs of objects, which print as names.
var named = []typeCase{
	{sql: "regclass", how: asText, setup: []string{"CREATE SEQUENCE object_a", `CREATE SEQUENCE "Object b"`}, values: []string{"pg_class", "object_a", "-"}, pairs: [][2]string{{"object_a", `"Object b"`}, {"-", null}}, note: "By the object's name with its schema."},
	{sql: "regtype", how: asText, setup: []string{"CREATE TYPE label_a AS ENUM ('a')", "CREATE TYPE label_b AS ENUM ('a')"}, values: []string{"int4", "label_a", "-"}, pairs: [][2]string{{"label_a", "label_b"}, {"int4", "int8"}}},
	{sql: "regproc", how: asText, setup: []string{"CREATE FUNCTION function_a() RETURNS int LANGUAGE sql AS 'SELECT 1'"}, values: []string{"now", "function_a", "-"}, pairs: [][2]string{{"now", "function_a"}}},
	{sql: "regprocedure", how: asText, setup: []string{"CREATE FUNCTION function_b(regtype) RETURNS int LANGUAGE sql AS 'SELECT 1'"}, values: []string{"abs(integer)", "function_b(regtype)", "-"}, pairs: [][2]string{{"abs(integer)", "abs(bigint)"}}},
	{sql: "regoper", how: asText, values: []string{"||/", "0"}, pairs: [][2]string{{"||/", "|/"}}},
	{sql: "regoperator", how: asText, values: []string{"+(integer,integer)", "0"}, pairs: [][2]string{{"+(integer,integer)", "+(bigint,bigint)"}}},
	{sql: "regconfig", how: asText, values: []string{"english"}, pairs: [][2]string{{"english", "simple"}}},
	{sql: "regdictionary", how: asText, values: []string{"simple"}, pairs: [][2]string{{"simple", "english_stem"}}},
	{sql: "regnamespace", how: asText, setup: []string{"CREATE SCHEMA schema_a"}, values: []string{"schema_a", "-"}, pairs: [][2]string{{"schema_a", "public"}}},
	{sql: "regrole", how: asText, values: []string{"postgres", "-"}, pairs: [][2]string{{"postgres", "pg_monitor"}}},
	{sql: "regcollation", since: 13, how: asText, values: []string{`"C"`, "-"}, pairs: [][2]string{{`"C"`, `"POSIX"`}}},
}

// serverBound are types whose values mean nothing on another server.
var serverBound = []typeCase{
	{sql: "oid", how: notCompared, why: "holds values of type oid, which mean nothing on another server", values: []string{"1"}},
	{sql: "xid", how: notCompared, why: "holds values of type xid,", values: []string{"1"}},
	{sql: "cid", how: notCompared, why: "holds values of type cid,", values: []string{"1"}},
	{sql: "tid", how: notCompared, why: "holds values of type tid,", values: []string{"(0,1)"}},
	{sql: "oidvector", how: notCompared, why: "holds values of type oidvector,", values: []string{"1 2"}},
	{sql: "oid[]", how: notCompared, why: "holds values of type oid,", values: []string{"{1}"}},
}

// internals are types without an input form. Values come from catalogs, hold
// this server's OIDs and numbers, and do not survive a dump.
var internals = []typeCase{
	{sql: "pg_node_tree", how: notCompared, why: "holds values of type pg_node_tree,"},
	{sql: "pg_ndistinct", how: notCompared, why: "holds values of type pg_ndistinct,"},
	{sql: "pg_dependencies", how: notCompared, why: "holds values of type pg_dependencies,"},
	{sql: "pg_mcv_list", how: notCompared, why: "holds values of type pg_mcv_list,"},
	{sql: "pg_brin_bloom_summary", since: 14, how: notCompared, why: "holds values of type pg_brin_bloom_summary,"},
	{sql: "pg_brin_minmax_multi_summary", since: 14, how: notCompared, why: "holds values of type pg_brin_minmax_multi_summary,"},
	{sql: "gtsvector", how: notCompared, why: "holds values of type gtsvector,"},
	{sql: "ghstore", extension: "hstore", how: notCompared, why: "holds values of type ghstore,"},
	{sql: "ltree_gist", extension: "ltree", how: notCompared, why: "holds values of type ltree_gist,"},
	{sql: "intbig_gkey", extension: "intarray", how: notCompared, why: "holds values of type intbig_gkey,"},
	{sql: "gtrgm", extension: "pg_trgm", how: notCompared, why: "holds values of type gtrgm,"},
}

// user are types of every kind that users make, and the domains of the
// information schema.
var user = []typeCase{
	{sql: "mood", setup: []string{"CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad', '')"}, how: asSent, values: []string{"sad", "ok", "glad"}, pairs: [][2]string{{"sad", "ok"}, {"", null}}, note: "An enum: by its label."},
	{sql: "positive", setup: []string{"CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)"}, how: asSent, values: []string{"1", "2.5"}, pairs: [][2]string{{"1", "1.0"}, {"1", "2"}}, note: "A domain: as its base type."},
	{sql: "moods", setup: []string{"CREATE TYPE humour AS ENUM ('sad', 'ok')", "CREATE DOMAIN moods AS humour[]"}, how: asSent, unindexed: true, values: []string{"{}", "{sad,NULL}"}, pairs: [][2]string{{"{sad}", "{ok}"}, {"{sad}", "[0:0]={sad}"}}, note: "A domain over an array."},
	{sql: "place", setup: []string{"CREATE TYPE place AS (x float8, name text)"}, how: asSent, unindexed: true, values: []string{"(1,)", "(,a)"}, pairs: [][2]string{{"(1,)", `(1,"")`}, {"(0,)", "(-0,)"}, {"(,)", null}}, same: [][2]string{{"(NaN,a)", "(-nan,a)"}}, note: "A composite type: by its attributes."},
	{sql: "trip", setup: []string{"CREATE TYPE stop AS (x float4, at timestamptz)", "CREATE TYPE trip AS (stops stop[], first stop)"}, how: asSent, unindexed: true, values: []string{"(,)", `("{}",)`}, pairs: [][2]string{{`("{""(1,)""}",)`, `("{""(2,)""}",)`}}, same: [][2]string{{`("{""(NaN,)""}",)`, `("{""(-nan,)""}",)`}}},
	{
		sql: "mixed", setup: []string{"CREATE TYPE mixed AS (r regtype, t timestamptz, i interval, b bytea, f float8, m money, x xml, c regclass)"}, how: asText,
		values: []string{`(int4,2024-01-01 00:00+00,1 day,\\x00,0.1,12.34,<a/>,pg_class)`, "(,,,,,,,)"},
		pairs: [][2]string{
			{"(int4,,,,,,,)", "(int8,,,,,,,)"},
			{"(int4,,,,0.3,,,)", "(int4,,,,0.30000000000000004,,,)"},
			{"(int4,,1 day,,,,,)", "(int4,,24:00:00,,,,,)"},
		},
		same: [][2]string{{"(int4,,,,NaN,,,)", "(int4,,,,-nan,,,)"}},
		note: "A composite type with a part that is compared as text is so as a whole.",
	},
	{sql: "coded", setup: []string{`CREATE TYPE coded AS (r regtype, c "char")`}, how: notCompared, why: "of type public.coded cannot be compared: its parts need the text form", values: []string{"(int4,a)"}, note: "A composite that needs its text form and holds a \"char\", which prints otherwise before PostgreSQL 15."},
	{sql: "words", setup: []string{`CREATE TYPE words AS RANGE (subtype = text, collation = "C")`}, how: asSent, values: []string{"empty", "[a,é)"}, pairs: [][2]string{{"[a,b)", "[a,b]"}, {"[a,b)", `["a ",b)`}}, note: "A range of one's own."},
	{sql: "floats", setup: []string{"CREATE TYPE floats AS RANGE (subtype = float8)"}, how: asSent, values: []string{"empty", "(,)"}, pairs: [][2]string{{"[0,1]", "[-0,1]"}, {"[0,1]", "[0,1)"}, {"[0,)", "[0,Infinity]"}}, same: [][2]string{{"[1,NaN]", "[1,-nan]"}}},
	{sql: "moodspan", setup: []string{"CREATE TYPE temper AS ENUM ('sad', 'ok', 'glad')", "CREATE TYPE moodspan AS RANGE (subtype = temper)"}, how: asSent, values: []string{"empty", "[sad,ok]"}, pairs: [][2]string{{"[sad,ok]", "[sad,glad]"}}},
	{sql: "spans", since: 14, setup: []string{"CREATE TYPE span AS RANGE (subtype = float8, multirange_type_name = spans)"}, how: asSent, values: []string{"{}", "{[1,2],[3,4]}"}, pairs: [][2]string{{"{[0,1]}", "{[-0,1]}"}}, same: [][2]string{{"{[1,2],[3,NaN]}", "{[1,2],[3,-nan]}"}}},
	{sql: "phrases", since: 14, setup: []string{"CREATE TYPE phrase AS RANGE (subtype = text, multirange_type_name = phrases)"}, how: notCompared, why: "of type public.phrases cannot be compared: it holds ranges of text", values: []string{"{}"}, note: "A multirange over text is kept in the collation's order."},
	{sql: "int4[]", how: asSent, unindexed: true, values: []string{"{}", "{NULL}", "[5:6]={1,2}", "{{1,2},{3,4}}"}, pairs: [][2]string{{"{}", null}, {"{1}", "[0:0]={1}"}, {"{1,2}", "{{1,2}}"}, {"{NULL}", "{}"}, {"{1,NULL}", "{1}"}}, note: "Dimensions and lower bounds count."},
	{sql: "text[]", how: asSent, unindexed: true, values: []string{"{}", `{""}`, "{NULL}", "{日本}"}, pairs: [][2]string{{`{NULL}`, `{"NULL"}`}, {`{""}`, "{NULL}"}, {"{a,b}", `{"a,b"}`}, {"{ab,c}", "{a,bc}"}}},
	{sql: "information_schema.cardinal_number", how: asSent, values: []string{"0"}, pairs: [][2]string{{"0", "1"}}},
	{sql: "information_schema.character_data", how: asSent, values: []string{""}, pairs: [][2]string{{"a", "a "}}},
	{sql: "information_schema.sql_identifier", how: asSent, values: []string{""}, pairs: [][2]string{{"a", "A"}}},
	{sql: "information_schema.time_stamp", how: asSent, values: []string{"2024-01-01 00:00+00"}, pairs: [][2]string{{"2024-01-01 00:00+00", "2024-01-01 00:00+01"}}},
	{sql: "information_schema.yes_or_no", how: asSent, values: []string{"YES"}, pairs: [][2]string{{"YES", "NO"}}},
}

// contrib are the types of extensions that ship with PostgreSQL.
var contrib = []typeCase{
	{
		sql: "hstore", extension: "hstore", how: asSent, values: []string{"", "é=>1, ab=>2, c=>NULL", `""=>""`, "日本=>1, abcd=>2"}, pairs: [][2]string{{"a=>NULL", `a=>"NULL"`}, {`a=>""`, "a=>NULL"}, {"é=>1,ab=>2", "é=>2,ab=>1"}, {"", null}},
		same: [][2]string{{"a=>1,b=>2", "b=>2,a=>1"}},
		note: "As jsonb where the encodings differ; inside of other types it is incomplete then.", bare: true,
	},
	{sql: "citext", extension: "citext", how: asSent, values: []string{"", "a", "É"}, pairs: [][2]string{{"a", "A"}, {"a", "a "}, {"", null}}, note: "Case counts."},
	{sql: "ltree", extension: "ltree", how: asText, values: []string{"", "Top.Science"}, pairs: [][2]string{{"a.b", "a.B"}, {"a", "a.a"}}},
	{sql: "lquery", extension: "ltree", how: asText, values: []string{"*.!b"}, recent: map[int][]string{13: {"*.a{1,2}.!b"}}, pairs: [][2]string{{"a.*", "a.*{1}"}}},
	{sql: "ltxtquery", extension: "ltree", how: asText, values: []string{"a & !b"}, pairs: [][2]string{{"a & b", "b & a"}}},
	{sql: "cube", extension: "cube", how: asText, values: []string{"()", "(1,2),(3,4)", "(0.1)"}, pairs: [][2]string{{"(0)", "(-0)"}, {"(0.3)", "(0.30000000000000004)"}, {"(1,2),(3,4)", "(3,4),(1,2)"}}, same: [][2]string{{"(1),(1)", "(1)"}}},
	{sql: "seg", extension: "seg", how: asText, values: []string{"1 .. 2", "<3", "~4.5"}, pairs: [][2]string{{"1.0", "1.00"}, {"1", "~1"}, {"1 .. 2", "1 .. 3"}}, same: [][2]string{{"1.5(+-)0.5", "1.0 .. 2.0"}}, note: "By its text, in which a bound has six digits at most: a dump holds no more either."},
	{sql: "query_int", extension: "intarray", how: asText, values: []string{"1&(2|!3)"}, pairs: [][2]string{{"1&2", "2&1"}}},
	{sql: "ean13", extension: "isn", how: asText, values: []string{"978-0-11-000533-1"}, pairs: [][2]string{{"978-0-11-000533-1", "978-0-14-121930-1"}}},
	{sql: "isbn", extension: "isn", how: asText, values: []string{"978-0-11-000533-1"}, pairs: [][2]string{{"978-0-11-000533-1", "978-0-14-121930-1"}}, same: [][2]string{{"978-0-11-000533-1", "9780110005331"}}},
	{sql: "isbn13", extension: "isn", how: asText, values: []string{"978-0-11-000533-1"}, pairs: [][2]string{{"978-0-11-000533-1", "978-0-14-121930-1"}}},
	{sql: "ismn", extension: "isn", how: asText, values: []string{"979-0-060-11561-5"}, pairs: [][2]string{{"979-0-060-11561-5", "979-0-2306-7118-7"}}},
	{sql: "ismn13", extension: "isn", how: asText, values: []string{"979-0-060-11561-5"}, pairs: [][2]string{{"979-0-060-11561-5", "979-0-2306-7118-7"}}},
	{sql: "issn", extension: "isn", how: asText, values: []string{"1436-4522"}, pairs: [][2]string{{"1436-4522", "0317-8471"}}},
	{sql: "issn13", extension: "isn", how: asText, values: []string{"1436-4522"}, pairs: [][2]string{{"1436-4522", "0317-8471"}}},
	{sql: "upc", extension: "isn", how: asText, values: []string{"220356483481"}, pairs: [][2]string{{"220356483481", "036000291452"}}},
	{sql: "lo", extension: "lo", how: notCompared, why: "holds values of type oid,", values: []string{"1"}},
}

// extensions are those of the contrib modules that have, or might have, types.
var extensions = []string{"hstore", "citext", "ltree", "cube", "seg", "isn", "intarray", "uuid-ossp", "lo", "pg_trgm"}
