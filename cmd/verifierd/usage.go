package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// usageError says in one line what is wrong with the flags; the whole help
// would bury it.
func usageError(c *cli.Context, err error, _ bool) error {
	var flags []cli.Flag
	command, where := "", ""
	if c.Command != nil {
		flags = c.Command.Flags
		if c.Command.Name != c.App.Name {
			command, where = c.Command.Name+" ", c.Command.Name+": "
		}
	}
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		err = fmt.Errorf("unknown flag --%s%s", name, nearFlag(flags, name))
	}
	return fmt.Errorf("%s%w; see verifierd %s--help", where, err, command)
}

func nearFlag(flags []cli.Flag, name string) string {
	near := cli.SuggestFlag(flags, name, false)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", near)
}

// Where passwords stand in connection strings.
var (
	passwordInURI     = regexp.MustCompile(`(://[^:/?#@\s]*:)[^\s]*@`)
	passwordInKeyword = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&]+)`)
)

// redact hides passwords. No message is meant to hold any; but some repeat
// what was typed, and what was typed may have been a connection string in the
// wrong place.
func redact(s string) string {
	s = passwordInURI.ReplaceAllString(s, "${1}xxxxx@")
	return passwordInKeyword.ReplaceAllString(s, "${1}xxxxx")
}

// oneLine puts an error on one line; a joined error has a line for each part.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
