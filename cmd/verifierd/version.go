package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// buildVersion says what this binary was built from: what the linker was told,
// else what the go command knows of the checkout.
func buildVersion() string {
	v, c, d := version, commit, date
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && c == "":
				c = s.Value
			case s.Key == "vcs.time" && d == "":
				d = s.Value
			}
		}
	}
	if v == "" {
		v = "dev"
	}
	var details []string
	if c != "" {
		details = append(details, "commit "+c)
	}
	if d != "" {
		details = append(details, d)
	}
	details = append(details, runtime.Version())
	return fmt.Sprintf("%s (%s)", v, strings.Join(details, ", "))
}

// toolVersion is the version alone, as reports name it.
func toolVersion() string {
	v, _, _ := strings.Cut(buildVersion(), " ")
	return v
}
