// Package demo shows a pass on two servers of its own: it loads a small shop,
// copies it, breaks the copy, and lets a pass find where.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/progress"
	"github.com/verifierd/verifierd/internal/report"
	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Options say how the demo is run.
type Options struct {
	Out    io.Writer // where the story is told
	Colour bool
	// Keep leaves the servers up until the context ends.
	Keep bool
	// Watch starts a display that shows the pass; nil shows nothing.
	Watch func() *progress.Display

	// Program is what the user types to start this program. Default: verifierd.
	Program     string
	ToolVersion string
}

// stopTimeout bounds the end of the servers, which outlives the context.
const stopTimeout = 20 * time.Second

// Run runs the demo. It returns the pass that it ran; an error if it got no
// further, or if what the pass found is not what was planted.
func Run(ctx context.Context, o Options) (pass *parity.Pass, err error) {
	d := &demo{Options: o, colour: text.Palette(o.Colour)}
	// Also when something panics.
	defer func() { err = errors.Join(err, d.stop(ctx)) }()
	pass, err = d.run(ctx)
	if ctx.Err() != nil && pass == nil {
		return nil, errors.New("interrupted")
	}
	return pass, err
}

type demo struct {
	Options
	colour text.Palette
	steps  int
	server [2]*pglocal.Server
}

func (d *demo) run(ctx context.Context) (*parity.Pass, error) {
	if err := d.startServers(ctx); err != nil {
		return nil, err
	}
	if err := d.timed("Load a small shop into the source", func() error { return d.load(ctx) }); err != nil {
		return nil, err
	}
	if err := d.timed("Copy it to the target, table by table", func() error { return d.copyShop(ctx) }); err != nil {
		return nil, err
	}
	if err := d.timed("Break the target in six places, as a bad migration would", func() error { return d.plant(ctx) }); err != nil {
		return nil, err
	}
	pass, err := d.verify(ctx)
	if err != nil {
		return pass, err
	}
	if d.Keep {
		d.linger(ctx)
	}
	return pass, nil
}

// step announces what happens next.
func (d *demo) step(what string) {
	d.steps++
	if d.steps > 1 {
		d.say("")
	}
	d.say("%s", d.colour.Bold(fmt.Sprintf("%d. %s", d.steps, what)))
}

