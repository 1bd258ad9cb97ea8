package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page: verifierd man > verifierd.1",
		Action: p.do(func(c *cli.Context) (int, error) {
			// cli's template leaves descriptions out, but keeps these as they are laid out.
			for _, command := range c.App.Commands {
				command.UsageText = command.Description
			}
			page, err := c.App.ToManWithSection(1)
			if err == nil {
				_, err = io.WriteString(p.stdout, page)
			}
			return exitDone, err
		}),
	}
}
