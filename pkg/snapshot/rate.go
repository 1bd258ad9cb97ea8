package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// errEnough ends a sample.
var errEnough = errors.New("enough rows were read")

// Rate reads a part of the table on one connection for at most so long and
// says how fast rows arrived. It reads no table wholly: it stops at half of it.
func (s *Snapshot) Rate(ctx context.Context, t *relation.Table, form *relation.Form, atMost time.Duration) (relation.Rate, error) {
	chunks, err := s.Chunks(ctx, t)
	if err != nil || len(chunks) == 0 {
		return relation.Rate{}, err
	}
	c := &chunks[0]
	for i := range chunks {
		if chunks[i].Member.Bytes > c.Member.Bytes {
			c = &chunks[i]
		}
	}
	var rows, bytes int64
	var began time.Time
	err = s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
		began = time.Now()
		return sess.copy(ctx, s.selectFrom(form, form.Select(s.side), c.Member, c.Predicate()), c.Member.Bytes, rowhash.NewStream(func(tuple []byte) error {
			rows++
			bytes += int64(len(tuple))
			if rows%64 == 0 && (time.Since(began) > atMost || bytes > t.Bytes()/2) {
				return errEnough
			}
			return nil
		}))
	})
	if err != nil && !errors.Is(err, errEnough) {
		return relation.Rate{}, err
	}
	took := time.Since(began).Seconds()
	return relation.Rate{BytesPerSecond: float64(bytes) / took, RowsPerSecond: float64(rows) / took}, nil
}
