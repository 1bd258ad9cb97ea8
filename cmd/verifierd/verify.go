package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/config"
	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/progress"
	"github.com/verifierd/verifierd/internal/report"
	"github.com/verifierd/verifierd/pkg/relation"
)

const verifyDescription = `Reads every row of the selected tables on both sides and compares them by hash.
Rows that differ are read again, so that a target which lags is not blamed, and
named by key and column. Both databases are only read, each at one snapshot.

Connection strings are libpq's: a URI or keywords. Other users of this machine
see passwords that stand on a command line: keep them in ~/.pgpass or a service
file, or give the whole string in VERIFIERD_SOURCE and VERIFIERD_TARGET.

Patterns are schema.table, with * for any characters and double quotes around a
part that holds a dot, a double quote (doubled), or a * that is meant. Names are
written as the catalog has them: upper and lower case differ.

Examples:
   verifierd verify --source service=old --target service=new
   verifierd verify --source … --target … --table 'public.*' --exclude public.log
   verifierd verify --source … --target … --plan
   verifierd verify --source … --target … --output json --out report.json
   verifierd verify --config verifierd.yaml --migration orders

` + exitCodesText + `
With --plan: 0 when nothing stands in the way, else 2.
The first Ctrl-C reports what is known by then, the second ends at once.`

const (
	whatToCompare = "Compare"
	howToRead     = "Read"
	whatToReport  = "Report"
)

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:        "verify",
		Usage:       "compare two databases, once",
		Description: verifyDescription,
		Action:      p.do(p.verify),
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "source", Category: whatToCompare, EnvVars: []string{"VERIFIERD_SOURCE"},
				Usage: "`DSN` of the database that is right",
			},
			&cli.StringFlag{
				Name: "target", Category: whatToCompare, EnvVars: []string{"VERIFIERD_TARGET"},
				Usage: "`DSN` of the database that should be a copy",
			},
			&cli.StringFlag{
				Name: "config", Category: whatToCompare, TakesFile: true,
				Usage: "`FILE` that describes migrations: databases, tables, columns; flags go before it",
			},
			&cli.StringFlag{
				Name: "migration", Category: whatToCompare,
				Usage: "`NAME` of the migration in that file, if it describes several",
			},
			&cli.StringSliceFlag{
				Name: "table", Category: whatToCompare,
				Usage: "compare what matches `PATTERN`, by the source's names; repeatable (default: all that users made)",
			},
			&cli.StringSliceFlag{
				Name: "exclude", Category: whatToCompare,
				Usage: "leave out what matches `PATTERN`; repeatable",
			},
			&cli.StringSliceFlag{
				Name: "map", Category: whatToCompare,
				Usage: "a table has another name on the target: `SOURCE.NAME=TARGET.NAME`; repeatable",
			},
			&cli.BoolFlag{
				Name: "ignore-large-objects", Category: whatToCompare, DisableDefaultText: true,
				Usage: "large objects, which are not compared, need not match",
			},
			&cli.BoolFlag{
				Name: "counts-only", Category: whatToCompare, DisableDefaultText: true,
				Usage: "count rows instead of comparing them, for a first look, and check nothing else",
			},
			&cli.StringSliceFlag{
				Name: "skip-check", Category: whatToCompare,
				Usage: "do not make `CHECK`: " + strings.Join(daemon.Checks(), ", ") + "; repeatable",
			},
			&cli.BoolFlag{
				Name: "amcheck", Category: whatToCompare, DisableDefaultText: true,
				Usage: "look for damage in tables and indexes, too, with the extension amcheck",
			},
			&cli.IntFlag{
				Name: "workers", Category: howToRead, Value: daemon.DefaultWorkers(),
				Usage: "read with `N` connections a side",
			},
			&cli.StringFlag{
				Name: "snapshot", Category: howToRead, Value: "pass",
				Usage: "`SCOPE`: one snapshot for the whole pass, or one a table, which holds up vacuum for less time",
			},
			&cli.StringFlag{
				Name: "read", Category: howToRead, Value: "fast",
				Usage: "`MODE`: fast, or gentle, which reads large tables in one scan and spares the servers' caches",
			},
			&cli.DurationFlag{
				Name: "recheck", Category: howToRead, Value: 10 * time.Second,
				Usage: "give the target `DURATION` to catch up before a row counts as divergent",
			},
			&cli.StringFlag{
				Name: "max-rate", Category: howToRead,
				Usage: "read at most `BYTES` a second and side, for example 50MB or 1GiB",
			},
			&cli.DurationFlag{
				Name: "stall-timeout", Category: howToRead, Value: time.Minute,
				Usage: "give up a read that brings nothing for `DURATION`",
			},
			&cli.StringFlag{
				Name: "temp-dir", Category: howToRead, TakesFile: true,
				Usage: "`DIR` for temporary files, needed when very many rows differ (default: the system's)",
			},
			&cli.BoolFlag{
				Name: "plan", Category: whatToReport, DisableDefaultText: true,
				Usage: "say what would be read, and what stands in the way, and read no more than samples",
			},
			&cli.StringFlag{
				Name: "output", Category: whatToReport, Value: report.Formats()[0],
				Usage: "`FORMAT` of the report: " + strings.Join(report.Formats(), ", "),
			},
			&cli.StringFlag{
				Name: "out", Category: whatToReport, TakesFile: true,
				Usage: "write the report to `FILE`, which only you may read if it is new (default: standard output)",
			},
			&cli.IntFlag{
				Name: "max-divergences", Category: whatToReport, Value: 100,
				Usage: "name at most `N` divergent rows a table; counts are exact, and ndjson names all",
			},
			&cli.StringFlag{
				Name: "values", Category: whatToReport, Value: "keys",
				Usage: "`WHAT` of the rows a report may show: none, keys or full",
			},
		},
	}
}

