package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

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

// units of bytes, as people write them.
var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "kib": 1 << 10,
	"m": 1e6, "mb": 1e6, "mib": 1 << 20,
	"g": 1e9, "gb": 1e9, "gib": 1 << 30,
	"t": 1e12, "tb": 1e12, "tib": 1 << 40,
}

// parseRate reads a number of bytes a second: 50MB, 1.5 GiB/s, 1000000. Empty
// is 0, no limit.
func parseRate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	number, err := strconv.ParseFloat(text[:end], 64)
	unit, known := units[strings.TrimSpace(text[end:])]
	bytes := math.Round(number * unit)
	if err != nil || !known || bytes < 1 || bytes >= math.MaxInt64 {
		return 0, fmt.Errorf("%q: want bytes a second, for example 50MB, 50MiB or 1GiB", s)
	}
	return int64(bytes), nil
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
