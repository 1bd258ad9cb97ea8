package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func (p *program) helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "print the help of verifierd or of a command", ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			if name == "" {
				return cli.ShowAppHelp(c)
			}
			for _, command := range c.App.Commands {
				if command.Name == name {
					cli.HelpPrinter(p.stdout, cli.CommandHelpTemplate, command)
					return nil
				}
			}
			return fmt.Errorf("help: no command %q%s; see verifierd --help", name, nearCommand(c.App, name))
		},
	}
}
