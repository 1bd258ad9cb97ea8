package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/demo"
	"github.com/verifierd/verifierd/internal/progress"
	"github.com/verifierd/verifierd/internal/report"
)

const demoDescription = `Starts two PostgreSQL servers of different major versions in temporary
directories, loads a small shop into one and copies it to the other, breaks
the copy in six places (rows, an index, a sequence), verifies, and shows what
was planted beside what was found. Versions that are not installed are fetched with npm. The servers are
always stopped at the end.

Exit codes:
   1   diverged, as planted: the demo went well
   2   any trouble`

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "break a copied database and watch verifierd find it",
		Description: demoDescription,
		Action:      p.do(p.demo),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", DisableDefaultText: true, Usage: "leave the servers up until Ctrl-C, to try things by hand"},
		},
	}
}

func (p *program) demo(c *cli.Context) (int, error) {
	o := demo.Options{
		Out: p.stdout, Keep: c.Bool("keep"), Program: p.args[0], ToolVersion: toolVersion(),
		Watch: func() *progress.Display { return newDisplay(p.stderr) },
	}
	if f, ok := p.stdout.(*os.File); ok {
		o.Colour = progress.Colour(f)
	}
	pass, err := demo.Run(c.Context, o)
	if err != nil {
		return exitTrouble, fmt.Errorf("demo: %w", err)
	}
	return report.ExitCode(pass.Verdict), nil
}
