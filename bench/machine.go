package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says in a paragraph what the figures were measured on.
func machine(p *pair, load float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d cores", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if model := cpuModel(); model != "" {
		fmt.Fprintf(&b, " (%s)", model)
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		fmt.Fprintf(&b, ", %.0f GB of memory", float64(firstNumber(string(info), "MemTotal:"))/(1<<20))
	}
	fmt.Fprintf(&b, ", %s, PostgreSQL %s on both sides, on this machine, too.\n", runtime.Version(), p.server[source].Version)
	if load > 0.3*float64(runtime.NumCPU()) {
		fmt.Fprintf(&b, "Other programs were busy (load average %.1f before it began): take the ratios with care.\n", load)
	}
	return b.String()
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is that of the last minute, 0 if unknown.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

// firstNumber returns the number after a label, 0 if there is none.
func firstNumber(text, label string) int64 {
	_, rest, ok := strings.Cut(text, label)
	if !ok {
		return 0
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
