package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/report"
)

// plan says what a pass would read. It succeeds if nothing would keep such a
// pass from being complete.
func (p *program) plan(ctx context.Context, job *verifyJob, out *output) (int, error) {
	for _, warning := range job.warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	plan, err := daemon.Plan(ctx, job.options)
	if ctx.Err() != nil {
		return exitTrouble, errors.New("verify --plan: interrupted")
	}
	if err != nil {
		return exitTrouble, fmt.Errorf("verify --plan: %w", err)
	}
	err = out.write(func(w io.Writer) error { return report.WritePlan(w, job.format, plan, p.reportOptions(job, out)) })
	if err != nil {
		return exitTrouble, fmt.Errorf("verify --plan: %w", err)
	}
	problems := len(plan.Problems)
	for i := range plan.Tables {
		problems += len(plan.Tables[i].Problems)
	}
	if problems > 0 || len(plan.Tables) == 0 {
		return exitTrouble, nil
	}
	return exitDone, nil
}
