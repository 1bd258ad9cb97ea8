package demo

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// stage is where a demo tells its story; it does something at one point of it.
type stage struct {
	bytes.Buffer
	at   string
	then func()
}

func (s *stage) Write(p []byte) (int, error) {
	s.Buffer.Write(p)
	if s.then != nil && strings.Contains(string(p), s.at) {
		then := s.then
		s.then = nil
		then()
	}
	return len(p), nil
}

var portPattern = regexp.MustCompile(`(source|target) .* port (\d+)`)

func (s *stage) ports(t *testing.T) map[string]string {
	t.Helper()
	ports := make(map[string]string)
	for _, m := range portPattern.FindAllStringSubmatch(s.String(), -1) {
		ports[m[1]] = m[2]
	}
	if len(ports) != 2 {
		t.Fatalf("the demo does not name its ports:\n%s", s)
	}
	return ports
}

// wantStopped asserts that the demo's servers are gone.
func (s *stage) wantStopped(t *testing.T) {
	t.Helper()
	for side, port := range s.ports(t) {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			conn.Close()
			t.Errorf("the %s on port %s still accepts connections", side, port)
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Kept servers stay until Ctrl-C.
	s := &stage{at: "Ctrl-C stops them"}
	s.then = func() {
		for side, port := range s.ports(t) {
			if n := pgtest.Query(t, "postgres://postgres@127.0.0.1:"+port+"/shop?sslmode=disable", "SELECT count(*) FROM orders")[0][0]; n != "60000" {
				t.Errorf("the %s has %s orders", side, n)
			}
		}
		cancel()
	}
	pass, err := Run(ctx, Options{Out: s, Keep: true, Program: "bin/verifierd"})
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	if pass.Verdict != parity.Diverged || !pass.Complete {
		t.Errorf("verdict %s, complete %t", pass.Verdict, pass.Complete)
	}
	if pass.Server[0].Version == pass.Server[1].Version {
		t.Errorf("both servers are %s", pass.Server[0].Version)
	}
	for _, want := range []string{"All were found", "DIVERGED", "an index is forgotten", "setval(", "   bin/verifierd verify --source"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, s)
		}
	}
	s.wantStopped(t)
}

// A row more than was planted is no success.
func TestDemoSurprised(t *testing.T) {
	t.Parallel()
	s := &stage{at: "5. "}
	s.then = func() {
		pgtest.Exec(t, "postgres://postgres@127.0.0.1:"+s.ports(t)["target"]+"/shop?sslmode=disable",
			`DELETE FROM items WHERE order_id = 1 AND line = 1`)
	}
	_, err := Run(t.Context(), Options{Out: s})
	if err == nil || !strings.Contains(err.Error(), "not find exactly") {
		t.Errorf("error %v, want it surprised", err)
	}
	if !strings.Contains(s.String(), "order_id=1 line=1") {
		t.Errorf("the surprise is not shown:\n%s", s)
	}
	s.wantStopped(t)
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &stage{at: "3. ", then: cancel}
	if _, err := Run(ctx, Options{Out: s}); err == nil || err.Error() != "interrupted" {
		t.Errorf("error %v, want interrupted", err)
	}
	s.wantStopped(t)
}

func TestDemoPanics(t *testing.T) {
	t.Parallel()
	s := &stage{at: "2. ", then: func() { panic("on stage") }}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = Run(t.Context(), Options{Out: s})
	}()
	s.wantStopped(t)
}
