package conformance

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/guarantees.md")

const guaranteesFile = "../../docs/guarantees.md"

// TestGuarantees holds the document against the cases: what it says of a type
// is what the suite asserts.
func TestGuarantees(t *testing.T) {
	want := guarantees()
	if *update {
		if err := os.WriteFile(guaranteesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(guaranteesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/guarantees.md is not what the cases say: go test ./internal/conformance -run TestGuarantees -update")
	}
}

const guaranteesHead = `# What a verdict guarantees

<!-- Generated from the cases of the conformance suite: go test ./internal/conformance -run TestGuarantees -update -->

A ` + "`match`" + ` says that every row of every selected table was read wholly on both sides, each at one snapshot, and that each row of one side has its equal on the other, as often as there. What "equal" means is below, type by type. A ` + "`diverged`" + ` says that at least one difference was read a second time and was still there. Whatever cannot be compared is ` + "`incomplete`" + `, with the reason.

A table that only the target has is not read: it is reported as a drift of the schema, and the pass may still be a ` + "`match`" + `. Selected by its exact name, without ` + "`*`" + `, it is a difference, and the pass is ` + "`diverged`" + `.

This page is generated from the table of cases that the test suite runs against real servers. Each type is compared by itself, in arrays, under a domain, in a composite type, in tables with and without a key, and as a part of keys where it can be one. The suite asserts that values of the columns "taken for equal" are never reported and that exactly the rows with values "told apart" are.

## What does not matter

- The version of the servers: any pair of PostgreSQL 12 to 18, in both directions. A type or value that came with a later version cannot exist on an earlier one; "from" says which.
- Collation (C, ICU, a locale of glibc), order and OIDs in which types were created, gaps that dropped attributes and columns leave, how values are stored.
- Settings of the database or the role: datestyle, intervalstyle, timezone, extra_float_digits, bytea_output, xmloption, search_path, client_encoding and the like. verifierd sets its own in each transaction and checks that they took effect.
- The encoding (UTF8, LATIN1, SQL_ASCII and others), for values that both can hold; what it changes is noted. Text in SQL_ASCII that is not valid UTF-8 makes its table incomplete.

NULL is never an empty string, an empty array or the word NULL, and nothing can move from one column into the next unseen.

## Types

"As sent" compares the bytes that the server sends in its binary format, freed of what is not the value: the OIDs of types in arrays and composites, a flag that an array had NULLs once, the bits of a NaN. "As text" compares what a dump holds. A change of the type between the sides is described in [type-changes.md](type-changes.md), and comparison by value rather than strictly in [configuration.md](configuration.md).

`

const guaranteesFoot = `
Row types of system catalogs change from version to version. Where they are the same they are compared as any composite type.

## The hash

Rows are hashed with XXH3-128 under a seed that is random for each pass, and a table is the number of its rows and the sum of their hashes. This finds accidents: lost, doubled, changed, swapped or torn rows escape with a chance of about 2⁻¹²⁸ for each difference, assuming that the hash behaves randomly on them. The seed is not in the reports, only its fingerprint.

XXH3-128 is not cryptographic. It is no protection against somebody who chooses what rows contain and knows the seed, or reads it from the memory of the process: they can make rows that differ and have equal hashes. Nor does a verdict protect from a server that lies about its rows.
`

func guarantees() string {
	var b strings.Builder
	b.WriteString(guaranteesHead)
	for _, group := range groups {
		fmt.Fprintf(&b, "### %s\n\n", group.title)
		b.WriteString("| type | from | compared | told apart, for example | taken for equal | |\n|---|---|---|---|---|---|\n")
		for i := range group.cases {
			group.cases[i].document(&b)
		}
		b.WriteByte('\n')
	}
	b.WriteString(strings.TrimPrefix(guaranteesFoot, "\n"))
	return b.String()
}

// document writes the case's line of the table.
func (c *typeCase) document(b *strings.Builder) {
	name := code(c.sql)
	if c.extension != "" {
		name += " (" + c.extension + ")"
	}
	since := ""
	if c.since > 0 {
		since = strconv.Itoa(c.since)
	}
	how := string(c.how)
	if c.how == notCompared {
		how = "not compared: the table is incomplete"
	}
	note := c.note
	if c.how == notCompared && note == "" && c.values == nil {
		note = "Internal to a server; does not survive a dump."
	} else if c.how == notCompared && note == "" {
		note = "Means nothing on another server."
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, since, how, examples(c.pairs, " ≠ "), examples(c.same, " = "), note)
}

func examples(pairs [][2]string, sign string) string {
	list := make([]string, len(pairs))
	for i, p := range pairs {
		list[i] = shown(p[0]) + sign + shown(p[1])
	}
	return strings.Join(list, "<br>")
}

func shown(value string) string {
	value = strings.TrimPrefix(value, "sql:")
	switch {
	case value == null:
		return "NULL"
	case value == "", value == "NULL", strings.Trim(value, " ") != value:
		return code("'" + value + "'")
	case strings.ContainsAny(value, "\n\r\t") || strings.ContainsRune(value, '\u0301'):
		return code(strings.Trim(strconv.QuoteToASCII(value), `"`))
	}
	return code(value)
}

// code returns text as code within a table.
func code(s string) string {
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}
