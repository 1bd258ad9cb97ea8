package main

import (
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	r := command(t, "demo")
	r.want(t, 1, "public.orders")
	if !strings.Contains(r.stdout, "All were found, and nothing else.") {
		t.Errorf("the demo did not end well:\n%s", r.stdout)
	}
}
