package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentation: the document's examples are accepted, and it has every
// key.
func TestDocumentation(t *testing.T) {
	content, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1)
	if len(examples) < 2 {
		t.Fatalf("%d examples", len(examples))
	}
	o := outside{
		env:    func(string) (string, bool) { return "x", true },
		secret: func(string) (string, string, error) { return "x", "", nil },
	}
	for _, example := range examples {
		if _, err := parse("configuration.md", []byte(example[1]), o); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
	}
	// A wrong key at each place makes the parser list those that it knows.
	_, err = parse("file", []byte(`
zzzzzzzz: 1
limits: {zzzzzzzz: 1}
migrations:
  m:
    zzzzzzzz: 1
    source: {zzzzzzzz: 1}
    groups: {g: {zzzzzzzz: 1}}
    columns: {a.b: {zzzzzzzz: 1, where: {zzzzzzzz: 1}}}
    references: [{zzzzzzzz: 1}]
    severity: {zzzzzzzz: 1}
    verify: {zzzzzzzz: 1}
`), o)
	lists := regexp.MustCompile(`known here: (.*)`).FindAllStringSubmatch(err.Error(), -1)
	if len(lists) != 10 {
		t.Fatalf("%d lists of keys in %v", len(lists), err)
	}
	for _, list := range lists {
		for key := range strings.SplitSeq(list[1], ", ") {
			if !strings.Contains(string(content), "`"+key+"`") || !strings.Contains(examples[1][1], key+":") {
				t.Errorf("the key %s is not described, or not in the second example", key)
			}
		}
	}
}
