package main

import (
	"context"
	"errors"
)

// plan says what a pass would read.
func (p *program) plan(context.Context, *verifyJob, *output) (int, error) {
	return exitTrouble, errors.New("verify: --plan is not available yet")
}