// snapshotScopes are what one snapshot may serve.
var snapshotScopes = []string{"pass", "table"}

// verifyJob is what the flags of verify ask for.
type verifyJob struct {
	options  daemon.Options
	format   report.Format
	out      string
	plan     bool
	warnings []string
	command  string // for errors
	run      func(context.Context, daemon.Options) *daemon.Pass
}

func (p *program) verify(c *cli.Context) (int, error) {
	return p.compare(c, func(*verifyJob) {})
}

// compare does what the flags ask for, and adjust changes.
func (p *program) compare(c *cli.Context, adjust func(*verifyJob)) (int, error) {
	job, err := newVerifyJob(c)
	if err != nil {
		return exitTrouble, fmt.Errorf("%s: %w", c.Command.Name, err)
	}
	adjust(job)
	defer limitMemory(job.options.Workers)()
	out, err := openOutput(job.out, p.stdout)
	if err != nil {
		return exitTrouble, fmt.Errorf("%s: %w", c.Command.Name, err)
	}
	if job.plan {
		return p.plan(c.Context, job, out)
	}
	return p.pass(c.Context, job, out)
}

// pass runs a pass and writes its report.
func (p *program) pass(ctx context.Context, job *verifyJob, out *output) (int, error) {
	display := newDisplay(p.stderr)
	defer display.Close()
	for _, warning := range job.warnings {
		fmt.Fprintf(display, "warning: %s\n", warning)
	}
	defer onEnd(ctx, func() {
		fmt.Fprintln(display, "interrupted: reporting what is known; once more ends at once")
	})()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := p.reportOptions(job, out)
	var stream *report.Stream
	job.options.Observer = display
	if job.format == report.NDJSON {
		w, err := out.open()
		if err != nil {
			return exitTrouble, fmt.Errorf("%s: %w", job.command, err)
		}
		// A pass that nobody listens to any more is not worth the load.
		stream = report.NewStream(&onError{w, cancel}, options)
		job.options.Observer = progress.Multi(display, stream)
		job.options.AllDivergences = true
	}

	pass := job.run(ctx, job.options)
	display.Close()

	write := func(w io.Writer) error { return report.Write(w, job.format, pass, options) }
	if stream != nil {
		write = func(io.Writer) error { return stream.Finish(pass) }
	}
	err := out.write(write)
	if err != nil || job.out != "" {
		// Whoever looks at the terminal alone should see it, too.
		fmt.Fprintf(p.stderr, "%s: %s\n", pass.Verdict, pass.Reason)
	}
	if err != nil {
		return exitTrouble, fmt.Errorf("%s: %w", job.command, err)
	}
	return report.ExitCode(pass.Verdict), nil
}

func (p *program) reportOptions(job *verifyJob, out *output) report.Options {
	o := report.Options{Values: job.options.Values, ToolVersion: toolVersion()}
	if f, ok := p.stdout.(*os.File); ok && out.path == "" {
		o.Colour = progress.Colour(f)
	}
	return o
}

func newDisplay(stderr io.Writer) *progress.Display {
	var o progress.Options
	if f, ok := stderr.(*os.File); ok {
		o.Terminal, o.Colour = progress.IsTerminal(f) && os.Getenv("TERM") != "dumb", progress.Colour(f)
	}
	return progress.New(stderr, o)
}