// timed runs a step and says how long it took.
func (d *demo) timed(what string, f func() error) error {
	d.step(what)
	started := time.Now()
	if err := f(); err != nil {
		return err
	}
	d.say("   %s", d.colour.Dim("took "+text.Duration(time.Since(started))))
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

func (d *demo) startServers(ctx context.Context) error {
	return d.timed("Start two PostgreSQL servers, in temporary directories", func() error {
		majors, err := d.chooseMajors(ctx)
		if err != nil {
			return err
		}
		if err := d.startBoth(ctx, majors); err != nil {
			return err
		}
		for _, side := range relation.Sides {
			s := d.server[side]
			d.say("   %s  PostgreSQL %-6s  port %d", side, s.Version, s.Port)
		}
		if d.server[0].Major == d.server[1].Major {
			d.say("   Both have the same major version: no other one could be had here.")
		}
		return nil
	})
}

// The versions that are fetched where this machine lacks them.
const (
	oldMajor = 15
	newMajor = 18
)

// chooseMajors picks the versions: two that are installed if there are two,
// so that nothing need be fetched.
func (d *demo) chooseMajors(ctx context.Context) ([2]int, error) {
	installed, err := pglocal.Installations(ctx)
	if err != nil {
		return [2]int{}, err
	}
	var majors []int
	for _, i := range installed {
		if i.Major >= 12 {
			majors = append(majors, i.Major)
		}
	}
	slices.Sort(majors)
	majors = slices.Compact(majors)
	switch len(majors) {
	case 0:
		return d.fetch(ctx, [2]int{oldMajor, newMajor})
	case 1:
		if majors[0] < newMajor {
			return d.fetch(ctx, [2]int{majors[0], newMajor})
		}
		return d.fetch(ctx, [2]int{oldMajor, majors[0]})
	}
	newest := majors[len(majors)-1]
	source := majors[len(majors)-2]
	if newest > oldMajor && slices.Contains(majors, oldMajor) {
		source = oldMajor
	}
	return [2]int{source, newest}, nil
}

// fetch gets versions that are not installed. What cannot be had is replaced
// by the other one.
func (d *demo) fetch(ctx context.Context, majors [2]int) ([2]int, error) {
	var failed [2]error
	for _, side := range relation.Sides {
		if installed, err := isInstalled(ctx, majors[side]); err != nil || installed {
			failed[side] = err
			continue
		}
		d.say("   PostgreSQL %d is not installed: fetching it, once", majors[side])
		_, failed[side] = pglocal.Find(ctx, majors[side])
	}
	if ctx.Err() != nil {
		return majors, ctx.Err()
	}
	for _, side := range relation.Sides {
		if failed[side] != nil && failed[side.Other()] == nil {
			majors[side] = majors[side.Other()]
			return majors, nil
		}
	}
	return majors, failed[0]
}

func isInstalled(ctx context.Context, major int) (bool, error) {
	installed, err := pglocal.Installations(ctx)
	return slices.ContainsFunc(installed, func(i pglocal.Installation) bool { return i.Major == major }), err
}

func (d *demo) startBoth(ctx context.Context, majors [2]int) error {
	var failed [2]error
	var wg sync.WaitGroup
	for _, side := range relation.Sides {
		wg.Go(func() {
			d.server[side], failed[side] = pglocal.Start(ctx, pglocal.Options{
				Major: majors[side],
				// What autovacuum writes would be a reason to wait before a
				// row is called divergent.
				Settings: map[string]string{"autovacuum": "off"},
			})
		})
	}
	wg.Wait()
	return errors.Join(failed[:]...)
}

func (d *demo) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var failed [2]error
	var wg sync.WaitGroup
	for i, s := range d.server {
		if s != nil {
			wg.Go(func() { failed[i] = s.Stop(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(failed[:]...)
}

func (d *demo) dsn(side relation.Side) string { return d.server[side].DSN(database) }

// verify runs the pass and compares what it found with what was planted.
func (d *demo) verify(ctx context.Context) (*parity.Pass, error) {
	d.step("Verify: read both sides, compare, and read again what differs")
	options := daemon.Options{
		DSN:            [2]string{d.dsn(relation.Source), d.dsn(relation.Target)},
		Recheck:        10 * time.Second,
		MaxDivergences: 100,
	}
	pass := d.watched(func(o parity.Observer) *parity.Pass {
		options.Observer = o
		return daemon.Verify(ctx, options)
	})
	d.say("")
	if err := report.Write(d.Out, report.Table, pass, report.Options{Colour: d.Colour, ToolVersion: d.ToolVersion}); err != nil {
		return pass, fmt.Errorf("write the report: %w", err)
	}
	found := findings(pass)
	d.step("What was planted, beside what was found")
	d.compareFound(found)
	if ctx.Err() != nil {
		return pass, errors.New("interrupted")
	}
	if !pass.Complete || !sameFindings(found, plantedFindings()) {
		return pass, errors.New("the pass did not find exactly what was planted: this is a bug of verifierd")
	}
	d.say("")
	d.say("All were found, and nothing else. The exit code is %d, which means \"diverged\":",
		report.ExitCode(pass.Verdict))
	d.say("a script or a rollout tool would stop here. A match ends with 0, an incomplete pass with 2.")
	return pass, nil
}

// watched runs a pass with a display, if one is wanted.
func (d *demo) watched(verify func(parity.Observer) *parity.Pass) *parity.Pass {
	if d.Watch == nil {
		return verify(parity.NoObserver{})
	}
	display := d.Watch()
	defer display.Close()
	return verify(display)
}

// linger leaves the servers up until the context ends.
func (d *demo) linger(ctx context.Context) {
	d.say("")
	d.say("The servers stay up. Change what you like, and verify again:")
	d.say("")
	for _, side := range relation.Sides {
		d.say("   psql '%s'   # %s", d.dsn(side), side)
	}
	d.say("   %s verify --source '%s' --target '%s'", cmp.Or(d.Program, "verifierd"), d.dsn(relation.Source), d.dsn(relation.Target))
	d.say("")
	d.say("Ctrl-C stops them and removes their data.")
	<-ctx.Done()
}

// finding is a divergent row, an orphan, a definition or a sequence, as told.
type finding struct {
	object  string // the table, or the sequence
	kind    string
	what    string // of the table: a key, or a part of its definition
	columns string // that differ
}

func (f finding) String() string {
	s := f.object
	if f.what != "" {
		s += " " + f.what
	}
	if f.columns != "" {
		s += " (" + f.columns + ")"
	}
	return s
}

func findings(pass *parity.Pass) []finding {
	var all []finding
	for i := range pass.Tables {
		t := &pass.Tables[i]
		for j := range t.Rows {
			div := &t.Rows[j]
			var key []string
			for _, k := range div.Key {
				key = append(key, k.Column+"="+text.Value(k.Value, 0))
			}
			if len(key) == 0 {
				key = []string{"row hash " + div.RowHash}
			}
			all = append(all, finding{text.Name(t.Name), div.Kind.String(), strings.Join(key, " "), strings.Join(div.Columns, ", ")})
		}
	}
	for i := range pass.References {
		r := &pass.References[i]
		for _, o := range r.Sample[relation.Target] {
			var refers []string
			for _, v := range o.Refers {
				refers = append(refers, v.Column+"="+text.Value(v.Value, 0))
			}
			all = append(all, finding{text.Name(r.ForeignKey[relation.Target].Table), "orphan", strings.Join(refers, " "), ""})
		}
	}
	for i := range pass.Schema {
		s := &pass.Schema[i]
		all = append(all, finding{text.Name(s.Table), s.Kind, s.Object, ""})
	}
	for i := range pass.Sequences {
		if s := &pass.Sequences[i]; s.Verdict != parity.Match {
			all = append(all, finding{text.Name(s.Name), "behind", "", ""})
		}
	}
	return all
}

func sameFindings(a, b []finding) bool {
	compare := func(x, y finding) int { return strings.Compare(x.kind+x.String(), y.kind+y.String()) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return slices.Equal(a, b)
}

// compareFound prints a line for each thing that was planted or found.
func (d *demo) compareFound(found []finding) {
	const kindWidth = len("mismatched")
	planted := plantedFindings()
	width := len("planted")
	for _, r := range planted {
		width = max(width, text.Width(r.String()))
	}
	line := func(kind, left, right string) {
		d.say("   %s  %s  %s", text.PadRight(kind, kindWidth), text.PadRight(left, width), right)
	}
	line("", "planted", "found")
	for _, r := range planted {
		if i := slices.Index(found, r); i >= 0 {
			line(r.kind, r.String(), d.colour.Green("the same"))
			found = slices.Delete(slices.Clone(found), i, i+1)
		} else {
			line(r.kind, r.String(), d.colour.Red("not found"))
		}
	}
	for _, r := range found {
		line(r.kind, "-", d.colour.Red(r.String()))
	}
}
