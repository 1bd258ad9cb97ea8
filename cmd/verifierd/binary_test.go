//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// binary builds the program; signals want a process of their own.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "verifierd")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version=1.2.3 -X main.commit=abc -X main.date=today", "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// process is a running verifierd with its standard error at hand.
type process struct {
	*exec.Cmd
	t      *testing.T
	stderr *bufio.Reader
	said   strings.Builder
}

func start(t *testing.T, stdout io.Writer, path string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout = stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &process{Cmd: cmd, t: t, stderr: bufio.NewReader(stderr)}
}

// says waits until the process has said something.
func (p *process) says(text string) {
	p.t.Helper()
	for {
		line, err := p.stderr.ReadString('\n')
		p.said.WriteString(line)
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			p.t.Fatalf("the process never said %q, but:\n%s", text, &p.said)
		}
	}
}

func (p *process) interrupt() {
	p.t.Helper()
	if err := p.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the process and returns how it ended.
func (p *process) end() syscall.WaitStatus {
	p.t.Helper()
	rest, _ := io.ReadAll(p.stderr)
	p.said.Write(rest)
	var failed *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &failed) {
		p.t.Fatal(err)
	}
	return p.ProcessState.Sys().(syscall.WaitStatus)
}

func TestBinary(t *testing.T) {
	t.Parallel()
	path := binary(t)
	source, target := pgtest.Pair(t)
	for _, dsn := range []string{source, target} {
		pgtest.Exec(t, dsn, slowTable)
	}
	slow := []string{"verify", "--source", source, "--target", target, "--max-rate", "200kB", "--output", "json"}

	t.Run("version", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), path, "--version").Output()
		if want := "verifierd 1.2.3 (commit abc, today, go"; err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%q (%v), want %q…", out, err, want)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		var stdout bytes.Buffer
		p := start(t, &stdout, path, slow...)
		p.says("comparing")
		p.interrupt()
		if status := p.end(); status.ExitStatus() != 2 {
			t.Errorf("status %v, want exit code 2; it said:\n%s", status, &p.said)
		}
		var doc struct{ Verdict, Reason string }
		if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
			t.Fatalf("%v in %s", err, &stdout)
		}
		if doc.Verdict != "incomplete" || !strings.Contains(doc.Reason, "interrupted") {
			t.Errorf("the report says %+v", doc)
		}
	})
	t.Run("second interrupt", func(t *testing.T) {
		// The report cannot be written: the pipe is full.
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		fill(t, w)
		p := start(t, w, path, slow...)
		p.says("comparing")
		p.interrupt()
		p.says("interrupted: ")
		p.interrupt()
		if status := p.end(); !status.Signaled() || status.Signal() != syscall.SIGINT {
			t.Errorf("status %v, want it killed by the second signal; it said:\n%s", status, &p.said)
		}
	})
	t.Run("broken pipe", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		r.Close()
		p := start(t, w, path, "verify", "--source", source, "--target", target)
		if status := p.end(); status.ExitStatus() != 2 {
			t.Errorf("status %v, want exit code 2", status)
		}
		if !strings.Contains(p.said.String(), "write the report: ") || !strings.Contains(p.said.String(), "\nmatch: ") {
			t.Errorf("it said:\n%s", &p.said)
		}
	})
}

// fill writes to a pipe until it takes no more.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	block := make([]byte, 4096)
	for {
		// A pipe with room takes a block at once.
		if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := w.Write(block)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
