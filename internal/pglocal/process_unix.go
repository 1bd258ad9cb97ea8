//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package pglocal

import (
	"errors"
	"os"
	"syscall"
)

const (
	sigFast      = syscall.SIGINT  // fast shutdown of a postmaster
	sigImmediate = syscall.SIGQUIT // immediate shutdown of a postmaster
	sigKill      = syscall.SIGKILL
	sigStop      = syscall.SIGSTOP
	sigContinue  = syscall.SIGCONT
)

func (a account) processAttributes() *syscall.SysProcAttr {
	attr := new(syscall.SysProcAttr)
	if a.other() {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// serverAttributes are for initdb and postgres: unlike other children they
// have a process group of their own, which keeps a terminal's Ctrl-C from
// them until we decide, and end with us where the system can do that.
func (a account) serverAttributes() *syscall.SysProcAttr {
	attr := a.processAttributes()
	attr.Setpgid = true
	endWithParent(attr)
	return attr
}

// signal sends a signal to a process. That it is gone is not an error.
func signal(pid int, sig syscall.Signal) error {
	err := syscall.Kill(pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return os.NewSyscallError("kill", err)
}

// tryLock takes the exclusive lock on a file, which ends with the process at
// the latest. It reports whether it got it.
func tryLock(f *os.File) (held bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, os.NewSyscallError("flock", err)
		}
	}
}
