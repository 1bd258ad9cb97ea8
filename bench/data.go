package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A dataset is a database of one table that both servers hold alike.
type dataset struct {
	name    string // of the database
	table   string
	columns string
	rows    func(n int64) int64
	values  string   // select list over i
	after   []string // once it is filled
}

var datasets = []dataset{
	{
		name: "narrow", table: "t", rows: whole,
		columns: `id bigint, a int, b text, c timestamptz, d numeric(12,2)`,
		values: `i, (i * 7919 % 1000003)::int, md5(i::text), timestamptz '2020-01-01 00:00:00Z' + i * interval '17 s',
			(i * 104729 % 100000000)::numeric / 100`,
		after: []string{`ALTER TABLE t ADD PRIMARY KEY (id)`},
	},
	{
		name: "text", table: "x", rows: whole,
		columns: `k text, a int, b text, c timestamptz, d numeric(12,2)`,
		values: textKey + `, (i * 7919 % 1000003)::int, md5(i::text), timestamptz '2020-01-01 00:00:00Z' + i * interval '17 s',
			(i * 104729 % 100000000)::numeric / 100`,
		after: []string{`ALTER TABLE x ADD PRIMARY KEY (k)`},
	},
	{
		name: "wide", table: "w", rows: func(n int64) int64 { return n / 4 },
		columns: `id bigint, a smallint, b int, c bigint, d real, e double precision, f numeric(14,4), g boolean, h text,
			i varchar(40), j timestamptz, k timestamp, l date, m uuid, n jsonb`,
		values: `i, (i % 30000)::smallint, (i * 7919 % 1000003)::int, i * 1000003, i / 7::real, sqrt(i), (i * 104729 % 100000000)::numeric / 1000,
			i % 3 = 0, repeat(md5(i::text), 2), CASE WHEN i % 10 > 0 THEN 'customer ' || i END,
			timestamptz '2020-01-01 00:00:00Z' + i * interval '17 s', timestamp '2020-01-01' + i * interval '1 s', date '2000-01-01' + (i % 9000)::int,
			md5(i::text)::uuid, jsonb_build_object('id', i, 'tags', jsonb_build_array('a', i % 5), 'ok', i % 2 = 0)`,
		after: []string{`ALTER TABLE w ADD PRIMARY KEY (id)`},
	},
	{
		name: "orphans", table: "c", rows: whole,
		columns: `id bigint, p bigint, b text`,
		values:  `i, i * 7919 % 1000003, md5(i::text)`,
		after: []string{
			`ALTER TABLE c ADD PRIMARY KEY (id)`, `CREATE TABLE p (id bigint)`, `INSERT INTO p SELECT DISTINCT p FROM c`,
			`ALTER TABLE p ADD PRIMARY KEY (id)`, `VACUUM (FREEZE, ANALYZE) p`,
			`ALTER TABLE c ADD CONSTRAINT c_fk FOREIGN KEY (p) REFERENCES p NOT VALID`,
		},
	},
	{
		name: "big", table: "big", rows: func(int64) int64 { return 3 },
		columns: `id int, b bytea`,
		// 100 MB each: 16 bytes, repeated.
		values: fmt.Sprintf(`i, decode(repeat(md5(i::text), %d), 'hex')`, bigRow/16),
		after:  []string{`ALTER TABLE big ADD PRIMARY KEY (id)`},
	},
}

const bigRow = 100 << 20

func whole(n int64) int64 { return n }

// textKey makes keys that two collations sort differently.
const textKey = `left(md5(i::text), 6) || CASE WHEN i % 2 = 0 THEN 'A-' ELSE 'a_' END || i`

// A variant is a target's database that differs from its dataset.
type variant struct {
	name, dataset string
	// mutate makes the difference, given the dataset's rows.
	mutate func(n int64) []string
	want   func(n int64) counts
}

// counts are numbers of divergent rows.
type counts struct{ missing, extra, mismatched int64 }

func key(i int64) string {
	return fmt.Sprintf(`(SELECT %s FROM (VALUES (%d::bigint)) v(i))`, textKey, i)
}

