package report

import (
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// planDocument is the JSON form of a plan.
type planDocument struct {
	APIVersion  string           `json:"api_version"`
	ToolVersion string           `json:"tool_version,omitempty"`
	Source      planSide         `json:"source"`
	Target      planSide         `json:"target"`
	Tables      []planTable      `json:"tables"`
	Schema      []documentSchema `json:"schema"`
	ForeignKeys []planReference  `json:"foreign_keys"`     // to check for orphans
	Expected    *float64         `json:"expected_seconds"` // null: unknown
	Unknown     string           `json:"expected_unknown_reason,omitempty"`
	Guessed     bool             `json:"expected_is_a_guess"`
	Problems    []string         `json:"problems"`
	Notes       []string         `json:"notes"`
	Skipped     []string         `json:"skipped"`
}

type planSide struct {
	documentSide
	Rows           *int64   `json:"estimated_rows"` // null: unknown
	Bytes          int64    `json:"bytes"`
	LocksNeeded    int64    `json:"locks_needed"`
	LocksAvailable int64    `json:"locks_available"`
	BytesPerSecond *float64 `json:"sampled_bytes_per_second"` // null: nothing could be sampled
	RowsPerSecond  *float64 `json:"sampled_rows_per_second"`
}

type planTable struct {
	Table       string        `json:"table"`
	TargetTable string        `json:"target_table"`
	Kind        string        `json:"kind"`
	Key         []string      `json:"key"`
	Leaves      int           `json:"leaves"`
	Compare     string        `json:"compare"`
	Source      planTableSide `json:"source"`
	Target      planTableSide `json:"target"`
	Problems    []string      `json:"problems"`
	Notes       []string      `json:"notes"`
	Unverified  []string      `json:"unverified"` // what the policy leaves out
}

type planTableSide struct {
	Members int    `json:"members"`
	Rows    *int64 `json:"estimated_rows"`
	Guessed bool   `json:"rows_are_a_guess"` // from bytes: never analyzed
	Bytes   int64  `json:"bytes"`
	Chunks  int    `json:"chunks"`
	Reading string `json:"reading"`
}

func newPlanDocument(p *parity.Plan, opts Options) *planDocument {
	d := &planDocument{
		APIVersion:  apiVersion,
		ToolVersion: opts.ToolVersion,
		Source:      newPlanSide(p, relation.Source),
		Target:      newPlanSide(p, relation.Target),
		Tables:      make([]planTable, len(p.Tables)),
		Problems:    list(p.Problems),
		Notes:       list(p.Notes),
		Skipped:     list(p.Skipped),
		Guessed:     p.Guessed,
		Unknown:     p.Unknown,
		Schema:      make([]documentSchema, len(p.Schema)),
		ForeignKeys: newPlanReferences(p),
	}
	for i := range p.Schema {
		d.Schema[i] = newSchema(&p.Schema[i])
	}
	if p.Expected > 0 {
		s := seconds(p.Expected)
		d.Expected = &s
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		d.Tables[i] = planTable{
			t.Name.String(), t.TargetName.String(), t.Kind.String(), list(t.Key), t.Leaves, t.Compare,
			newPlanTableSide(t.Side[relation.Source]), newPlanTableSide(t.Side[relation.Target]),
			list(t.Problems), list(t.Notes), list(t.Unverified),
		}
	}
	return d
}

func newPlanSide(p *parity.Plan, side relation.Side) planSide {
	rows, bytes := plannedTotals(p)
	s := planSide{
		documentSide:   newSide(p.Server[side]),
		Rows:           known(rows[side]),
		Bytes:          bytes[side],
		LocksNeeded:    p.Locks[side].Needed,
		LocksAvailable: p.Locks[side].Available,
	}
	if r := p.Sample[side]; r.BytesPerSecond > 0 {
		s.BytesPerSecond, s.RowsPerSecond = &r.BytesPerSecond, &r.RowsPerSecond
	}
	return s
}

func newPlanTableSide(s parity.PlannedSide) planTableSide {
	return planTableSide{s.Members, known(s.Rows), s.Guessed, s.Bytes, s.Chunks, s.Reading}
}
