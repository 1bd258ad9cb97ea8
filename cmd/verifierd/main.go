// Command verifierd proves that two PostgreSQL databases hold the same data.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// Set by the linker: -ldflags "-X main.version=… -X main.commit=… -X main.date=…".
var version, commit, date string

// Exit codes. Those of a verdict are report.ExitCode's: 0, 1 and 2.
const (
	exitDone    = 0 // what was asked for and is no verdict: help, a plan
	exitTrouble = 2 // anything that kept a verdict from being established
)

func main() {
	leaveCores()
	// Without a handler the runtime ends the process when standard output is
	// a broken pipe; with one the write fails, and the exit code tells of it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signalled, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(signalled, func() {
		restore() // first, so that whoever sees the context end may count on it: a second signal kills
		cancel()
	})
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// leaveCores confines verifierd to half of the cores. It needs a quarter of what
// the servers take to send the same rows, and where they share the machine its
// idle threads are in their way: on two cores that is a fifth of a pass.
// The environment's GOMAXPROCS overrides it.
func leaveCores() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}

// run runs a command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{args: args, stdout: stdout, stderr: stderr}
	if err := p.app().RunContext(ctx, args); err != nil {
		fmt.Fprintf(stderr, "verifierd: %s\n", redact(indented(err), args))
		return exitTrouble
	}
	return p.code
}

// program is one run of the command line.
type program struct {
	args           []string
	stdout, stderr io.Writer
	code           int // of the command that ran without an error
}

func (p *program) app() *cli.App {
	return &cli.App{
		Name:  "verifierd",
		Usage: "prove that two PostgreSQL databases hold the same data",
		Description: `verifierd reads every row of both databases, each at one snapshot, compares
them by hash, and names the rows that differ. It writes to neither.

   verifierd demo     shows it on two servers of its own
   verifierd verify   compares your databases
   verifierd schema   compares their definitions alone
   verifierd baseline keeps what is in one, to compare with later

` + exitCodesText,
		UsageText: "verifierd COMMAND [flags]",
		Commands: []*cli.Command{
			p.command(p.verifyCommand()), p.command(p.schemaCommand()), p.command(p.baselineCommand()), p.command(p.demoCommand()),
			p.command(p.configCommand()),
			p.command(p.completionCommand()), p.command(p.manCommand()), p.command(p.helpCommand()),
		},
		Flags: []cli.Flag{
			helpFlag(),
			&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, DisableDefaultText: true, Usage: "print the version"},
		},
		Action:                    p.noCommand,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // errors become exit codes in run
		OnUsageError:              usageError,
		HideHelp:                  true, // cli's are global variables; ours belong to one run
		HideVersion:               true,
		Suggest:                   true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true, // a table's name may hold a comma
	}
}

// command completes a command with what all have.
func (p *program) command(c *cli.Command) *cli.Command {
	c.HideHelp = true
	c.Flags = append(c.Flags, helpFlag())
	c.OnUsageError = usageError
	c.BashComplete = p.complete(c)
	for _, sub := range c.Subcommands {
		p.command(sub)
	}
	return c
}

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, DisableDefaultText: true, Usage: "print this help"}
}

const exitCodesText = `Exit codes:
   0   match: both sides hold the same data
   1   diverged: at least one difference is confirmed
   2   incomplete, or any trouble: wrong flags, no connection, interrupted`

// action is a command's work: the exit code, or an error, which is trouble.
type action func(*cli.Context) (code int, err error)

func (p *program) do(f action) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			// It is not repeated: a connection string, say, holds a password.
			hint := "flags begin with --"
			if slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == "config" }) && isYAML(c.Args().First()) {
				hint = "--config goes before a configuration file"
			}
			return fmt.Errorf("%s: unexpected argument; %s; see verifierd %[1]s --help", commandPath(c), hint)
		}
		code, err := f(c)
		p.code = code
		return err
	}
}

// commandPath is the command as it is typed after the program's name.
func commandPath(c *cli.Context) string {
	return strings.TrimPrefix(c.Command.HelpName, c.App.Name+" ")
}

// noCommand is trouble even without arguments: a script that lost them must
// not take silence for a match.
func (p *program) noCommand(c *cli.Context) error {
	if c.Bool("version") {
		_, err := fmt.Fprintf(p.stdout, "verifierd %s\n", buildVersion())
		return err
	}
	name := c.Args().First()
	if name == "" {
		c.App.Writer = p.stderr
		_ = cli.ShowAppHelp(c)
		return errors.New("no command given; see verifierd --help")
	}
	return fmt.Errorf("no command %q%s; see verifierd --help", name, nearCommand(c.App, name))
}
