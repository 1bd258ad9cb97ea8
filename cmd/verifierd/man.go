package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page: verifierd man > verifierd.1",
		Action: p.do(func(c *cli.Context) (int, error) {
			page, err := c.App.ToManWithSection(1)
			if err == nil {
				_, err = io.WriteString(p.stdout, page)
			}
			return exitDone, err
		}),
	}
}
