package snapshot

import (
	"fmt"
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

func TestLocksNeeded(t *testing.T) {
	// shape makes tables of so many members with so many indexes each.
	shape := func(tables, members int, indexes int64) map[relation.Name][]lockTarget {
		targets := make(map[relation.Name][]lockTarget)
		oid := uint32(1)
		for i := range tables {
			name := relation.Name{Schema: "s", Name: fmt.Sprint(i)}
			for range members {
				targets[name] = append(targets[name], lockTarget{oid: oid, indexes: indexes})
				oid++
			}
		}
		return targets
	}
	twice := shape(1, 10, 1)
	twice[relation.Name{Schema: "s", Name: "part"}] = twice[relation.Name{Schema: "s", Name: "0"}][:1]
	for _, test := range []struct {
		name    string
		targets map[relation.Name][]lockTarget
		workers int
		want    int64
	}{
		{"nothing", nil, 4, 0},
		{"one table, one worker: as many holders of a table as fit", shape(1, 1, 0), 1, 1},
		{"objects bound", shape(10, 1, 3), 1, 40},
		{"holders bound", shape(10, 1, 3), 4, 85}, // (10×5 + 30×4) / 2
		{"holders are rounded up", shape(1, 1, 1), 2, 3},
		{"an ordinary database", shape(160, 1, 3), 4, 1360},
		{"many partitions", shape(1, 5000, 2), 4, 32500},
		{"a member of two tables is locked once", twice, 1, 20},
	} {
		if got := locksNeeded(test.targets, test.workers); got != test.want {
			t.Errorf("%s: %d locks, want %d", test.name, got, test.want)
		}
	}
}
