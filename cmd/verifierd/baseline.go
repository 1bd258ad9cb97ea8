package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/baseline"
	"github.com/verifierd/verifierd/internal/config"
	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/progress"
	"github.com/verifierd/verifierd/internal/report"
	"github.com/verifierd/verifierd/pkg/relation"
)

const captureDescription = `Reads every row of the selected tables, all at one snapshot, and writes what
tells later whether a database holds the same: the trees of hashes, the
definitions, and where and when they were taken. No row is in the file; but who
has it can make rows that collide: it is private (mode 0600), keep it so.

There is a file only if everything selected was read.

Examples:
   verifierd baseline capture --dsn service=shop --out before.baseline
   verifierd baseline capture --dsn … --out before.baseline --key shop.key
   verifierd baseline capture --dsn … --out after.baseline --like before.baseline
   verifierd baseline capture --config verifierd.yaml --migration orders --out before.baseline

Exit codes: 0 when the file was written, else 2.`

const baselineVerifyDescription = `Reads a database and compares it with a baseline: after a rollback, of a restored
backup, or of a clone. Where rows differ it names the ranges of keys in which they
do, and how many rows were and are there; the rows of then are gone. With two
baselines and no --dsn it compares these, and connects to nothing. The first is
the source of the report, the database or the second one the target.

Examples:
   verifierd baseline verify --dsn service=shop before.baseline
   verifierd baseline verify --dsn … --key shop.pub before.baseline
   verifierd baseline verify before.baseline after.baseline

` + exitCodesText

func (p *program) baselineCommand() *cli.Command {
	return &cli.Command{
		Name: "baseline", Usage: "keep what is in a database, to compare with later",
		Description: `A baseline is a file with the hashes of a database at one snapshot:

   verifierd baseline capture   writes one
   verifierd baseline verify    compares a database, or another baseline, with one
   verifierd baseline show      says what is in one
   verifierd baseline keygen    makes keys to sign with, and to check signatures`,
		Action: func(*cli.Context) error {
			return errors.New("baseline: which one? There are baseline capture, verify, show and keygen")
		},
		Subcommands: []*cli.Command{
			{
				Name: "capture", Usage: "write a baseline of a database", Description: captureDescription,
				Action: p.do(p.baselineCapture),
				Flags: append([]cli.Flag{
					dsnFlag("`DSN` of the database"),
					&cli.StringFlag{
						Name: "config", Category: whatToCompare, TakesFile: true,
						Usage: "`FILE` that describes migrations: tables and policies for columns are those of a migration's source; flags go before it",
					},
					&cli.StringFlag{Name: "migration", Category: whatToCompare, Usage: "`NAME` of the migration in that file, if it describes several"},
					&cli.StringFlag{Name: "out", Category: whatToReport, TakesFile: true, Usage: "write the baseline to `FILE`"},
					&cli.BoolFlag{Name: "force", Category: whatToReport, DisableDefaultText: true, Usage: "replace the file if it exists"},
					&cli.StringFlag{Name: "key", Category: whatToReport, TakesFile: true, Usage: "sign with the private key in `FILE`"},
					&cli.StringFlag{
						Name: "like", Category: whatToReport, TakesFile: true,
						Usage: "take over the seed and the leaves of the baseline in `FILE`, so that the two can be compared with each other",
					},
				}, baselineFlags("capture")...),
			},
			{
				Name: "verify", Usage: "compare a database, or another baseline, with a baseline", Description: baselineVerifyDescription,
				ArgsUsage: "FILE [FILE]", Action: p.withFiles(1, 2, p.baselineVerify),
				Flags: append([]cli.Flag{
					dsnFlag("`DSN` of the database to compare"),
					verifierFlag(),
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
						Usage: "name at most `N` divergent ranges a table; counts are exact",
					},
					&cli.StringFlag{
						Name: "values", Category: whatToReport, Value: "keys",
						Usage: "`WHAT` of the rows a report may show: none or keys, which bound the ranges",
					},
				}, baselineFlags("compare")...),
			},
			{
				Name: "show", Usage: "say what is in a baseline", ArgsUsage: "FILE", Action: p.withFiles(1, 1, p.baselineShow),
				Flags: []cli.Flag{
					verifierFlag(),
					&cli.StringFlag{Name: "output", Category: whatToReport, Value: "table", Usage: "`FORMAT`: table or json"},
					&cli.BoolFlag{Name: "note", Category: whatToReport, DisableDefaultText: true, Usage: "print the signed note alone"},
				},
			},
			{
				Name: "keygen", Usage: "make a pair of keys: NAME.key signs, NAME.pub checks", Action: p.do(p.baselineKeygen),
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "name", Usage: "`NAME` of the key, as signatures show it, for example shop-dba"},
					&cli.StringFlag{Name: "dir", Value: ".", TakesFile: true, Usage: "write the two files to `DIR`"},
				},
			},
		},
	}
}

func dsnFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "dsn", Category: whatToCompare, EnvVars: []string{"VERIFIERD_DSN"}, Usage: usage}
}

func verifierFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "key", Category: whatToCompare, TakesFile: true,
		Usage: "refuse a baseline that is not signed by the owner of the public `KEY`, which is given itself or in a file",
	}
}

// baselineFlags are those that say what is read, and how.
func baselineFlags(verb string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "table", Category: whatToCompare, Usage: verb + " what matches `PATTERN`; repeatable (default: all)"},
		&cli.StringSliceFlag{Name: "exclude", Category: whatToCompare, Usage: "leave out what matches `PATTERN`; repeatable"},
		&cli.BoolFlag{
			Name: "ignore-large-objects", Category: whatToCompare, DisableDefaultText: true,
			Usage: "large objects, which are in no baseline, do not matter",
		},
		&cli.IntFlag{Name: "workers", Category: howToRead, Value: daemon.DefaultWorkers(), Usage: "read with `N` connections"},
		&cli.StringFlag{
			Name: "read", Category: howToRead, Value: "fast",
			Usage: "`MODE`: fast, or gentle, which reads large tables in one scan and spares the server's cache",
		},
		&cli.StringFlag{Name: "max-rate", Category: howToRead, Usage: "read at most `BYTES` a second, for example 50MB or 1GiB"},
		&cli.DurationFlag{
			Name: "stall-timeout", Category: howToRead, Value: time.Minute,
			Usage: "give up a read that brings nothing for `DURATION`",
		},
	}
}

// withFiles is do for a command that takes files behind its flags.
func (p *program) withFiles(least, most int, f func(c *cli.Context, files []string) (int, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		files := c.Args().Slice()
		for _, file := range files {
			if strings.HasPrefix(file, "-") {
				return fmt.Errorf("%s: flags go before the file; see verifierd %[1]s --help", commandPath(c))
			}
		}
		if len(files) < least || len(files) > most {
			want := "one file"
			if most > least {
				want = "one file or two"
			}
			return fmt.Errorf("%s: %d files given, want %s; see verifierd %[1]s --help", commandPath(c), len(files), want)
		}
		code, err := f(c, files)
		if err != nil {
			return fmt.Errorf("%s: %w", commandPath(c), err)
		}
		p.code = code
		return nil
	}
}

