package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

const schemaDescription = `Compares the definitions of both sides and reads no row: tables, columns,
constraints, indexes, triggers, policies, grants and, unless tables are picked,
views, functions, types, sequences, schemas and extensions.

A difference breaks (what the target holds, or may come to hold, is not what the
source would), drifts, or is cosmetic. Those that break are looked at again
after --recheck, in case that DDL reaches the target later. What is not of
interest is left out with schema.ignore in the configuration.

Examples:
   verifierd schema --source service=old --target service=new
   verifierd schema --config verifierd.yaml --output json

Exit codes:
   0   match: both sides have the same definitions, or differ in what only warns
   1   diverged: at least one difference breaks
   2   incomplete, or any trouble: wrong flags, no connection, interrupted`

// schemaFlags are those flags of verify that make sense without rows.
var schemaFlags = []string{"source", "target", "config", "migration", "table", "exclude", "map", "recheck", "stall-timeout", "output", "out"}

func (p *program) schemaCommand() *cli.Command {
	c := p.verifyCommand()
	c.Name, c.Usage, c.Description = "schema", "compare the definitions of two databases, and no rows", schemaDescription
	c.Flags = slices.DeleteFunc(c.Flags, func(f cli.Flag) bool { return !slices.Contains(schemaFlags, f.Names()[0]) })
	c.Flags = append(c.Flags, &cli.BoolFlag{
		Name: "comments", Category: whatToCompare, DisableDefaultText: true,
		Usage: "compare comments, too",
	})
	c.Action = p.do(p.schema)
	return c
}

func (p *program) schema(c *cli.Context) (int, error) {
	return p.compare(c, func(job *verifyJob) {
		job.options.SchemaOnly = true
		job.options.Comments = job.options.Comments || c.Bool("comments")
	})
}
