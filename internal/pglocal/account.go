package pglocal

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
)

// account is who runs the servers. The zero value is ourselves.
type account struct {
	name     string
	uid, gid int
}

// serverAccount returns ourselves, or an unprivileged account if we are root.
var serverAccount = sync.OnceValues(func() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return account{}, fmt.Errorf("look up account %s: %w", name, err)
		}
		return account{name: name, uid: uid, gid: gid}, nil
	}
	return account{}, errors.New("find an account to run PostgreSQL: it refuses to run as root, " +
		"and there is neither an account postgres nor nobody; create one, or do not run as root")
})

// other reports whether a is somebody else than ourselves.
func (a account) other() bool { return a.name != "" }

// suffix names the account in a message if it is not ourselves.
func (a account) suffix() string {
	if !a.other() {
		return ""
	}
	return " as " + a.name
}

// own gives a file or directory to the account.
func (a account) own(path string) error {
	if !a.other() {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// reaches reports whether the account may enter dir. Where it is somebody
// else, only the permissions for everybody count.
func (a account) reaches(dir string) bool {
	if !a.other() {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