// readingOptions reads the flags of baselineFlags, and the connection string.
func readingOptions(c *cli.Context, side relation.Side) (o daemon.Options, warnings []string, problems []error) {
	check := func(flag string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	var err error
	o.Tables, err = parsePatterns(c.StringSlice("table"))
	check("table", err)
	o.Exclude, err = parsePatterns(c.StringSlice("exclude"))
	check("exclude", err)
	o.IgnoreLargeObjects = c.Bool("ignore-large-objects")
	o.Workers = c.Int("workers")
	check("workers", within(o.Workers, 1, config.MaxWorkers))
	o.Read, err = daemon.ParseRead(c.String("read"))
	check("read", err)
	o.MaxRate, err = parseRate(c.String("max-rate"))
	check("max-rate", err)
	if o.StallTimeout = c.Duration("stall-timeout"); o.StallTimeout <= 0 {
		check("stall-timeout", fmt.Errorf("%s: want more than 0", o.StallTimeout))
	}
	if dsn := c.String("dsn"); dsn != "" || c.IsSet("dsn") {
		warning, err := daemon.CheckDSN(dsn)
		check("dsn", err)
		if warning != "" {
			warnings = append(warnings, warning)
		}
		o.DSN[side] = dsn
	}
	return o, warnings, problems
}

var errNoDSN = errors.New("--dsn: missing: say which database it is, here or in VERIFIERD_DSN")

func (p *program) baselineCapture(c *cli.Context) (int, error) {
	code, err := p.capture(c)
	if err != nil {
		return exitTrouble, fmt.Errorf("baseline capture: %w", err)
	}
	return code, nil
}

func (p *program) capture(c *cli.Context) (int, error) {
	o, warnings, problems := readingOptions(c, relation.Source)
	file, err := loadSettings(c)
	if err != nil {
		return exitTrouble, err
	}
	if dsn := file.DSN[relation.Source]; dsn != "" && !c.IsSet("dsn") {
		o.DSN[relation.Source] = dsn
		warning, err := daemon.CheckDSN(dsn)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file.DSNAt[relation.Source], err))
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	} else if !c.IsSet("dsn") {
		problems = append(problems, errNoDSN)
	}
	if len(problems) == 0 {
		o.Map = make(map[relation.Name]relation.Name)
		file.selectWith(&o)
		o = o.OfSource()
	}
	warnings = append(warnings, file.warnings...)
	out, force := c.String("out"), c.Bool("force")
	if out == "" {
		problems = append(problems, errors.New("--out: missing: say which file to write"))
	} else if err := baseline.CheckWritable(out, force); err != nil {
		problems = append(problems, fmt.Errorf("--out: %w", err))
	}
	signer, err := signerOf(c.String("key"))
	if err != nil {
		problems = append(problems, fmt.Errorf("--key: %w", err))
	}
	var like *daemon.Baseline
	if path := c.String("like"); path != "" {
		f, err := baseline.Read(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("--like: %w", err))
		} else {
			like = f.Baseline
		}
	}
	if err := joinLines(problems); err != nil {
		return exitTrouble, err
	}

	defer limitMemory(o.Workers)()
	display := newDisplay(p.stderr)
	defer display.Close()
	for _, warning := range warnings {
		fmt.Fprintf(display, "warning: %s\n", warning)
	}
	o.Observer = display
	b, err := daemon.Capture(c.Context, o, like, toolVersion())
	display.Close()
	if err != nil {
		return exitTrouble, err
	}
	data, err := encode(b, signer)
	if err != nil {
		return exitTrouble, err
	}
	if err := baseline.Write(out, data, force); err != nil {
		return exitTrouble, err
	}
	f, err := baseline.Read(out)
	if err != nil {
		return exitTrouble, fmt.Errorf("what was written cannot be read: %w", err)
	}
	f.Baseline.Seal = f.Seal()
	return exitDone, report.WriteBaseline(p.stdout, report.Table, f.Baseline, p.options(out))
}

// signerOf returns what signs with the key in a file; nil without one.
func signerOf(path string) (baseline.Signer, error) {
	if path == "" {
		return nil, nil
	}
	return baseline.ReadSigner(path)
}

// encode encodes a baseline, and makes sure that it can be read.
func encode(b *daemon.Baseline, signer baseline.Signer) ([]byte, error) {
	file, err := baseline.Encode(b, signer)
	if err == nil {
		_, err = baseline.Decode(file)
	}
	return file, err
}

func (p *program) options(out string) report.Options {
	o := report.Options{ToolVersion: toolVersion()}
	if f, ok := p.stdout.(*os.File); ok && out == "" {
		o.Colour = progress.Colour(f)
	}
	return o
}

