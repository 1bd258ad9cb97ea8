package main

import (
	_ "embed"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
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
		Action: p.do(func(*cli.Context) (int, error) {
			return exitTrouble, fmt.Errorf("completion: which shell? bash, zsh or fish")
		}),
		Subcommands: []*cli.Command{
			shell("bash", "source <(verifierd completion bash)", fixed(bashCompletion)),
			shell("zsh", "source <(verifierd completion zsh)", fixed(zshCompletion)),
			shell("fish", "verifierd completion fish | source", func(c *cli.Context) (string, error) { return c.App.ToFishCompletion() }),
		},
	}
}
