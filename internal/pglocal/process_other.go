//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package pglocal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// This file lets programs that import the package build everywhere. Starting
// a server fails at its first step, tryLock.

const (
	sigFast syscall.Signal = iota
	sigImmediate
	sigKill
	sigStop
	sigContinue
)

var errPlatform = fmt.Errorf("local PostgreSQL servers on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func (account) processAttributes() *syscall.SysProcAttr { return nil }
func (account) serverAttributes() *syscall.SysProcAttr  { return nil }
func signal(int, syscall.Signal) error                  { return errPlatform }
func tryLock(*os.File) (bool, error)                    { return false, errPlatform }
func startChild(*exec.Cmd) error                        { return errPlatform }
func children(int) ([]int, error)                       { return nil, errPlatform }
func alive(int) bool                                    { return false }
