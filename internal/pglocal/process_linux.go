package pglocal

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// endWithParent has the kernel shut the child down when we end, however we
// end. The data is worth nothing, so an immediate shutdown will do.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = sigImmediate }

// spawner starts all children from one thread that lives as long as the
// process: to the kernel the parent whose death counts is a thread, and the Go
// runtime ends threads at will. Nobody waits for this goroutine, as it must
// not end.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startChild starts cmd such that endWithParent holds.
func startChild(cmd *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

// children returns the child processes of a process.
func children(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		if _, parent, ok := processStat(child); ok && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// alive reports whether a process still does anything; a zombie does not.
func alive(pid int) bool {
	state, _, ok := processStat(pid)
	return ok && state != 'Z' && state != 'X'
}

func processStat(pid int) (state byte, parent int, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// pid (comm) state ppid …; comm may hold blanks and parentheses.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}
