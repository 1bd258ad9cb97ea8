package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/config"
	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/pkg/relation"
)

func (p *program) configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "check a configuration file",
		Action: func(*cli.Context) error { return errors.New("config: what about it? There is: config check") },
		Subcommands: []*cli.Command{{
			Name: "check", Usage: "say what is wrong with a configuration file, and connect to nothing",
			Action: p.do(p.configCheck),
			Flags:  []cli.Flag{&cli.StringFlag{Name: "config", TakesFile: true, Usage: "the configuration `FILE`"}},
		}},
	}
}

func (p *program) configCheck(c *cli.Context) (int, error) {
	path := c.String("config")
	if path == "" {
		return exitTrouble, errors.New("config check: --config is missing: say which file")
	}
	file, err := config.Load(path)
	if err != nil {
		return exitTrouble, fmt.Errorf("config check: %w", err)
	}
	names := slices.Sorted(maps.Keys(file.Migrations))
	warnings := file.Warnings
	var problems []error
	for _, name := range names {
		m := file.Migrations[name]
		for _, side := range relation.Sides {
			warning, err := daemon.CheckDSN(m.DSN[side])
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", m.DSNAt[side], err))
			}
			if warning != "" {
				warnings = append(warnings, fmt.Sprintf("%s: %s", m.DSNAt[side], warning))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return exitTrouble, fmt.Errorf("config check: %w", err)
	}
	for _, warning := range warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	_, err = fmt.Fprintf(p.stdout, "%s is well-formed; it describes: %s\n", path, strings.Join(names, ", "))
	return exitDone, err
}

// fileSettings is what the configuration file says about the migration to
// verify; without a file, nothing.
type fileSettings struct {
	config.Migration
	maxRate  *int64
	warnings []string
}

func loadSettings(c *cli.Context) (*fileSettings, error) {
	path := c.String("config")
	if path == "" {
		if c.IsSet("migration") {
			return nil, errors.New("--migration: it needs --config, the file that describes it")
		}
		return &fileSettings{}, nil
	}
	file, err := config.Load(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	m, err := file.Migration(c.String("migration"))
	if err != nil {
		return nil, fmt.Errorf("--migration: %w", err)
	}
	return &fileSettings{Migration: *m, maxRate: file.MaxRate, warnings: file.Warnings}, nil
}

// setting is what a flag says if it is given, else what the file says, else
// the flag's default.
func setting[T any](c *cli.Context, flag string, value T, file *T) T {
	if file != nil && !c.IsSet(flag) {
		return *file
	}
	return value
}

// selectWith adds the file's selection to that of the flags in o: --table takes
// its place, --exclude takes from it, --map goes before it.
func (f *fileSettings) selectWith(o *daemon.Options) {
	named, left := o.Tables, o.Exclude
	if len(named) == 0 {
		o.Tables, o.Exclude = f.Tables, slices.Concat(f.Exclude, left)
		for _, g := range f.Groups {
			o.Groups = append(o.Groups, daemon.Group{Tables: g.Tables, Exclude: slices.Concat(g.Exclude, left)})
		}
	}
	o.MapOthers = len(named) > 0 && len(f.Map) > 0
	for source, target := range f.Map {
		if _, mapped := o.Map[source]; !mapped {
			o.Map[source] = target
		}
	}
	// What the flags leave out needs no policy and no references. Others of
	// tables that are not selected are errors, found when the tables are known.
	leftOut := func(table relation.Name) bool {
		return len(named) > 0 && !matchAny(named, table) || matchAny(left, table)
	}
	o.Policies = make(map[relation.Name]daemon.Policy)
	for table, policy := range f.Policies {
		if !leftOut(table) {
			o.Policies[table] = daemon.Policy(policy)
		}
	}
	for _, reference := range f.References {
		if !leftOut(reference.Table) {
			o.References = append(o.References, reference)
		}
	}
}

// effects is what the file says that findings do to the verdict.
func (f *fileSettings) effects() daemon.Effects {
	s := f.Severity
	return daemon.Effects{
		Orphans: daemon.Effect(s.Orphans), SourceOrphans: daemon.Effect(s.SourceOrphans),
		SchemaBreaks: daemon.Effect(s.SchemaBreaks), SchemaDrift: daemon.Effect(s.SchemaDrift),
		SequenceBehind: daemon.Effect(s.SequenceBehind), Corruption: daemon.Effect(s.Corruption),
	}
}

func matchAny(patterns []relation.Pattern, n relation.Name) bool {
	return slices.ContainsFunc(patterns, func(p relation.Pattern) bool { return p.Match(n) })
}

// checkDSN returns a side's connection string, from the flags or the file.
func (f *fileSettings) checkDSN(c *cli.Context, side relation.Side) (dsn string, warnings []string, err error) {
	dsn, from := c.String(side.String()), "--"+side.String()
	switch {
	case f.DSN[side] != "" && !c.IsSet(side.String()):
		dsn, from = f.DSN[side], f.DSNAt[side]
	case f.DSN[side] != "":
		warnings = append(warnings, fmt.Sprintf("the %s is not the configuration file's: --%[1]s or VERIFIERD_%s takes its place", side, strings.ToUpper(side.String())))
	case dsn == "" && !c.IsSet(side.String()):
		return "", nil, fmt.Errorf("%s: missing: say which database it is, here, in VERIFIERD_%s, or in the file of --config", from, strings.ToUpper(side.String()))
	}
	warning, err := daemon.CheckDSN(dsn)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", from, err)
	}
	if warning != "" {
		warnings = append(warnings, fmt.Sprintf("%s: %s", side, warning))
	}
	return dsn, warnings, nil
}
