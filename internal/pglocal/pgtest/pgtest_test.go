package pgtest

import (
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestMajorsRun(t *testing.T) {
	for _, major := range Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			dsn := Database(t, Server(t, major))
			rows := Query(t, dsn, "SELECT current_setting('server_version_num')::int / 10000, current_database(), NULL")
			if rows[0][0] != strconv.Itoa(major) || !strings.Contains(rows[0][1], "testmajorsrun") || rows[0][2] != "NULL" {
				t.Errorf("server %d says %q", major, rows[0])
			}
		})
	}
}
