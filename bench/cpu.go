package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat on every Linux there is.
const clockTick = time.Second / 100

// settleTimeout is how long sessions that have ended may take to be gone: only
// then are their times added to their server's.
const settleTimeout = 5 * time.Second

// serversCPU is what ended sessions of both servers have taken, 0 if unknown.
// It waits for those that are about to end.
func (p *pair) serversCPU() time.Duration {
	var total time.Duration
	for side, s := range p.server {
		file, err := os.ReadFile(filepath.Join(s.DataDir, "postmaster.pid"))
		if err != nil {
			return 0
		}
		pid, _, _ := strings.Cut(string(file), "\n")
		p.settle(side, pid)
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			return 0
		}
		total += childTime(string(stat))
	}
	return total
}

// settle waits until a server has no more processes than at the first call,
// before anything was measured.
func (p *pair) settle(side int, pid string) {
	if p.idle[side] == 0 {
		time.Sleep(time.Second) // the sessions that loaded it
		p.idle[side] = children(pid)
	}
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		if children(pid) <= p.idle[side] {
			return
		}
	}
}

// children is the number of a process's children, 0 if unknown.
func children(pid string) int {
	list, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil {
		return 0
	}
	return len(strings.Fields(string(list)))
}

// childTime reads the times of ended children out of /proc/PID/stat.
func childTime(stat string) time.Duration {
	// The name, in brackets, may hold anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const user, system = 13, 14 // cutime, cstime; the state is the first
	if len(fields) <= system {
		return 0
	}
	var ticks int64
	for _, f := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
