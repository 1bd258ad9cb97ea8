package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// writeTable renders a pass for a terminal, whose last lines are seen first:
// tables in trouble come last among the tables, and the verdict last of all.
func writeTable(w io.Writer, p *parity.Pass, opts Options) error {
	t := &terminal{colour: text.Palette(opts.Colour), width: opts.Width}
	if !reached(p) {
		t.conclusion(p) // all else would say that there is nothing
		_, err := w.Write(t.Bytes())
		return err
	}
	t.servers(p.Server)
	t.tables(p, policy(opts))
	t.schema(p.Schema)
	t.sequences(p.Sequences)
	t.corruption(p.Corruption)
	t.references(p, policy(opts))
	t.sentences("Skipped", p.Skipped)
	t.sentences("Notes", p.Notes)
	t.sentences("Warnings", p.Warnings)
	t.notChecked(p.NotChecked)
	t.verdict(p)
	_, err := w.Write(t.Bytes())
	return err
}

// reached reports whether a pass got as far as its databases.
func reached(p *parity.Pass) bool {
	return p.Server != [2]parity.SideInfo{} || len(p.Tables) > 0
}

// terminal collects lines for a terminal.
type terminal struct {
	bytes.Buffer
	colour text.Palette
	width  int // 0: do not wrap
}

func (t *terminal) line(s string) {
	t.WriteString(strings.TrimRight(s, " "))
	t.WriteByte('\n')
}

// paragraph wraps a sentence; lines after the first are indented like it.
func (t *terminal) paragraph(first string, sentence string) {
	indent := text.Width(first)
	width := 0
	if t.width > 0 {
		width = max(20, t.width-indent)
	}
	for i, l := range text.Wrap(sentence, width) {
		if i == 0 {
			t.line(first + l)
			continue
		}
		t.line(strings.Repeat(" ", indent) + l)
	}
}

func (t *terminal) heading(s string) {
	t.line("")
	t.line(t.colour.Bold(s))
}

func (t *terminal) servers(info [2]parity.SideInfo) {
	t.paragraph("Source  ", server(info[relation.Source]))
	t.paragraph("Target  ", server(info[relation.Target]))
}

// cell is one field of a line in columns.
type cell struct {
	text   string
	right  bool
	colour func(string) string
}

// tables writes a line for each table, what there is to say of it beneath. In
// a narrow terminal the times go first.
func (t *terminal) tables(p *parity.Pass, values parity.ValuePolicy) {
	tables := p.Tables
	if len(tables) == 0 {
		return
	}
	order := make([]*parity.Table, len(tables))
	for i := range tables {
		order[i] = &tables[i]
	}
	slices.SortStableFunc(order, func(a, b *parity.Table) int { return cmp.Compare(rank(a.Verdict), rank(b.Verdict)) })

	lines := [][]cell{tablesHeading(p.ByLeaves(), t.colour)}
	for _, table := range order {
		lines = append(lines, tableCells(table, p.ByLeaves(), t.colour))
	}
	const nameWidth = 24
	timeColumn := len(lines[0]) - 2
	numbers := columnsWidth(lines) - columnWidths(lines)[0]
	if t.width > 0 && numbers+min(nameWidth, columnWidths(lines)[0]) > t.width {
		for i := range lines {
			lines[i] = slices.Delete(lines[i], timeColumn, timeColumn+1)
		}
	}
	t.line("")
	t.columns(lines, func(i int) {
		if i > 0 {
			t.details(order[i-1], values)
		}
	})
}

func tablesHeading(byLeaves bool, c text.Palette) []cell {
	var cells []cell
	names := []string{"TABLE", "SOURCE ROWS", "TARGET ROWS", "MISSING", "EXTRA", "MISMATCHED", "TIME", "VERDICT"}
	if byLeaves {
		names = []string{"TABLE", "SOURCE ROWS", "TARGET ROWS", "LEAVES", "DIVERGENT", "TIME", "VERDICT"}
	}
	for i, s := range names {
		cells = append(cells, cell{s, i > 0 && i < len(names)-1, c.Dim})
	}
	return cells
}

