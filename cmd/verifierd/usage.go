package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/config"
)

// usageError says in one line what is wrong with the flags; the whole help
// would bury it.
func usageError(c *cli.Context, err error, _ bool) error {
	var flags []cli.Flag
	command, where := "", ""
	if c.Command != nil {
		flags = c.Command.Flags
		if c.Command.Name != c.App.Name {
			command, where = commandPath(c)+" ", commandPath(c)+": "
		}
	}
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		err = fmt.Errorf("unknown flag --%s%s", name, nearFlag(flags, name))
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		err = fmt.Errorf("--%s: %s: want %s", m[2], m[1], wantedValue(flags, m[2]))
	}
	return fmt.Errorf("%s%w; see verifierd %s--help", where, err, command)
}

// badValue is how the flag package tells of a value that it cannot parse.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-([^:]+): `)

// wantedValue says which values a flag takes.
func wantedValue(flags []cli.Flag, name string) string {
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.DurationFlag:
			return "a duration such as 10s, 500ms or 2m"
		case *cli.IntFlag:
			return "a whole number"
		case *cli.BoolFlag:
			return "no value, true or false"
		}
	}
	return "another value"
}

func nearFlag(flags []cli.Flag, name string) string {
	var known []string
	for _, f := range flags {
		known = append(known, f.Names()[0])
	}
	return didYouMean("--", config.Near(strings.TrimLeft(name, "-"), known))
}

func nearCommand(app *cli.App, name string) string {
	var known []string
	for _, c := range app.VisibleCommands() {
		known = append(known, c.Name)
	}
	return didYouMean("", config.Near(name, known))
}

func didYouMean(prefix, near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s%s?", prefix, near)
}

func isYAML(arg string) bool {
	return strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml")
}

// Where passwords stand in connection strings.
var (
	passwordInURI     = regexp.MustCompile(`(://[^:/?#@\s]*:)[^\s]*@`)
	passwordInKeyword = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&]+)`)
	mayHoldPassword   = regexp.MustCompile(`(?is):[^/].*@|password`)
)

// redact hides passwords. No message is meant to hold any; but some repeat
// what was typed, and what was typed may have been a connection string in the
// wrong place, and malformed. So arguments that may hold a password are hidden
// whole.
func redact(message string, args []string) string {
	for _, arg := range args {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
			arg = value
		}
		if mayHoldPassword.MatchString(arg) {
			quoted := strconv.Quote(arg)
			message = strings.NewReplacer(quoted[1:len(quoted)-1], "xxxxx", arg, "xxxxx").Replace(message)
		}
	}
	message = passwordInURI.ReplaceAllString(message, "${1}xxxxx@")
	return passwordInKeyword.ReplaceAllString(message, "${1}xxxxx")
}

// indented gives each part of a joined error a line of its own.
func indented(err error) string { return strings.ReplaceAll(err.Error(), "\n", "\n   ") }
