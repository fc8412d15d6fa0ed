package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/archive"
)

// plan is a query as SQL.
type plan struct {
	match string // expression of FTS5; "" is none
	types []archive.Type
	all   bool // types
	// Times in microseconds, from first on and before last; 0 is none.
	after, before int64
	low, high     uint64 // seqs outside of which nothing can be found
	ends          []int  // one of these bits is wanted
	comment       bool
	byMark        bool // few records have the bits: begin with them
}

const (
	// fewMarks is how many records a search rather looks up in the full-text table one by one,
	fewMarks = 2000
	// probe is how much dearer that is than to look at what the full-text table finds.
	probe = 40
)

// plan reads what the query wants, and how much of the index can have it.
func (db *database) plan(ctx context.Context, q *archive.Query) (*plan, error) {
	p := &plan{high: 1<<63 - 1, after: micros(q.After), before: micros(q.Before)}
	switch cmp.Or(q.Type, "message") {
	case "all":
		p.all = true
	default:
		for _, t := range []archive.Type{archive.TypeMessage, archive.TypeOutcome, archive.TypeAct} {
			if t.String() == cmp.Or(q.Type, "message") {
				p.types = append(p.types, t)
			}
		}
	}
	for _, d := range q.Dispositions {
		p.ends = append(p.ends, int(d))
	}
	p.comment = slices.Contains(q.Has, archive.HasComment)
	p.match = p.expression(q)
	if p.after != 0 || p.before != 0 {
		var low, high sql.NullInt64
		err := db.read.QueryRowContext(ctx, "SELECT min(number), max(number) FROM span WHERE (?1 = 0 OR latest >= ?1) AND (?2 = 0 OR earliest < ?2)",
			p.after, p.before).Scan(&low, &high)
		if err != nil {
			return nil, err
		}
		if !low.Valid {
			p.high = 0
			return p, nil
		}
		p.low, p.high = uint64(low.Int64)*4096, uint64(high.Int64)*4096+4095
	}
	if bits := p.bits(); len(bits) > 0 && !slices.ContainsFunc(bits, func(b int) bool { return !marked(b) }) {
		var n int
		err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM mark WHERE bit IN ("+join(bits)+") AND seq BETWEEN ? AND ? LIMIT ?)",
			p.low, p.high, fewMarks+1).Scan(&n)
		if err != nil {
			return nil, err
		}
		p.byMark = p.match == "" || n <= fewMarks
		if p.byMark && p.match != "" {
			var found int
			err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM text WHERE text MATCH ? AND rowid BETWEEN ? AND ? LIMIT ?)",
				p.match, int64(p.low), int64(p.high), n*probe).Scan(&found)
			if err != nil {
				return nil, err
			}
			p.byMark = found == n*probe
		}
	}
	return p, nil
}

// bits are those of which a record that is wanted has at least one.
func (p *plan) bits() []int {
	if p.comment {
		return []int{bitComment}
	}
	return p.ends
}

// expression is what the full-text table must match.
func (p *plan) expression(q *archive.Query) string {
	letters := []string{"", "o", "x"}
	if !p.all {
		letters = []string{letter(p.types[0])}
	}
	var parts []string
	either := func(terms ...string) {
		for i, t := range terms {
			terms[i] = `"` + t + `"`
		}
		parts = append(parts, "("+strings.Join(terms, " OR ")+")")
	}
	named := func(values []string, fold func(string) string, kinds ...string) {
		var terms []string
		for _, v := range values {
			for _, l := range letters {
				for _, k := range kinds {
					terms = append(terms, term(l+k, fold(v)))
				}
			}
		}
		either(terms...)
	}
	each := func(values []string, fold func(string) string, kinds ...string) {
		for _, v := range values {
			named([]string{v}, fold, kinds...)
		}
	}
	each(q.From, archive.Party, kindFrom)
	each(q.To, archive.Party, kindTo)
	each(q.With, archive.Party, kindFrom, kindTo)
	for _, c := range q.Conversations {
		if len(c) == 1 {
			named(c, archive.Party, kindFrom, kindTo)
		} else {
			named(c, archive.Party, kindFrom)
			named(c, archive.Party, kindTo)
		}
	}
	each(q.Units, strings.ToLower, kindUnit)
	each(q.Groups, strings.ToLower, kindGroup)
	each(q.Flags, strings.ToLower, kindFlag)
	for _, h := range q.Has {
		if h != archive.HasComment {
			named([]string{h}, strings.ToLower, kindHas)
		}
	}
	for _, t := range q.Text {
		if w := archive.Words(t); w != "" {
			either(w)
		}
	}
	return strings.Join(parts, " AND ")
}

// hit is a record that was found.
type hit struct {
	seq, segment uint64
	place        int64
}

// page returns up to limit records behind seq, in order.
func (db *database) page(ctx context.Context, p *plan, seq uint64, limit int) ([]hit, error) {
	from := "record r"
	if p.all || p.types[0] != archive.TypeAct {
		from += " NOT INDEXED"
	}
	var where []string
	var args []any
	low := max(seq+1, p.low)
	if low > p.high {
		return nil, nil
	}
	key := "r.seq"
	switch {
	case p.byMark:
		var union []string
		for _, b := range p.bits() {
			union = append(union, fmt.Sprintf("SELECT seq FROM mark WHERE bit = %d AND seq BETWEEN ? AND ?", b))
			args = append(args, low, p.high)
		}
		from = "(" + strings.Join(union, " UNION ") + " ORDER BY seq) m CROSS JOIN record r ON r.seq = m.seq"
		key = "m.seq"
		if p.match != "" {
			from += " CROSS JOIN text ON text.rowid = m.seq"
			where, args = append(where, "text MATCH ?"), append(args, p.match)
		}
	case p.match != "":
		from = "text CROSS JOIN record r ON r.seq = text.rowid"
		key = "text.rowid"
		where, args = append(where, "text MATCH ?"), append(args, p.match)
	}
	if !p.byMark {
		where, args = append(where, key+" BETWEEN ? AND ?"), append(args, low, p.high)
	}
	if !p.all {
		where = append(where, "r.type = "+fmt.Sprint(int(p.types[0])))
	}
	if p.after != 0 {
		where, args = append(where, "r.at >= ?"), append(args, p.after)
	}
	if p.before != 0 {
		where, args = append(where, "r.at < ?"), append(args, p.before)
	}
	if len(p.ends) > 0 {
		var mask int64
		for _, b := range p.ends {
			mask |= bit(b)
		}
		where = append(where, fmt.Sprintf("r.ends & %d <> 0", mask))
	}
	if p.comment {
		where = append(where, fmt.Sprintf("r.ends & %d <> 0", bit(bitComment)))
	}
	args = append(args, limit)
	if len(where) == 0 {
		where = []string{"1"}
	}
	rows, err := db.read.QueryContext(ctx, "SELECT r.seq, r.segment, r.place FROM "+from+" WHERE "+strings.Join(where, " AND ")+" ORDER BY "+key+" LIMIT ?", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var hits []hit
	for rows.Next() {
		var h hit
		if err := rows.Scan(&h.seq, &h.segment, &h.place); err != nil {
			return nil, err
		}
		hits = append(hits, h)
	}
	return hits, rows.Err()
}

func bit(n int) int64 { return 1 << n }

func join(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}

// micros is a time as record.at has it, rounded up: what the archive keeps is no finer. 0 is none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Microsecond - 1).UnixMicro()
}
