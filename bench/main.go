// Command bench measures verifierd against the floor: how long psql takes to
// drain the same tables from the same two servers, both at once.
//
// It starts two servers on this machine, loads them, and prints ratios as
// Markdown. Times stand beside the ratios only to show what was divided: they
// say something of one machine, the ratios of verifierd.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type options struct {
	rows    int64
	repeat  int
	major   int
	only    *regexp.Regexp
	keep    bool
	binary  string
	list    bool
	command string // that prints the table again
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{command: strings.Join(append([]string{"go run ./bench"}, args...), " ")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Int64Var(&o.rows, "rows", 4_000_000, "`rows` of the narrow table; the wide one has a quarter")
	flags.IntVar(&o.repeat, "repeat", 5, "`times` each pair is measured; the slow ones half as often")
	flags.IntVar(&o.major, "major", 17, "PostgreSQL `version` of both servers")
	flags.BoolVar(&o.keep, "keep", false, "leave the servers up at the end, until Ctrl-C, and print their DSNs")
	flags.StringVar(&o.binary, "bin", "", "measure this `file` rather than build cmd/verifierd, to compare revisions")
	flags.BoolVar(&o.list, "list", false, "list the cases and measure nothing")
	only := flags.String("only", "", "measure only the cases whose names match this `regexp`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch o.only, err = regexp.Compile(*only); {
	case err != nil:
		return o, fmt.Errorf("-only: %w", err)
	case o.rows < 1000:
		return o, fmt.Errorf("-rows %d: want 1000 or more", o.rows)
	case o.repeat < 1:
		return o, fmt.Errorf("-repeat %d: want 1 or more", o.repeat)
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = bench(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// bench returns an error if anything could not be measured. A goal that is not
// reached is no error: the table says so.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	cases := chosen(allCases(o.rows), o.only)
	if len(cases) == 0 {
		return fmt.Errorf("-only %s selects no case", o.only)
	}
	if o.list {
		for _, c := range cases {
			fmt.Fprintln(stdout, c.name)
		}
		return nil
	}
	load := loadAverage() // before our own
	tools, cleanup, err := findTools(ctx, o.binary)
	if err != nil {
		return err
	}
	defer cleanup()
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		err = errors.Join(err, pglocal.StopAll(stopCtx))
	}()

	b := &bencher{tools: tools, repeat: o.repeat, log: stderr}
	if b.pair, err = startServers(ctx, o.major); err != nil {
		return err
	}
	if err := b.load(ctx, o.rows, cases); err != nil {
		return err
	}
	results, failed := b.measureAll(ctx, cases)
	writeReport(stdout, o, b.pair, load, results)
	if o.keep && ctx.Err() == nil {
		fmt.Fprintf(stderr, "servers stay up until Ctrl-C:\n  source %s\n  target %s\n", b.pair.server[0].DSN("postgres"), b.pair.server[1].DSN("postgres"))
		<-ctx.Done()
	}
	return failed
}