func tableCells(table *parity.Table, byLeaves bool, c text.Palette) []cell {
	d := &table.Divergences
	number := func(n int64) cell {
		colour := c.Dim
		if n > 0 {
			colour = c.Red
		}
		return cell{count(n, counted(table)), true, colour}
	}
	cells := []cell{
		{tableName(table.Name, table.TargetName), false, plain},
		{rowsRead(table.Side[relation.Source]), true, plain},
		{rowsRead(table.Side[relation.Target]), true, plain},
	}
	if byLeaves {
		cells = append(cells, cell{text.Count(int64(table.Leaves.Total)), true, c.Dim}, number(int64(table.Leaves.Divergent)))
	} else {
		cells = append(cells, number(d.Missing), number(d.Extra), number(d.Mismatched))
	}
	return append(
		cells,
		cell{text.Duration(table.Duration), true, c.Dim},
		cell{tableVerdict(table), false, verdictColour(table.Verdict, c)},
	)
}

func plain(s string) string { return s }

func verdictColour(v parity.Verdict, c text.Palette) func(string) string {
	switch v {
	case parity.Match:
		return c.Green
	case parity.Diverged:
		return c.Red
	}
	return c.Yellow
}

const gap = "  "

func columnsWidth(lines [][]cell) int {
	total := 0
	for _, w := range columnWidths(lines) {
		total += w + len(gap)
	}
	return total - len(gap)
}

func columnWidths(lines [][]cell) []int {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], text.Width(c.text))
		}
	}
	return widths
}

// columns writes lines with their cells aligned and calls after each. A first
// cell too wide for the terminal has a line of its own, so that one long name
// does not push all the numbers off the screen.
func (t *terminal) columns(lines [][]cell, after func(i int)) {
	widths := columnWidths(lines)
	if t.width > 0 {
		rest := columnsWidth(lines) - widths[0]
		widths[0] = min(widths[0], max(16, t.width-rest))
	}
	for i, l := range lines {
		var b strings.Builder
		for j, c := range l {
			pad := strings.Repeat(" ", max(0, widths[j]-text.Width(c.text)))
			switch {
			case j == 0 && text.Width(c.text) > widths[0]:
				t.line(c.colour(c.text))
				b.WriteString(strings.Repeat(" ", widths[0]))
			case c.right:
				b.WriteString(gap + pad + c.colour(c.text))
			case j == 0:
				b.WriteString(c.colour(c.text) + pad)
			default:
				b.WriteString(gap + c.colour(c.text) + pad)
			}
		}
		t.line(b.String())
		if after != nil {
			after(i)
		}
	}
}

// details writes what there is to say of a table beneath its line.
func (t *terminal) details(table *parity.Table, values parity.ValuePolicy) {
	const indent = "    "
	if table.Verdict != parity.Match || !table.Complete {
		t.paragraph(indent, text.Prose(table.Reason))
	}
	rows := tableRows(table, values)
	kindWidth, keyWidth := 0, 0
	for _, r := range rows {
		kindWidth = max(kindWidth, text.Width(r.Kind))
		if r.Columns != "" {
			keyWidth = max(keyWidth, min(40, text.Width(r.Key)))
		}
	}
	for _, r := range rows {
		t.row(r, indent, kindWidth, keyWidth)
	}
	if s := more(table); s != "" {
		t.line(indent + s)
	}
	for _, s := range asides(table) {
		t.paragraph(indent, s)
	}
}

func (t *terminal) row(r row, indent string, kindWidth, keyWidth int) {
	line := indent + t.colour.Red(r.Kind) + strings.Repeat(" ", kindWidth-text.Width(r.Kind)) + gap
	if r.Key != "" {
		line += text.PadRight(r.Key, keyWidth) + gap
	}
	if r.Columns != "" && len(r.Changed) == 0 {
		line += "in " + r.Columns + gap
	}
	if r.Key == "" {
		line += "× " + text.Count(r.Same)
	}
	t.line(line)
	under := indent + strings.Repeat(" ", kindWidth) + gap
	t.values(under, r.Values)
	for _, c := range r.Changed {
		t.change(under, c)
	}
}

// values writes a row's values on one line where they fit, else one beneath
// the other: a value is never broken.
func (t *terminal) values(indent string, values []string) {
	one := indent + strings.Join(values, ", ")
	if len(values) == 0 {
		return
	}
	if t.width <= 0 || text.Width(one) <= t.width {
		t.line(one)
		return
	}
	for _, v := range values {
		t.line(indent + v)
	}
}

// change writes both values of a column: beside each other where they fit,
// else one above the other.
func (t *terminal) change(indent string, c change) {
	line := indent + c.Column + ": source " + c.Source + ", target " + c.Target
	if t.width <= 0 || text.Width(line) <= t.width {
		t.line(line)
		return
	}
	t.line(indent + c.Column + ":")
	t.line(indent + "  source " + c.Source)
	t.line(indent + "  target " + c.Target)
}

