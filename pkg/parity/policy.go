package parity

// Policy says how one table is compared where the defaults do not serve.
// Columns go by their names on the source, those that only the target has by
// their names there. What it leaves unverified is part of the table's outcome.
type Policy struct {
	// Columns maps columns of the source to their names on the target.
	Columns map[string]string
	// Exclude lists the columns that are not compared.
	Exclude []string
	// Value lists the columns compared by value rather than strictly: numeric
	// without its scale, bpchar without its padding, −0 as 0, and numbers in
	// jsonb without theirs.
	Value []string
	// Cast gives, for each side, the SQL expression sent in place of a column;
	// "" is the column itself.
	Cast map[string][2]string
	// Where gives, for each side, the SQL condition that a row must fulfil to
	// be compared; "" is every row.
	Where [2]string
	// Key names the columns that identify a row; none: a key of the tables.
	Key []string
}
