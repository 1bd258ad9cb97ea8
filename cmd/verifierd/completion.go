package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/report"
)

//go:embed completion.bash
var bashCompletion string

//go:embed completion.zsh
var zshCompletion string

func (p *program) completionCommand() *cli.Command {
	shell := func(name, hint string, script func(*cli.Context) (string, error)) *cli.Command {
		return &cli.Command{
			Name: name, Usage: hint,
			Action: p.do(func(c *cli.Context) (int, error) {
				text, err := script(c)
				if err == nil {
					_, err = io.WriteString(p.stdout, text)
				}
				return exitDone, err
			}),
		}
	}
	fixed := func(s string) func(*cli.Context) (string, error) {
		return func(*cli.Context) (string, error) { return s, nil }
	}
	return &cli.Command{
		Name: "completion", Usage: "print what makes a shell complete verifierd's commands and flags",
		Action: func(*cli.Context) error {
			return errors.New("completion: which shell? There is completion for bash, zsh and fish")
		},
		Subcommands: []*cli.Command{
			shell("bash", "source <(verifierd completion bash)", fixed(bashCompletion)),
			shell("zsh", "source <(verifierd completion zsh)", fixed(zshCompletion)),
			shell("fish", "verifierd completion fish | source", fishCompletion),
		},
	}
}

// choices returns the values of a flag that takes one of a few.
func choices(flag string) []string {
	switch flag {
	case "output":
		return report.Formats()
	case "read":
		return daemon.ReadModes()
	case "snapshot":
		return snapshotScopes
	case "skip-check":
		return daemon.Checks()
	case "values":
		return daemon.ValuePolicies()
	}
	return nil
}

// fishCompletion is cli's with the values of flags, which it knows nothing of.
func fishCompletion(c *cli.Context) (string, error) {
	text, err := c.App.ToFishCompletion()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(text)
	for _, command := range c.App.Commands {
		for _, sub := range append([]*cli.Command{command}, command.Subcommands...) {
			for _, f := range sub.Flags {
				if values := choices(f.Names()[0]); values != nil {
					fmt.Fprintf(&b, "complete -c verifierd -n '__fish_seen_subcommand_from %s' -f -l %s -r -a '%s'\n",
						sub.Name, f.Names()[0], strings.Join(values, " "))
				}
			}
		}
	}
	return b.String(), nil
}

// complete prints what may follow on a command line, whose last word is the one
// to complete, empty unless it is a flag: the values of a flag that has a few,
// nothing for one that takes any, else what cli suggests.
func (p *program) complete(command *cli.Command) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		word, before := "", ""
		if n := len(p.args) - 1; n >= 2 { // the last argument asks for this
			word, before = p.args[n-1], p.args[n-2]
		}
		flag, prefix := before, ""
		if name, _, joined := strings.Cut(word, "="); joined {
			flag, prefix = name, name+"="
		} else if word != "" {
			flag = ""
		}
		if !takesValue(command, flag) {
			cli.DefaultCompleteWithFlags(command)(c)
			return
		}
		for _, value := range choices(strings.TrimPrefix(flag, "--")) {
			fmt.Fprintln(p.stdout, prefix+value)
		}
	}
}

func takesValue(command *cli.Command, flag string) bool {
	name, long := strings.CutPrefix(flag, "--")
	return long && slices.ContainsFunc(command.Flags, func(f cli.Flag) bool {
		d, ok := f.(cli.DocGenerationFlag)
		return ok && d.TakesValue() && slices.Contains(f.Names(), name)
	})
}
