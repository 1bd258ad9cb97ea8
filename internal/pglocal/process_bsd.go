//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package pglocal

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"syscall"
)

// endWithParent cannot be had here. A server whose owner was killed ends when
// the next start of any server sweeps its directory away.
func endWithParent(*syscall.SysProcAttr) {}

func startChild(cmd *exec.Cmd) error { return cmd.Start() }

// children returns the child processes of a process.
func children(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var child, parent int
		if _, err := fmt.Sscan(lines.Text(), &child, &parent); err == nil && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// alive reports whether a process exists.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
