package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bencher measures cases on a pair of servers.
type bencher struct {
	tools  tools
	pair   *pair
	repeat int
	log    io.Writer
}

func (b *bencher) logf(format string, args ...any) {
	fmt.Fprintf(b.log, format+"\n", args...)
}

// sample is one measurement.
type sample struct {
	wall time.Duration
	cpu  time.Duration // of the client processes
	work time.Duration // of client and servers together; 0: not measured
	peak int64         // resident bytes; 0: not measured
}

// result is a case with its measurements: sample i was taken right after
// reference i.
type result struct {
	*testCase
	samples, references []sample
	err                 error
}

// measureAll measures the cases in their order and goes on after a failure.
func (b *bencher) measureAll(ctx context.Context, cases []testCase) ([]result, error) {
	var results []result
	var failed []error
	for i := range cases {
		r := b.measure(ctx, &cases[i])
		if r.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", cases[i].name, r.err))
			b.logf("%s: %v", cases[i].name, r.err)
		} else {
			b.logf("%s", describe(&r))
		}
		results = append(results, r)
		if ctx.Err() != nil {
			return results, errors.Join(append(failed, context.Cause(ctx))...)
		}
	}
	return results, errors.Join(failed...)
}

// measure takes turns: reference, case, reference, case.
func (b *bencher) measure(ctx context.Context, c *testCase) result {
	r := result{testCase: c}
	repeat := b.repeat
	if c.slow {
		repeat = max(1, repeat/2)
	}
	// Both are to find the caches alike, whatever ran before.
	if _, r.err = b.runFloor(ctx, c); r.err != nil {
		return r
	}
	for range repeat {
		var s sample
		if s, r.err = b.atWork(func() (sample, error) { return b.runReference(ctx, c) }); r.err != nil {
			return r
		}
		r.references = append(r.references, s)
		if s, r.err = b.atWork(func() (sample, error) { return b.runCase(ctx, c) }); r.err != nil {
			return r
		}
		r.samples = append(r.samples, s)
	}
	return r
}

// atWork adds what the servers do meanwhile.
func (b *bencher) atWork(f func() (sample, error)) (sample, error) {
	before := b.pair.serversCPU()
	s, err := f()
	if after := b.pair.serversCPU(); before > 0 && after > before {
		s.work = s.cpu + after - before
	}
	return s, err
}

func (b *bencher) runReference(ctx context.Context, c *testCase) (sample, error) {
	switch c.reference {
	case againstFloor, againstSide:
		return b.runFloor(ctx, c)
	case againstJoin:
		return b.runSQL(ctx, c, c.join)
	}
	match := *c
	match.target, match.want, match.rows = c.source, counts{}, [2]int64{c.rows[0], c.rows[0]}
	s, err := b.runVerify(ctx, &match)
	if err != nil {
		err = fmt.Errorf("the matching pass: %w", err)
	}
	return s, err
}

func (b *bencher) runCase(ctx context.Context, c *testCase) (sample, error) {
	if c.sql != "" {
		return b.runSQL(ctx, c, c.sql)
	}
	if c.capture {
		return b.runCapture(ctx, c)
	}
	return b.runVerify(ctx, c)
}

func (b *bencher) runFloor(ctx context.Context, c *testCase) (sample, error) {
	return b.runSQL(ctx, c, `COPY `+datasetOf(c.source).table+` TO STDOUT (FORMAT binary)`)
}

// runSQL runs a statement through psql on both sides at once, or on the source
// alone to compare a capture with, and throws away what it says.
func (b *bencher) runSQL(ctx context.Context, c *testCase, sql string) (sample, error) {
	var parts [2]sample
	databases := [2]string{c.source, c.target}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return sample{}, err
	}
	defer null.Close()
	started := time.Now()
	err = eachSide(func(side int) error {
		if side == target && c.capture {
			return nil
		}
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, b.tools.psql, "--no-psqlrc", "--quiet", "--no-align", "--tuples-only",
			"--set=ON_ERROR_STOP=1", "--command", sql, b.pair.server[side].DSN(databases[side]))
		cmd.Stdout, cmd.Stderr = null, &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(stderr.String()))
		}
		parts[side].cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return nil
	})
	return sample{wall: time.Since(started), cpu: parts[0].cpu + parts[1].cpu}, err
}

// runVerify runs the binary as a user would, from its start to its end, and
// checks what it found: a fast wrong answer is worth nothing.
func (b *bencher) runVerify(ctx context.Context, c *testCase) (sample, error) {
	args := append([]string{
		"verify", "--output", "json", "--table", "public." + datasetOf(c.source).table,
		"--source", b.pair.server[source].DSN(c.source), "--target", b.pair.server[target].DSN(c.target),
	}, c.args...)
	s, code, stdout, stderr, err := b.runVerifierd(ctx, args)
	if err != nil {
		return s, err
	}
	if err := c.check(code, stdout); err != nil {
		return s, fmt.Errorf("verifierd: %w\n%s", err, lastLines(stderr, 5))
	}
	if c.join != "" {
		s.wall, err = orphanTime(stdout)
	}
	return s, err
}

