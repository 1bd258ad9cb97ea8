package report

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Stream writes a pass as NDJSON while it runs: one JSON object a line, each
// with "event" and "at". Every divergence is in it, without a cap. It is safe
// for use by many goroutines; a line is written as a whole.
type Stream struct {
	parity.NoObserver
	opts   Options
	values parity.ValuePolicy
	now    func() time.Time

	mu       sync.Mutex // guards what follows
	w        io.Writer
	line     bytes.Buffer
	err      error // the first; nothing is written after it
	finished map[relation.Name]bool
	checked  map[string]bool // foreign keys
	differs  map[parity.SchemaDifference]bool
}

// NewStream returns a stream that writes to w.
func NewStream(w io.Writer, opts Options) *Stream {
	return &Stream{
		opts:     opts,
		values:   policy(opts),
		now:      time.Now,
		w:        w,
		finished: make(map[relation.Name]bool),
		checked:  make(map[string]bool),
		differs:  make(map[parity.SchemaDifference]bool),
	}
}

var _ parity.Observer = (*Stream)(nil)

type event struct {
	Event string    `json:"event"`
	At    timestamp `json:"at"`
}

type passStarted struct {
	event
	APIVersion    string       `json:"api_version"`
	ToolVersion   string       `json:"tool_version,omitempty"`
	StartedAt     timestamp    `json:"started_at"`
	Source        documentSide `json:"source"`
	Target        documentSide `json:"target"`
	Tables        int          `json:"tables"`
	EstimatedRows *int64       `json:"estimated_rows"`
	Bytes         *int64       `json:"bytes"`
}

type tableStarted struct {
	event
	Table      string `json:"table"`
	SourceRows *int64 `json:"estimated_source_rows"`
	TargetRows *int64 `json:"estimated_target_rows"`
}

type divergenceFound struct {
	event
	Table string `json:"table"`
	documentRow
}

type schemaDiffers struct {
	event
	documentSchema
}

type tableFinished struct {
	event
	documentTable
}

type referenceFinished struct {
	event
	documentReference
}

// passFinished is the report without its tables and differences, which have
// had their own lines.
type passFinished struct {
	event
	documentHead
	documentTail
}

// PassStarted writes a pass_started line.
func (s *Stream) PassStarted(info parity.PassStart) {
	s.write(passStarted{
		event:         s.event("pass_started"),
		APIVersion:    apiVersion,
		ToolVersion:   s.opts.ToolVersion,
		StartedAt:     timestamp(info.StartedAt),
		Source:        newSide(info.Server[relation.Source]),
		Target:        newSide(info.Server[relation.Target]),
		Tables:        info.Tables,
		EstimatedRows: known(info.Rows),
		Bytes:         known(info.Bytes),
	})
}

// TableStarted writes a table_started line.
func (s *Stream) TableStarted(t parity.TableStart) {
	s.write(tableStarted{
		s.event("table_started"), t.Name.String(),
		known(t.Rows[relation.Source]), known(t.Rows[relation.Target]),
	})
}

// Diverged writes a divergence line.
func (s *Stream) Diverged(table relation.Name, d *parity.Divergence) {
	s.write(divergenceFound{s.event("divergence"), table.String(), newRow(d, s.values)})
}

// SchemaDiffers writes a schema line.
func (s *Stream) SchemaDiffers(d *parity.SchemaDifference) {
	s.mu.Lock()
	s.differs[*d] = true
	s.mu.Unlock()
	s.write(schemaDiffers{s.event("schema"), newSchema(d)})
}

// TableFinished writes a table_finished line; the rows have had their own.
func (s *Stream) TableFinished(t *parity.Table) {
	s.mu.Lock()
	s.finished[t.Name] = true
	s.mu.Unlock()
	s.write(tableFinished{s.event("table_finished"), newTableHead(t, s.values)})
}

// ReferenceFinished writes a foreign_key line.
func (s *Stream) ReferenceFinished(r *parity.ReferenceCheck) {
	s.mu.Lock()
	s.checked[referenceID(r)] = true
	s.mu.Unlock()
	s.write(referenceFinished{s.event("foreign_key"), newReference(r)})
}

func referenceID(r *parity.ReferenceCheck) string {
	return r.ForeignKey[relation.Source].String() + " " + r.ForeignKey[relation.Target].String()
}

func (s *Stream) toldChecked(r *parity.ReferenceCheck) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checked[referenceID(r)]
}

// Finish writes what the pass holds and the stream was not told, then the
// pass_finished line with the verdict and the summary, and returns the first
// error of any write. A stream without a pass_finished line was cut off.
func (s *Stream) Finish(pass *parity.Pass) error {
	if pass == nil {
		return errors.Join(errNoPass, s.firstError())
	}
	for i := range pass.Schema {
		if !s.toldOf(&pass.Schema[i]) {
			s.SchemaDiffers(&pass.Schema[i])
		}
	}
	for i := range pass.Tables {
		if !s.toldFinished(pass.Tables[i].Name) {
			s.TableFinished(&pass.Tables[i])
		}
	}
	for i := range pass.References {
		if !s.toldChecked(&pass.References[i]) {
			s.ReferenceFinished(&pass.References[i])
		}
	}
	s.write(passFinished{s.event("pass_finished"), newHead(pass, s.opts), newTail(pass, s.values)})
	return s.firstError()
}

func (s *Stream) toldOf(d *parity.SchemaDifference) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.differs[*d]
}

func (s *Stream) toldFinished(n relation.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished[n]
}

func (s *Stream) firstError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Stream) event(name string) event { return event{name, timestamp(s.now())} }

func (s *Stream) write(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.line.Reset()
	if s.err = encode(&s.line, v); s.err != nil {
		return
	}
	s.line.WriteByte('\n')
	_, s.err = s.w.Write(s.line.Bytes())
}

// known returns nil for an estimate that there is not.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// writeEvents writes a finished pass as the events that it would have been
// streamed as, with the rows that the pass holds.
func writeEvents(w io.Writer, pass *parity.Pass, opts Options) error {
	s := NewStream(w, opts)
	s.now = func() time.Time { return pass.FinishedAt }
	start := parity.PassStart{
		StartedAt: pass.StartedAt, Server: pass.Server, Tables: len(pass.Tables), Rows: -1, Bytes: -1,
	}
	s.PassStarted(start)
	for i := range pass.Schema {
		s.SchemaDiffers(&pass.Schema[i])
	}
	for i := range pass.Tables {
		t := &pass.Tables[i]
		for j := range t.Rows {
			s.Diverged(t.Name, &t.Rows[j])
		}
		s.TableFinished(t)
	}
	return s.Finish(pass)
}
