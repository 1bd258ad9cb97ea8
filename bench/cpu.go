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

// settleTime lets a server notice that its sessions have ended: only then are
// their times added to its own.
const settleTime = 50 * time.Millisecond

// serversCPU is what ended sessions of both servers have taken, 0 if unknown.
func (p *pair) serversCPU() time.Duration {
	time.Sleep(settleTime)
	var total time.Duration
	for _, s := range p.server {
		pid, err := os.ReadFile(filepath.Join(s.DataDir, "postmaster.pid"))
		if err != nil {
			return 0
		}
		first, _, _ := strings.Cut(string(pid), "\n")
		stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(first), "stat"))
		if err != nil {
			return 0
		}
		total += childTime(string(stat))
	}
	return total
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
