package pglocal_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// envOwner makes the test binary a process that starts a server, and stops it
// at the end of its standard input; the value "pause" has it pause the server.
const envOwner = "VERIFIERD_TEST_OWNER"

type ownedServer struct {
	Dir  string
	Port int
}

// ownServer is the main function of the process that owns a server.
func ownServer() {
	srv, err := pglocal.Start(context.Background(), pglocal.Options{Major: pgtest.Majors()[0]})
	if err == nil && os.Getenv(envOwner) == "pause" {
		err = srv.Pause()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(ownedServer{filepath.Dir(srv.DataDir), srv.Port})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := srv.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startOwner starts a process that owns a server.
func startOwner(t *testing.T, mode, tmp string) (*exec.Cmd, ownedServer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envOwner+"="+mode, "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var srv ownedServer
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&srv); err != nil {
		t.Fatalf("the owner started no server: %v", err)
	}
	return cmd, srv
}

func TestKilledOwner(t *testing.T) {
	for _, mode := range []string{"run", "pause"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tmp := reachableTempDir(t)
			owner, srv := startOwner(t, mode, tmp)
			bystander, other := startOwner(t, "run", tmp)
			if err := owner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			owner.Wait()
			// Elsewhere than on Linux only the next start ends the server.
			if runtime.GOOS == "linux" {
				waitClosed(t, srv.Port)
			}

			// The next start removes what the killed owner left, and only that.
			startOwner(t, "run", tmp)
			if _, err := os.Stat(srv.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory of the killed owner's server is still there (%v)", err)
			}
			if _, err := os.Stat(filepath.Join(other.Dir, "data", "PG_VERSION")); err != nil {
				t.Errorf("the data of a server whose owner (process %d) lives is gone: %v", bystander.Process.Pid, err)
			}
		})
	}
}

// waitClosed waits until nobody listens on the port.
func waitClosed(t *testing.T, port int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a server still listens on port %d after its owner was killed", port)
}

// reachableTempDir returns a temporary directory that the account which runs
// the servers can enter, unlike that of t.TempDir if we are root.
func reachableTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pglocal-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}