func (t *terminal) schema(differences []parity.SchemaDifference) {
	if len(differences) == 0 {
		return
	}
	t.heading("Schema differences")
	sorted := slices.Clone(differences)
	slices.SortStableFunc(sorted, func(a, b parity.SchemaDifference) int {
		return cmp.Compare(severityRank(a.Severity), severityRank(b.Severity))
	})
	var lines [][]cell
	for _, d := range sorted {
		colour := t.colour.Dim
		switch d.Severity {
		case parity.Breaks:
			colour = t.colour.Red
		case parity.Drifts:
			colour = t.colour.Yellow
		}
		lines = append(lines, []cell{
			{"  " + string(d.Severity), false, colour},
			{schemaTable(&d), false, plain},
			{text.Prose(d.Object), false, plain},
			{text.Prose(d.Kind), false, plain},
		})
	}
	t.columns(lines, func(i int) { t.definitions(&sorted[i]) })
}

// definitions writes both sides' definitions beneath a schema difference.
func (t *terminal) definitions(d *parity.SchemaDifference) {
	const indent = "          "
	for _, l := range []struct{ word, text string }{
		{"source  ", d.Source}, {"target  ", d.Target}, {"hint    ", d.Hint},
	} {
		lines := strings.Split(text.Block(strings.TrimSpace(l.text)), "\n")
		switch {
		case l.text == "":
		case len(lines) == 1:
			t.paragraph(indent+l.word, lines[0])
		default:
			t.line(indent + l.word)
			for _, line := range lines {
				t.line(indent + "  " + line)
			}
		}
	}
}

// schemaTable is the table of a difference; nothing if it belongs to none.
func schemaTable(d *parity.SchemaDifference) string {
	if d.Table == (relation.Name{}) {
		return ""
	}
	return text.Name(d.Table)
}

// sequences tells of those that are not as they should be.
func (t *terminal) sequences(list []parity.Sequence) {
	const indent = "          "
	first := true
	for i := range list {
		s := &list[i]
		if s.Verdict == parity.Match && !s.Skipped {
			continue
		}
		if first {
			t.heading("Sequences")
		}
		first = false
		word, colour := "behind", t.colour.Red
		switch {
		case s.Skipped:
			word, colour = "skipped", t.colour.Dim
		case s.Verdict == parity.Incomplete:
			word, colour = "unknown", t.colour.Yellow
		}
		t.line("  " + colour(text.PadRight(word, 8)) + tableName(s.Name, s.TargetName))
		t.paragraph(indent, text.Prose(s.Reason))
		if s.Mend != "" {
			t.line(indent + "on the target: " + text.Prose(s.Mend)) // SQL is not broken
		}
	}
}

func (t *terminal) corruption(list []parity.Corruption) {
	if len(list) == 0 {
		return
	}
	t.heading("Damage")
	for _, d := range list {
		t.paragraph("  "+t.colour.Red("damaged")+" ", text.Prose(fmt.Sprintf("%s of the %s: %s", d.Object, d.Side, d.Problem)))
	}
}

func (t *terminal) sentences(heading string, sentences []string) {
	if len(sentences) == 0 {
		return
	}
	t.heading(heading)
	for _, s := range sentences {
		t.paragraph("  ", text.Prose(s))
	}
}

func (t *terminal) notChecked(kinds []string) {
	if len(kinds) == 0 {
		return
	}
	t.heading("Not checked")
	t.paragraph("  ", text.Prose(strings.Join(kinds, ", ")))
}

func (t *terminal) verdict(p *parity.Pass) {
	t.line("")
	t.paragraph("", proven(p))
	took := p.FinishedAt.Sub(p.StartedAt)
	details := []string{"Took " + text.Duration(took)}
	if rows := rowsArrived(p); took > 0 && rows > 0 {
		details = append(details, text.Rate(float64(rows)/took.Seconds())+" of both sides")
	}
	if p.SeedFingerprint != "" {
		details = append(details, "hash seed fingerprint "+text.Prose(p.SeedFingerprint))
	}
	t.paragraph("", strings.Join(details, "; ")+".")
	t.line("")
	t.conclusion(p)
}

// conclusion is the line that everybody reads.
func (t *terminal) conclusion(p *parity.Pass) {
	word := headline(p)
	first := t.paragraphStart(word + ": ")
	for i, l := range text.Wrap(text.Prose(p.Reason), first) {
		if i == 0 {
			l = verdictColour(p.Verdict, t.colour)(word) + ": " + l
		}
		t.line(l)
	}
}