// newVerifyJob checks all flags: what is wrong shows before anything connects.
func newVerifyJob(c *cli.Context) (*verifyJob, error) {
	job := &verifyJob{out: c.String("out"), plan: c.Bool("plan"), command: commandPath(c), run: daemon.Verify}
	file, err := loadSettings(c)
	if err != nil {
		return nil, err
	}
	job.warnings = file.warnings
	o := &job.options
	o.Workers = setting(c, "workers", flagOr(c, "workers", c.Int, daemon.DefaultWorkers()), file.Verify.Workers)
	o.Recheck = setting(c, "recheck", c.Duration("recheck"), file.Verify.Recheck)
	o.StallTimeout = setting(c, "stall-timeout", c.Duration("stall-timeout"), file.Verify.StallTimeout)
	o.MaxDivergences = c.Int("max-divergences")
	o.IgnoreLargeObjects = setting(c, "ignore-large-objects", c.Bool("ignore-large-objects"), file.Verify.IgnoreLargeObjects)
	o.CountsOnly = c.Bool("counts-only")
	o.SpillDir = c.String("temp-dir")
	o.Physical = setting(c, "amcheck", c.Bool("amcheck"), file.Verify.Amcheck)
	o.Comments = file.Schema.Comments
	snapshot := setting(c, "snapshot", flagOr(c, "snapshot", c.String, "pass"), file.Verify.Snapshot)
	o.PerTable = snapshot == "table"
	if file.Verify.Timeout != nil {
		o.Timeout = *file.Verify.Timeout
	}

	var problems []error
	check := func(flag string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	for _, side := range relation.Sides {
		dsn, warnings, err := file.checkDSN(c, side)
		if err != nil {
			problems = append(problems, err)
		}
		o.DSN[side] = dsn
		job.warnings = append(job.warnings, warnings...)
	}
	o.Tables, err = parsePatterns(c.StringSlice("table"))
	check("table", err)
	o.Exclude, err = parsePatterns(c.StringSlice("exclude"))
	check("exclude", err)
	o.Map, err = parseMap(c.StringSlice("map"))
	check("map", err)
	if len(problems) == 0 {
		file.selectWith(o)
	}
	o.Read, err = daemon.ParseRead(setting(c, "read", flagOr(c, "read", c.String, daemon.ReadModes()[0]), file.Verify.Read))
	check("read", err)
	o.MaxRate, err = parseRate(c.String("max-rate"))
	o.MaxRate = setting(c, "max-rate", o.MaxRate, file.maxRate)
	check("max-rate", err)
	o.Values, err = daemon.ParseValues(setting(c, "values", flagOr(c, "values", c.String, "keys"), file.Verify.Values))
	check("values", err)
	skip := c.StringSlice("skip-check")
	if !c.IsSet("skip-check") {
		skip = file.Verify.SkipChecks
	}
	o.SkipChecks, err = daemon.ParseChecks(skip)
	check("skip-check", err)
	o.Effects = file.effects()
	o.IgnoreSchema = file.Schema.Ignore
	check("snapshot", oneOf(snapshot, snapshotScopes...))
	check("workers", within(o.Workers, 1, config.MaxWorkers))
	check("max-divergences", within(o.MaxDivergences, 0, 1_000_000))
	if o.Recheck < 0 {
		check("recheck", fmt.Errorf("%s: want 0 or more", o.Recheck))
	}
	if o.StallTimeout <= 0 {
		check("stall-timeout", fmt.Errorf("%s: want more than 0", o.StallTimeout))
	}
	if o.SpillDir != "" {
		check("temp-dir", daemon.CheckSpillDir(o.SpillDir))
	}
	job.format, err = report.ParseFormat(c.String("output"))
	check("output", err)
	if err == nil && job.plan && job.format != report.Table && job.format != report.JSON {
		check("output", fmt.Errorf("a plan has no %s form: want %s or %s", job.format, report.Table, report.JSON))
	}
	return job, joinLines(problems)
}

// flagOr is what a flag says, or what stands in for it in a command that does
// not have it.
func flagOr[T any](c *cli.Context, name string, value func(string) T, other T) T {
	if slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == name }) {
		return value(name)
	}
	return other
}

// joinLines joins errors in one sentence.
func joinLines(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, err := range problems {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// limitMemory makes the garbage collector work harder rather than let the
// process outgrow what verify promises: 64 MiB and 2 MiB a worker and side.
// The limit is soft: a row of 100 MB is still read. It returns what takes the
// limit back.
func limitMemory(workers int) (restore func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {} // the runtime has it already
	}
	old := debug.SetMemoryLimit(64<<20 + int64(workers)*2*2<<20)
	return func() { debug.SetMemoryLimit(old) }
}

// onEnd calls f when ctx ends. The function it returns takes that back, or
// waits for f.
func onEnd(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}

// onError calls stop when a write fails.
type onError struct {
	w    io.Writer
	stop func()
}

func (e *onError) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	if err != nil {
		e.stop()
	}
	return n, err
}
