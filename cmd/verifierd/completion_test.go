package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletion asks as the scripts do: the word to complete comes last, empty
// unless it is a flag.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"verify", "--output", ""}, "table json ndjson junit html"},
		{[]string{"verify", "--source", "x", "--values", ""}, "none keys full"},
		{[]string{"verify", "--read="}, "--read=fast --read=gentle"},
		{[]string{"verify", "--snapshot=p"}, "--snapshot=pass --snapshot=table"},
		{[]string{"verify", "--skip-check", ""}, "orphans schema sequences"},
		{[]string{"verify", "--source", ""}, ""},
		{[]string{"verify", "--plan", ""}, ""},
	} {
		r := command(t, append(c.args, "--generate-bash-completion")...)
		r.want(t, 0)
		if got := strings.Join(strings.Fields(r.stdout), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	r := command(t, "completion", "fish")
	if want := "-l snapshot -r -a 'pass table'"; !strings.Contains(r.stdout, want) {
		t.Errorf("fish is not told %q", want)
	}
}

// TestBashCompletion runs the script in bash, which splits words at =.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here")
	}
	// What is asked is written down, one word a line.
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	program := filepath.Join(dir, "verifierd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '<%s>' \"$@\" > "+asked+"\necho junit; echo json; echo table\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"verify --output j":   "<verify><--output><><--generate-bash-completion>: junit json",
		"verify --output = t": "<verify><--output><><--generate-bash-completion>: table",
		"verify --":           "<verify><-><--generate-bash-completion>:",
		"verify --output =":   "<verify><--output><><--generate-bash-completion>: junit json table",
		"verify --out":        "<verify><--out><--generate-bash-completion>:",
	} {
		script := bashCompletion + "COMP_WORDS=(" + program + " " + words + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n" +
			"_verifierd_complete; echo \"${COMPREPLY[@]}\""
		out, err := exec.CommandContext(t.Context(), bash, "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		request, err := os.ReadFile(asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(request) + ": " + string(out)); got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
	}
}
