package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// writeReport prints the results as Markdown.
func writeReport(w io.Writer, o options, p *pair, load float64, results []result) {
	fmt.Fprintf(w, "%s\n", machine(p, load))
	fmt.Fprintf(w, "Printed by `%s`. Narrow: %d rows of (bigint key, int, text, timestamptz, numeric). Wide: %d rows of 15 columns.\n",
		o.command, o.rows, o.rows/4)
	if p.locale != [2]string{} {
		fmt.Fprintf(w, "Text keys are collated with %s on the source and %s on the target.\n", p.locale[source], p.locale[target])
	}
	for _, section := range []string{mainSection, faultSection, orphanSection, workerSection} {
		rows := [][]string{{"case", "ratio", "of the best", "lowest–highest", "CPU", "goal", "time", "reference", "client CPU", "peak memory", "budget"}}
		for i := range results {
			if results[i].section == section {
				rows = append(rows, row(&results[i]))
			}
		}
		if len(rows) > 1 {
			fmt.Fprintf(w, "\n### %s\n\n%s", section, markdown(rows))
		}
	}
}

// row renders one result.
func row(r *result) []string {
	if r.err != nil {
		return []string{r.name, "not measured", "", "", "", "", "", "", "", "", ""}
	}
	ratios := r.ratios()
	m := median(ratios)
	cells := []string{
		r.name, fmt.Sprintf("**%.2f**", m), fmt.Sprintf("%.2f", r.ratioOfBest()),
		fmt.Sprintf("%.2f–%.2f", slices.Min(ratios), slices.Max(ratios)), "", "",
		fmt.Sprintf("%.2f s", median(seconds(r.samples, wall))), fmt.Sprintf("%.2f s", median(seconds(r.references, wall))),
		fmt.Sprintf("%.2f s", median(seconds(r.samples, cpu))), "", "",
	}
	if w := r.ratioOfWork(); w > 0 {
		cells[4] = fmt.Sprintf("%.2f", w)
	}
	if r.goal > 0 {
		cells[5] = fmt.Sprintf("≤ %.2f: %s", r.goal, reached(m <= r.goal))
	}
	if peak := r.peak(); peak > 0 {
		cells[9] = fmt.Sprintf("%.0f MB", float64(peak)/(1<<20))
		cells[10] = fmt.Sprintf("%d MB: %s", r.budget()>>20, reached(peak <= r.budget()))
	}
	return cells
}

func reached(ok bool) string {
	if ok {
		return "reached"
	}
	return "NOT reached"
}

// describe is a line for the log.
func describe(r *result) string {
	cells := row(r)
	return fmt.Sprintf("%s: %s × the %s (best %s, %s, CPU %s) %s; %s after %s, client CPU %s; %s %s",
		r.name, strings.Trim(cells[1], "*"), r.reference, cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], cells[8], cells[9], cells[10])
}

// markdown aligns rows, the first of them the head, into a table.
func markdown(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0])
	rule := make([]string, len(widths))
	for i := range rule {
		rule[i] = strings.Repeat("-", widths[i])
	}
	line(rule)
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}