var variants = []variant{
	{
		name: "narrow_three", dataset: "narrow",
		mutate: func(n int64) []string {
			return []string{
				fmt.Sprintf(`DELETE FROM t WHERE id = %d`, n/3),
				fmt.Sprintf(`UPDATE t SET b = 'planted' WHERE id = %d`, n/2),
				fmt.Sprintf(`INSERT INTO t VALUES (%d, 1, 'planted', '2020-01-01', 1)`, n+1),
			}
		},
		want: func(int64) counts { return counts{1, 1, 1} },
	},
	{
		name: "text_three", dataset: "text",
		mutate: func(n int64) []string {
			return []string{
				`DELETE FROM x WHERE k = ` + key(n/3),
				`UPDATE x SET b = 'planted' WHERE k = ` + key(n/2),
				`INSERT INTO x VALUES (` + key(n+1) + `, 1, 'planted', '2020-01-01', 1)`,
			}
		},
		want: func(int64) counts { return counts{1, 1, 1} },
	},
	{
		// Spread evenly: every leaf differs.
		name: "narrow_percent", dataset: "narrow",
		mutate: func(int64) []string { return []string{`UPDATE t SET a = a + 1 WHERE id % 100 = 0`} },
		want:   func(n int64) counts { return counts{mismatched: n / 100} },
	},
	{
		name: "text_percent", dataset: "text",
		mutate: func(int64) []string { return []string{`UPDATE x SET a = a + 1 WHERE a % 100 = 0`} },
		want: func(n int64) counts {
			var c counts
			for i := int64(1); i <= n; i++ {
				if i*7919%1000003%100 == 0 {
					c.mismatched++
				}
			}
			return c
		},
	},
	{
		// Rewritten: an UPDATE would leave a table of twice the size.
		name: "narrow_all", dataset: "narrow",
		mutate: func(int64) []string { return []string{`ALTER TABLE t ALTER a TYPE int USING a + 1`} },
		want:   func(n int64) counts { return counts{mismatched: n} },
	},
	{
		name: "narrow_truncated", dataset: "narrow",
		mutate: func(int64) []string { return []string{`TRUNCATE t`} },
		want:   func(n int64) counts { return counts{missing: n} },
	},
}

// databases maps each target database to its dataset.
func datasetOf(database string) *dataset {
	for i := range variants {
		if variants[i].name == database {
			database = variants[i].dataset
		}
	}
	i := slices.IndexFunc(datasets, func(d dataset) bool { return d.name == database })
	return &datasets[i]
}

// load creates what the cases need.
func (b *bencher) load(ctx context.Context, n int64, cases []testCase) error {
	for i := range datasets {
		d := &datasets[i]
		if !slices.ContainsFunc(cases, func(c testCase) bool { return datasetOf(c.target) == d }) {
			continue
		}
		started := time.Now()
		err := eachSide(func(side int) error { return b.pair.fill(ctx, side, d, n) })
		if err != nil {
			return fmt.Errorf("load %s: %w", d.name, err)
		}
		b.logf("loaded %s, %d rows, in %.0f s", d.name, d.rows(n), time.Since(started).Seconds())
	}
	for i := range variants {
		v := &variants[i]
		if !slices.ContainsFunc(cases, func(c testCase) bool { return c.target == v.name }) {
			continue
		}
		if err := b.pair.plant(ctx, v, n); err != nil {
			return fmt.Errorf("load %s: %w", v.name, err)
		}
		b.logf("planted %s", v.name)
	}
	return eachSide(func(side int) error { return b.pair.exec(ctx, side, "postgres", "CHECKPOINT") })
}

func (p *pair) fill(ctx context.Context, side int, d *dataset, n int64) error {
	if err := p.createDatabase(ctx, side, d.name); err != nil {
		return err
	}
	sql := []string{fmt.Sprintf(`CREATE TABLE %s (%s)`, d.table, d.columns)}
	if d.name == "big" {
		sql = append(sql, `ALTER TABLE big ALTER b SET STORAGE EXTERNAL`)
	}
	sql = append(sql, fmt.Sprintf(`INSERT INTO %s SELECT %s FROM generate_series(1, %d::bigint) i`, d.table, d.values, d.rows(n)))
	sql = append(sql, d.after...)
	sql = append(sql, `VACUUM (FREEZE, ANALYZE) `+d.table, `CHECKPOINT`)
	return p.exec(ctx, side, d.name, sql...)
}

// createDatabase gives the text key another collation on the target, the first
// of these that this server has.
func (p *pair) createDatabase(ctx context.Context, side int, name string) error {
	if name != "text" || side == source {
		p.noteLocale(side, name, "C")
		return p.exec(ctx, side, "postgres", `CREATE DATABASE `+name+` TEMPLATE template0`)
	}
	for _, l := range []struct{ name, clause string }{
		{"en-US (ICU)", `LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'`},
		{"en_US.utf8 (libc)", `LOCALE 'en_US.utf8'`},
		{"C.UTF-8", `LOCALE 'C.UTF-8'`},
		{"C", `LOCALE 'C'`},
	} {
		err := p.exec(ctx, side, "postgres", `CREATE DATABASE `+name+` TEMPLATE template0 `+l.clause)
		if err == nil {
			p.noteLocale(side, name, l.name)
			return nil
		}
		if l.name == "C" {
			return err
		}
	}
	return nil
}

func (p *pair) noteLocale(side int, database, locale string) {
	if database == "text" {
		p.locale[side] = locale
	}
}

func (p *pair) plant(ctx context.Context, v *variant, n int64) error {
	strategy := ""
	if p.server[target].Major >= 15 {
		strategy = " STRATEGY file_copy" // else all of it goes through the WAL
	}
	if err := p.exec(ctx, target, "postgres", `CREATE DATABASE `+v.name+` TEMPLATE `+v.dataset+strategy); err != nil {
		return err
	}
	d := datasetOf(v.name)
	sql := v.mutate(d.rows(n))
	sql = append(sql, `VACUUM (FREEZE, ANALYZE) `+d.table)
	return p.exec(ctx, target, v.name, sql...)
}