// orphanTime returns how long a pass looked for orphans, of which it must have
// asked both sides.
func orphanTime(report []byte) (time.Duration, error) {
	var o struct {
		ForeignKeys []struct {
			Source   struct{ Checked string } `json:"source"`
			Target   struct{ Checked string } `json:"target"`
			Duration float64                  `json:"duration_seconds"`
		} `json:"foreign_keys"`
	}
	if err := json.Unmarshal(report, &o); err != nil {
		return 0, err
	}
	if len(o.ForeignKeys) != 1 || o.ForeignKeys[0].Source.Checked != "anti-join" || o.ForeignKeys[0].Target.Checked != "anti-join" {
		return 0, fmt.Errorf("orphans were looked for as %+v, want one foreign key by anti-join on both sides", o.ForeignKeys)
	}
	return time.Duration(o.ForeignKeys[0].Duration * float64(time.Second)), nil
}

// runCapture captures a baseline of the source, and checks how many rows are in
// it.
func (b *bencher) runCapture(ctx context.Context, c *testCase) (sample, error) {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "baseline")
	s, code, _, stderr, err := b.runVerifierd(ctx, append([]string{
		"baseline", "capture", "--out", file, "--table", "public." + datasetOf(c.source).table, "--dsn", b.pair.server[source].DSN(c.source),
	}, c.args...))
	if err != nil {
		return s, err
	}
	if code != 0 {
		return s, fmt.Errorf("verifierd: exit code %d\n%s", code, lastLines(stderr, 5))
	}
	_, code, shown, _, err := b.runVerifierd(ctx, []string{"baseline", "show", "--output", "json", file})
	if err != nil {
		return s, err
	}
	var doc struct{ Rows int64 }
	if err := json.Unmarshal(shown, &doc); err != nil {
		return s, fmt.Errorf("show the baseline: exit code %d: %w", code, err)
	}
	if doc.Rows != c.rows[source] {
		return s, fmt.Errorf("verifierd: %d rows captured, want %d", doc.Rows, c.rows[source])
	}
	return s, nil
}

func (b *bencher) runVerifierd(ctx context.Context, args []string) (s sample, code int, stdout []byte, stderr string, err error) {
	var out, trouble bytes.Buffer
	cmd := exec.CommandContext(ctx, b.tools.verifierd, args...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return s, 0, nil, "", err
	}
	watched := watchPeak(cmd.Process.Pid)
	err = cmd.Wait()
	s = sample{wall: time.Since(started), peak: watched(cmd.ProcessState)}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return s, cmd.ProcessState.ExitCode(), out.Bytes(), trouble.String(), err
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// outcome is what is looked at of the JSON report.
type outcome struct {
	Verdict  string `json:"verdict"`
	Complete bool   `json:"complete"`
	Reason   string `json:"reason"`
	Tables   []struct {
		Source      struct{ Rows int64 } `json:"source"`
		Target      struct{ Rows int64 } `json:"target"`
		Divergences struct {
			Missing, Extra, Mismatched, Healed, Volatile int64
			Explained                                    bool
		} `json:"divergences"`
		Rows []json.RawMessage `json:"rows"`
	} `json:"tables"`
}

// check compares a report with what was planted.
func (c *testCase) check(exitCode int, report []byte) error {
	var o outcome
	if err := json.Unmarshal(report, &o); err != nil {
		return fmt.Errorf("exit code %d; report: %w", exitCode, err)
	}
	verdict, code := "match", 0
	if c.want != (counts{}) {
		verdict, code = "diverged", 1
	}
	switch {
	case o.Verdict != verdict || exitCode != code || !o.Complete:
		return fmt.Errorf("%s, exit code %d, complete %t, want %s, %d, true: %s", o.Verdict, exitCode, o.Complete, verdict, code, o.Reason)
	case len(o.Tables) != 1:
		return fmt.Errorf("%d tables compared, want 1", len(o.Tables))
	}
	t := &o.Tables[0]
	d := &t.Divergences
	switch got := (counts{d.Missing, d.Extra, d.Mismatched}); {
	case got != c.want:
		return fmt.Errorf("found %+v, planted %+v", got, c.want)
	case d.Healed+d.Volatile > 0 || !d.Explained:
		return fmt.Errorf("%d healed, %d volatile, explained %t on quiet servers", d.Healed, d.Volatile, d.Explained)
	case [2]int64{t.Source.Rows, t.Target.Rows} != c.rows:
		return fmt.Errorf("%d and %d rows read, want %d", t.Source.Rows, t.Target.Rows, c.rows)
	case verdict == "diverged" && len(t.Rows) == 0:
		return errors.New("no divergent row was named")
	}
	return nil
}

// watchPeak follows a process's peak of resident memory. The kernel's own
// account at its end (ru_maxrss) begins with the peak of the process that
// started it, so it is only used where that can be ruled out, or where there is
// nothing else.
func watchPeak(pid int) (finish func(*os.ProcessState) int64) {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var seen int64
		for {
			select {
			case <-done:
				peak <- seen
				return
			case <-tick.C:
				seen = max(seen, peakOf(strconv.Itoa(pid)))
			}
		}
	}()
	return func(state *os.ProcessState) int64 {
		close(done)
		seen := <-peak
		if atEnd := maxRSS(state); seen == 0 || atEnd > peakOf("self") {
			return atEnd
		}
		return seen
	}
}

// peakOf returns the peak of a process's resident memory, 0 if unknown.
func peakOf(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	return 1024 * firstNumber(string(status), "VmHWM:")
}
