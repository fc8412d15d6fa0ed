package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Query says which records a search wants. The zero Query wants every message.
type Query struct {
	// Words and phrases that must all stand in the subject, the sender's name
	// or the body, of acts in the actor, action, object or reason, as whole
	// words, in any case of letters.
	Text []string
	// From, To and With (either) name parties: an AOR with or without its
	// scheme, a user, or a domain.
	From, To, With []string
	// After and Before bound the time of receipt: from After on, and before Before.
	After, Before time.Time
	// Type is "message" (also when empty), "outcome", "act", or "all".
	Type string
	// Dispositions: of messages those with an outcome of one of these, of
	// outcomes those with one.
	Dispositions []Disposition
}

// QueryError says where a query is wrong.
type QueryError struct {
	Query  string
	Column int // of the fault, from 1, in characters
	Reason string
}

func (e *QueryError) Error() string {
	return fmt.Sprintf("query, column %d: %s", e.Column, e.Reason)
}

// maxQuery bounds the bytes of a query.
const maxQuery = 4096

// ParseQuery reads the query language: words and "phrases", of which all must
// be met, and from: to: with: before: after: type: disposition:. A time is a
// day (2026-11-23, from 00:00 in loc) or RFC 3339. A nil loc means UTC.
func ParseQuery(s string, loc *time.Location) (Query, error) {
	var q Query
	if loc == nil {
		loc = time.UTC
	}
	if len(s) > maxQuery {
		return q, &QueryError{Query: s, Column: 1, Reason: fmt.Sprintf("longer than %d bytes", maxQuery)}
	}
	if !utf8.ValidString(s) {
		return q, &QueryError{Query: s, Column: 1, Reason: "not UTF-8"}
	}
	for i := 0; i < len(s); {
		if c, n := utf8.DecodeRuneInString(s[i:]); unicode.IsSpace(c) {
			i += n
			continue
		}
		start := i
		fail := func(format string, args ...any) (Query, error) {
			return Query{}, &QueryError{Query: s, Column: utf8.RuneCountInString(s[:start]) + 1, Reason: fmt.Sprintf(format, args...)}
		}
		var key string
		if k := keyAt(s[i:]); k != "" {
			key, i = strings.ToLower(k), i+len(k)+1
		}
		var value string
		if i < len(s) && s[i] == '"' {
			n := strings.IndexByte(s[i+1:], '"')
			if n < 0 {
				return fail("a phrase has no closing quote")
			}
			value, i = s[i+1:i+1+n], i+n+2
		} else {
			n := strings.IndexFunc(s[i:], func(c rune) bool { return unicode.IsSpace(c) || c == '"' })
			if n < 0 {
				n = len(s) - i
			}
			value, i = s[i:i+n], i+n
		}
		if strings.TrimSpace(value) == "" {
			if key == "" {
				return fail("an empty phrase")
			}
			return fail("%s: needs a value", key)
		}
		if reason := q.add(key, value, loc); reason != "" {
			return fail("%s", reason)
		}
	}
	return q, nil
}