// rowsArrived counts the rows that were read on both sides, also those of
// tables that were not read to their end.
func rowsArrived(p *parity.Pass) int64 {
	var n int64
	for i := range p.Tables {
		for _, s := range p.Tables[i].Side {
			n += s.ReadRows
		}
	}
	return n
}

// paragraphStart is the width left on a line that begins with s.
func (t *terminal) paragraphStart(s string) int {
	if t.width <= 0 {
		return 0
	}
	return max(20, t.width-text.Width(s))
}

// writePlanTable renders a plan for a terminal.
func writePlanTable(w io.Writer, p *parity.Plan, opts Options) error {
	t := &terminal{colour: text.Palette(opts.Colour), width: opts.Width}
	t.servers(p.Server)
	t.planned(p.Tables)
	t.schema(p.Schema)
	t.plannedReferences(p)
	t.sentences("Skipped", p.Skipped)
	t.sentences("Notes", plannedNotes(p))
	t.budget(p)
	t.sentences("Problems", p.Problems)
	t.expected(p)
	_, err := w.Write(t.Bytes())
	return err
}

func (t *terminal) planned(tables []parity.PlannedTable) {
	if len(tables) == 0 {
		return
	}
	c := t.colour
	lines := [][]cell{{
		{"TABLE", false, c.Dim},
		{"SOURCE ROWS", true, c.Dim},
		{"TARGET ROWS", true, c.Dim},
		{"SOURCE SIZE", true, c.Dim},
		{"TARGET SIZE", true, c.Dim},
		{"CHUNKS", true, c.Dim},
		{"LEAVES", true, c.Dim},
	}}
	for i := range tables {
		p := &tables[i]
		s, g := &p.Side[relation.Source], &p.Side[relation.Target]
		if p.Compare == "" { // it cannot be read
			none := cell{"–", true, plain}
			lines = append(lines, []cell{{tableName(p.Name, p.TargetName), false, plain}, none, none, none, none, none, none})
			continue
		}
		lines = append(lines, []cell{
			{tableName(p.Name, p.TargetName), false, plain},
			{estimated(s.Rows, s.Guessed), true, plain},
			{estimated(g.Rows, g.Guessed), true, plain},
			{text.Bytes(s.Bytes), true, plain},
			{text.Bytes(g.Bytes), true, plain},
			{text.Count(int64(s.Chunks)) + "+" + text.Count(int64(g.Chunks)), true, plain},
			{text.Count(int64(p.Leaves)), true, plain},
		})
	}
	t.line("")
	said := make(map[string]bool)
	t.columns(lines, func(i int) {
		if i > 0 {
			t.plannedDetails(&tables[i-1], said)
		}
	})
}

// plannedDetails says what there is to know of a table, but for problems that
// were said of another one.
func (t *terminal) plannedDetails(p *parity.PlannedTable, said map[string]bool) {
	const indent = "    "
	if s := plannedKey(p) + plannedReading(p); s != "" {
		t.paragraph(indent, s)
	}
	for _, s := range p.Problems {
		if said[s] {
			s = "as above"
		}
		said[s] = true
		t.paragraph(indent+"problem: ", text.Prose(s))
	}
	for _, s := range p.Unverified {
		t.paragraph(indent+"not verified, by policy: ", text.Prose(s))
	}
	for _, s := range p.Notes {
		t.paragraph(indent+"note: ", text.Prose(s))
	}
}

// plannedKey says how a table's rows are told apart, unless nobody looked: it
// cannot be read.
func plannedKey(p *parity.PlannedTable) string {
	if p.Compare == "" {
		return ""
	}
	s := ", keyless"
	if len(p.Key) > 0 {
		columns := make([]string, len(p.Key))
		for i, c := range p.Key {
			columns[i] = text.Ident(c)
		}
		s = ", key (" + strings.Join(columns, ", ") + ")"
	}
	return p.Kind.String() + s + ", compared by " + text.Prose(p.Compare)
}

// plannedNotes are a plan's notes, and what its table needs to be understood.
func plannedNotes(p *parity.Plan) []string {
	if slices.ContainsFunc(p.Tables, func(t parity.PlannedTable) bool {
		return t.Side[relation.Source].Guessed || t.Side[relation.Target].Guessed
	}) {
		return append(slices.Clone(p.Notes), "rows with a ? are guessed from a table's size, since it was never analyzed")
	}
	return p.Notes
}

