package relation

// Physical is what checks of a table's files and indexes found.
type Physical struct {
	Corrupt []Corruption
	// Gaps say what was not checked, and what would help.
	Gaps []string
	// Notes say what cannot be checked on this version.
	Notes []string
}

// Corruption is damage to a table or an index.
type Corruption struct {
	Object  string // "index public.t_pkey"
	Problem string // in the server's words, without values of rows
}

// InvalidIndex is an index that the server does not use to find rows, or does
// not keep up to date.
type InvalidIndex struct {
	Table, Index Name
	Ready        bool // it is kept up to date
}
