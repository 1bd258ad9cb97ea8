// Command passprofile runs one pass as `verifierd verify --output json` does,
// and profiles it. It takes the flags of verify that the benchmark uses, so
// that `go run ./bench -bin` can measure it, too:
//
//	go run ./bench -only 'verify, narrow' -repeat 1 -keep
//	go run ./bench/passprofile -cpuprofile cpu.out verify --source … --target … --table public.t
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/report"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "passprofile: %v\n", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	profiles := flag.NewFlagSet("passprofile", flag.ExitOnError)
	cpuFile := profiles.String("cpuprofile", "", "write a CPU profile to this `file`")
	memFile := profiles.String("memprofile", "", "write a profile of allocations to this `file`")
	_ = profiles.Parse(args)
	args = profiles.Args()
	if len(args) > 0 && args[0] == "verify" {
		args = args[1:]
	}
	o, err := verifyOptions(args)
	if err != nil {
		return 2, err
	}
	if *cpuFile != "" {
		f, err := os.Create(*cpuFile)
		if err != nil {
			return 2, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return 2, err
		}
		defer pprof.StopCPUProfile()
	}
	pass := daemon.Verify(ctx, o)
	if *memFile != "" {
		f, err := os.Create(*memFile)
		if err != nil {
			return 2, err
		}
		defer f.Close()
		runtime.GC()
		if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
			return 2, err
		}
	}
	return report.ExitCode(pass.Verdict), report.Write(os.Stdout, report.JSON, pass, report.Options{})
}

func verifyOptions(args []string) (daemon.Options, error) {
	o := daemon.Options{MaxDivergences: 100}
	flags := flag.NewFlagSet("verify", flag.ExitOnError)
	flags.StringVar(&o.DSN[0], "source", "", "source `DSN`")
	flags.StringVar(&o.DSN[1], "target", "", "target `DSN`")
	table := flags.String("table", "", "`schema.table`")
	flags.IntVar(&o.Workers, "workers", 0, "connections a side")
	read := flags.String("read", "fast", "fast or gentle")
	flags.DurationVar(&o.Recheck, "recheck", 10*time.Second, "how long the target may take to catch up")
	flags.String("output", "json", "only json")
	_ = flags.Parse(args)
	o.Read = snapshot.ReadMode(*read)
	pattern, err := relation.ParsePattern(*table)
	o.Tables = []relation.Pattern{pattern}
	return o, err
}