func plannedReading(p *parity.PlannedTable) string {
	var out string
	s, g := &p.Side[relation.Source], &p.Side[relation.Target]
	if s.Reading == g.Reading && s.Reading != "" {
		out = "; read in " + text.Prose(s.Reading)
	} else {
		for _, side := range relation.Sides {
			if r := p.Side[side].Reading; r != "" {
				out += fmt.Sprintf("; %s read in %s", side, text.Prose(r))
			}
		}
	}
	if s.Members > 1 || g.Members > 1 {
		out += fmt.Sprintf("; %s on the source, %s on the target",
			text.Plural(int64(s.Members), "member", "members"), text.Count(int64(g.Members)))
	}
	return out
}

// estimated renders an estimate of rows, with a question mark for a guess.
func estimated(n int64, guessed bool) string {
	switch {
	case n < 0:
		return "?"
	case guessed:
		return "~" + text.Count(n) + "?"
	}
	return "~" + text.Count(n)
}

func (t *terminal) budget(p *parity.Plan) {
	t.heading("Totals")
	rows, bytes := plannedTotals(p)
	guessed := plannedGuesses(p)
	for _, side := range relation.Sides {
		s := fmt.Sprintf("%s rows, %s", estimated(rows[side], guessed[side]), text.Bytes(bytes[side]))
		if l := p.Locks[side]; l.Available > 0 {
			s += fmt.Sprintf("; %s of %s locks", text.Count(l.Needed), text.Count(l.Available))
		}
		if r := p.Sample[side]; r.BytesPerSecond > 0 {
			s += fmt.Sprintf("; sampled at %s/s, %s", text.Bytes(int64(r.BytesPerSecond)), text.Rate(r.RowsPerSecond))
		}
		t.paragraph("  "+text.PadRight(side.String(), 8), s)
	}
}

// plannedTotals adds up each side; rows are -1 when one table's are unknown.
func plannedTotals(p *parity.Plan) (rows, bytes [2]int64) {
	for _, side := range relation.Sides {
		for i := range p.Tables {
			s := &p.Tables[i].Side[side]
			bytes[side] += s.Bytes
			if s.Rows < 0 || rows[side] < 0 {
				rows[side] = -1
				continue
			}
			rows[side] += s.Rows
		}
	}
	return rows, bytes
}

// plannedGuesses says whether a side's total holds a guess.
func plannedGuesses(p *parity.Plan) (guessed [2]bool) {
	for i := range p.Tables {
		for side, s := range p.Tables[i].Side {
			guessed[side] = guessed[side] || s.Guessed
		}
	}
	return guessed
}

// plannedProblems counts what would be in a pass's way. What several tables
// have in common, such as a schema's privilege, is one problem.
func plannedProblems(p *parity.Plan) int {
	distinct := make(map[string]bool)
	for i := range p.Tables {
		for _, s := range p.Tables[i].Problems {
			distinct[s] = true
		}
	}
	for i := range p.References {
		for _, s := range p.References[i].Problems {
			distinct[s] = true
		}
	}
	return len(p.Problems) + len(distinct)
}

func (t *terminal) expected(p *parity.Plan) {
	took := "The time it would take is unknown"
	switch {
	case p.Unknown != "":
		took += ": " + text.Prose(p.Unknown)
	case p.Expected > 0 && p.Guessed:
		took = "It would take very roughly " + text.Duration(p.Expected) + ", a guess since the table that was sampled was never analyzed"
	case p.Expected > 0:
		took = "It would take about " + text.Duration(p.Expected)
	}
	read := "Nothing was read"
	if slices.ContainsFunc(p.Tables, func(t parity.PlannedTable) bool { return t.Compare != "" }) {
		read = "Only samples were read"
	}
	t.line("")
	tables := text.Plural(int64(len(p.Tables)), "table", "tables")
	switch n := plannedProblems(p); {
	case len(p.Tables) == 0:
		t.paragraph("", t.colour.Yellow("NOTHING TO READ")+": no table is selected.")
	case n > 0:
		t.paragraph("", t.colour.Yellow("PROBLEMS")+fmt.Sprintf(": %s would make a pass over %s incomplete. %s. %s.",
			text.Plural(int64(n), "problem", "problems"), tables, took, read))
	default:
		t.paragraph("", t.colour.Green("READY")+fmt.Sprintf(": nothing stands in the way of a pass over %s. %s. %s.", tables, took, read))
	}
}