// keyAt returns the name before a colon that s begins with. What comes before
// a colon and is no plain word (a time, say) begins no field.
func keyAt(s string) string {
	i := strings.IndexFunc(s, func(c rune) bool { return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') })
	if i <= 0 || s[i] != ':' || strings.EqualFold(s[:i], "sip") || strings.EqualFold(s[:i], "sips") || strings.HasPrefix(s[i:], "://") {
		return ""
	}
	return s[:i]
}

func (q *Query) add(key, value string, loc *time.Location) (fault string) {
	switch key {
	case "":
		if foldWords(value) == "" {
			return fmt.Sprintf("%q has neither letters nor digits", value)
		}
		q.Text = append(q.Text, value)
	case "from":
		q.From = append(q.From, value)
	case "to":
		q.To = append(q.To, value)
	case "with":
		q.With = append(q.With, value)
	case "before", "after":
		t, err := time.ParseInLocation(time.DateOnly, value, loc)
		if err != nil {
			if t, err = time.Parse(time.RFC3339, value); err != nil {
				return fmt.Sprintf("%s: wants a day as 2026-11-23 or a time as 2026-11-23T17:00:00Z", key)
			}
		}
		to := &q.Before
		if key == "after" {
			to = &q.After
		}
		if !to.IsZero() {
			return key + ": stands twice"
		}
		*to = t
	case "type":
		if q.Type = strings.ToLower(value); q.Type != "all" && !slices.Contains(typeNames[1:], q.Type) {
			return "type: is " + strings.Join(typeNames[1:], ", ") + " or all"
		}
	case "disposition":
		for d, name := range dispositionNames {
			if name != "" && strings.EqualFold(value, name) {
				q.Dispositions = append(q.Dispositions, Disposition(d))
				return ""
			}
		}
		return "disposition: is one of " + strings.Join(dispositionNames[1:], ", ")
	default:
		return fmt.Sprintf("unknown field %s:", key)
	}
	return ""
}

// Matches reports whether the query wants the record. Of dispositions it can
// only tell for outcomes.
func (q *Query) Matches(r *Record) bool {
	m := q.matcher()
	return m.matches(r)
}

// matcher is a Query made ready.
type matcher struct {
	Query
	words          []string
	from, to, with []string
}

func (q *Query) matcher() *matcher {
	m := &matcher{Query: *q}
	for _, t := range q.Text {
		if w := foldWords(t); w != "" {
			m.words = append(m.words, " "+w+" ")
		}
	}
	fold := func(in []string) (out []string) {
		for _, s := range in {
			out = append(out, bareAOR(s))
		}
		return out
	}
	m.from, m.to, m.with = fold(q.From), fold(q.To), fold(q.With)
	return m
}

// matches checks everything but the disposition of messages.
func (m *matcher) matches(r *Record) bool {
	if m.Type != "all" && r.Type.String() != cmp.Or(m.Type, "message") {
		return false
	}
	at := r.Received
	if at.IsZero() {
		at = r.Archived
	}
	if !m.After.IsZero() && at.Before(m.After) || !m.Before.IsZero() && !at.Before(m.Before) {
		return false
	}
	for _, p := range m.from {
		if !isParty(r.From, p) {
			return false
		}
	}
	for _, p := range m.to {
		if !isParty(r.To, p) {
			return false
		}
	}
	for _, p := range m.with {
		if !isParty(r.From, p) && !isParty(r.To, p) {
			return false
		}
	}
	if r.Type != TypeMessage && len(m.Dispositions) > 0 && !m.wants(r.Disposition) {
		return false
	}
	if len(m.words) == 0 {
		return true
	}
	text := " " + foldWords(r.Subject) + " \n " + foldWords(r.FromName) + " \n " + foldWords(string(r.Body())) + " "
	if r.Type == TypeAct {
		text = " " + foldWords(r.Actor) + " \n " + foldWords(r.Action) + " \n " + foldWords(r.Object) + " \n " + foldWords(r.Reason) + " "
	}
	for _, w := range m.words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func (m *matcher) wants(d Disposition) bool {
	for _, w := range m.Dispositions {
		if w == d {
			return true
		}
	}
	return false
}

// isParty reports whether want, folded, names the party: the AOR, its user or its domain.
func isParty(aor, want string) bool {
	aor = bareAOR(aor)
	if aor == want {
		return true
	}
	user, domain, ok := strings.Cut(aor, "@")
	return ok && (user == want || domain == want)
}

func bareAOR(s string) string {
	s = strings.ToLower(s)
	s, _ = strings.CutPrefix(s, "sip:")
	s, _ = strings.CutPrefix(s, "sips:")
	return s
}

// foldWords returns the words of s in small letters, parted by one space.
func foldWords(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for _, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// Search calls f with each record of the archive that q wants, in
// order, as it is found, until f returns an error or ctx ends. A message
// asked for by its disposition is found when its outcome is read.
// It reads the whole archive. Damage does not stop it; the first *Fault is
// returned at the end.
func (a Folder) Search(ctx context.Context, q Query, f func(*Record, Pos) error) error {
	r, err := a.Reader()
	if !q.After.IsZero() && err == nil {
		// A record is archived after it was received, if clocks are sane:
		// an hour is the allowance for one that was set back.
		r, err = a.readerFrom(micros(q.After.Add(-time.Hour)))
	}
	if err != nil {
		return err
	}
	defer r.Close()
	m := q.matcher()
	var waiting map[ID]Pos // messages that wait for an outcome that is wanted
	if len(m.Dispositions) > 0 {
		waiting = make(map[ID]Pos)
	}
	n := 0
	return r.each(func(rec *Record, pos Pos) error {
		if n++; n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if waiting != nil && rec.Type == TypeOutcome {
			if at, ok := waiting[rec.Cites]; ok && m.wants(rec.Disposition) {
				delete(waiting, rec.Cites)
				msg, err := a.ReadAt(at)
				if err != nil { // compressed meanwhile, and so elsewhere
					if msg, at, err = a.Find(rec.Cites); err != nil {
						return err
					}
				}
				if err := f(msg, at); err != nil {
					return err
				}
			}
		}
		if !m.matches(rec) {
			return nil
		}
		if waiting != nil && rec.Type == TypeMessage {
			waiting[rec.ID] = pos
			return nil
		}
		return f(rec, pos)
	})
}

// ReadAt returns the record at a place that a reader of the same archive gave.
func (a Folder) ReadAt(at Pos) (*Record, error) {
	n := max(numberOf(at.File, segmentExt), numberOf(at.File, compressedExt))
	if n == 0 {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: "not a segment"}
	}
	w, err := openSegment(a.Dir, n)
	if err != nil {
		return nil, err
	}
	defer w.f.Close()
	if w.name != at.File {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: "segment was compressed meanwhile"}
	}
	if w.name == compressedName(n) {
		return a.readCompressed(w, at)
	}
	_, ok, bad, err := w.header()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &Fault{File: at.File, Reason: bad}
	}
	f, bad, err := w.frame(at.Offset)
	if err != nil {
		return nil, err
	}
	rec := new(Record)
	if f == nil || len(f) < frameHead+recordHead {
		if bad == "" {
			bad = "no record"
		}
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: bad}
	}
	if err := rec.decode(f[frameHead:], a.Keys); err != nil {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: err.Error()}
	}
	return rec, nil
}

// Follow calls f with each record from after the given seq on, and waits for
// further ones, until f returns an error or ctx ends (then it returns nil).
func (a Folder) Follow(ctx context.Context, after uint64, f func(*Record) error) error {
	r, err := a.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		rec, _, err := r.Next()
		switch {
		case err == nil:
			if rec.Seq > after {
				if err := f(rec); err != nil {
					return err
				}
			}
			if ctx.Err() == nil {
				continue
			}
			return nil
		case !errors.Is(err, io.EOF):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
