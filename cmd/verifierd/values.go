package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/internal/config"
	"github.com/verifierd/verifierd/pkg/relation"
)

func parsePatterns(texts []string) ([]relation.Pattern, error) {
	var patterns []relation.Pattern
	for _, s := range texts {
		p, err := relation.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// parseMap reads source.name=target.name. Each name may stand on its side once.
func parseMap(texts []string) (map[relation.Name]relation.Name, error) {
	mapped := make(map[relation.Name]relation.Name)
	from := make(map[relation.Name]relation.Name)
	for _, s := range texts {
		left, right, ok := cutUnquoted(s)
		if !ok {
			return nil, fmt.Errorf("%q: want source.name=target.name", s)
		}
		source, err := relation.ParseName(left)
		if err != nil {
			return nil, err
		}
		target, err := relation.ParseName(right)
		if err != nil {
			return nil, err
		}
		if _, twice := mapped[source]; twice {
			return nil, fmt.Errorf("%s is mapped twice", source)
		}
		if other, twice := from[target]; twice {
			return nil, fmt.Errorf("%s and %s are both mapped to %s", other, source, target)
		}
		mapped[source], from[target] = target, source
	}
	return mapped, nil
}

// cutUnquoted cuts s at the first = that is not within double quotes.
func cutUnquoted(s string) (left, right string, ok bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '=' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// parseRate reads a number of bytes a second. Empty is 0, no limit.
func parseRate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	rate, err := config.ParseRate(s)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", s, err)
	}
	return rate, nil
}

func oneOf(s string, allowed ...string) error {
	if slices.Contains(allowed, s) {
		return nil
	}
	return fmt.Errorf("%q: want %s", s, strings.Join(allowed, " or "))
}

func within(n, least, most int) error {
	if least <= n && n <= most {
		return nil
	}
	return fmt.Errorf("%d: want a number from %d to %d", n, least, most)
}