// open reads a baseline and checks its signature, if a key is given.
func openBaseline(c *cli.Context, path string) (*baseline.File, error) {
	f, err := baseline.Read(path)
	if err != nil {
		return nil, err
	}
	f.Baseline.Seal = f.Seal()
	if key := c.String("key"); key != "" || c.IsSet("key") {
		verifier, err := baseline.ReadVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		if err := f.CheckSignature(verifier); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.Baseline.Seal = fmt.Sprintf("signed by %q, checked", verifier.Name())
	}
	return f, nil
}

func (p *program) baselineVerify(c *cli.Context, files []string) (int, error) {
	job := &verifyJob{out: c.String("out"), command: commandPath(c)}
	var problems []error
	job.options, job.warnings, problems = readingOptions(c, relation.Target)
	o := &job.options
	o.MaxDivergences = c.Int("max-divergences")
	if err := within(o.MaxDivergences, 0, 1_000_000); err != nil {
		problems = append(problems, fmt.Errorf("--max-divergences: %w", err))
	}
	var err error
	if o.Values, err = daemon.ParseValues(c.String("values")); err != nil {
		problems = append(problems, fmt.Errorf("--values: %w", err))
	}
	if job.format, err = report.ParseFormat(c.String("output")); err != nil {
		problems = append(problems, fmt.Errorf("--output: %w", err))
	}
	switch {
	case len(files) == 1 && !c.IsSet("dsn"):
		problems = append(problems, errors.New("--dsn: missing: say which database to compare, here or in VERIFIERD_DSN, or name a second baseline"))
	case len(files) == 2 && c.IsSet("dsn") && os.Getenv("VERIFIERD_DSN") == "":
		problems = append(problems, errors.New("--dsn: two baselines are compared with each other, without a database"))
	}
	if err := joinLines(problems); err != nil {
		return exitTrouble, err
	}
	var baselines []*daemon.Baseline
	for _, path := range files {
		f, err := openBaseline(c, path)
		if err != nil {
			return exitTrouble, err
		}
		baselines = append(baselines, f.Baseline)
	}
	job.run = func(ctx context.Context, o daemon.Options) *daemon.Pass {
		return daemon.VerifyBaseline(ctx, baselines[0], o)
	}
	if len(files) == 2 {
		job.run = func(ctx context.Context, o daemon.Options) *daemon.Pass {
			return daemon.CompareBaselines(ctx, baselines[0], baselines[1], o)
		}
	}
	defer limitMemory(o.Workers)()
	out, err := openOutput(job.out, p.stdout)
	if err != nil {
		return exitTrouble, err
	}
	code, err := p.pass(c.Context, job, out)
	return code, errors.Unwrap(err) // whoever calls names the command
}

func (p *program) baselineShow(c *cli.Context, files []string) (int, error) {
	format, err := report.ParseFormat(c.String("output"))
	if err != nil {
		return exitTrouble, fmt.Errorf("--output: %w", err)
	}
	f, err := openBaseline(c, files[0])
	if err != nil {
		return exitTrouble, err
	}
	if !c.Bool("note") {
		return exitDone, report.WriteBaseline(p.stdout, format, f.Baseline, p.options(""))
	}
	if f.Note == nil {
		return exitTrouble, fmt.Errorf("%s is not signed: there is no note", files[0])
	}
	_, err = p.stdout.Write(f.Note)
	return exitDone, err
}

func (p *program) baselineKeygen(c *cli.Context) (int, error) {
	name := c.String("name")
	if name == "" {
		return exitTrouble, errors.New("baseline keygen: --name: missing: say whose key it is")
	}
	at := filepath.Join(c.String("dir"), name)
	public, err := baseline.WriteKeys(name, at+".key", at+".pub")
	if err != nil {
		return exitTrouble, fmt.Errorf("baseline keygen: %w", err)
	}
	_, err = io.WriteString(p.stdout, fmt.Sprintf("%s signs: keep it secret.\n%s checks signatures: give it to whoever compares. It holds\n%s\n", at+".key", at+".pub", public))
	return exitDone, err
}
