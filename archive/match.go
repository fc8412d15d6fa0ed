package archive

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Matches reports whether the query wants the record, as far as the record
// itself tells: not by the outcomes and comments of messages, which are in later records.
func (q *Query) Matches(r *Record) bool {
	m := q.matcher()
	return m.matches(r)
}

// matcher is a Query made ready.
type matcher struct {
	Query
	words                []string
	from, to, with       []string
	units, groups, flags []string
	conversations        [][]string
	comment              bool
}

func (q *Query) matcher() *matcher {
	m := &matcher{Query: *q}
	for _, t := range q.Text {
		if w := Words(t); w != "" {
			m.words = append(m.words, " "+w+" ")
		}
	}
	m.from, m.to, m.with = each(q.From, Party), each(q.To, Party), each(q.With, Party)
	m.units, m.groups, m.flags = each(q.Units, strings.ToLower), each(q.Groups, strings.ToLower), each(q.Flags, strings.ToLower)
	for _, c := range q.Conversations {
		m.conversations = append(m.conversations, each(c, Party))
	}
	m.comment = slices.Contains(q.Has, HasComment)
	return m
}

func each(in []string, f func(string) string) (out []string) {
	for _, s := range in {
		out = append(out, f(s))
	}
	return out
}

// matches checks everything but the dispositions and comments of messages.
func (m *matcher) matches(r *Record) bool {
	if m.Type != "all" && r.Type.String() != cmp.Or(m.Type, "message") {
		return false
	}
	at := r.Time()
	if !m.After.IsZero() && at.Before(m.After) || !m.Before.IsZero() && !at.Before(m.Before) {
		return false
	}
	for _, p := range m.from {
		if !isParty(r.From, p) {
			return false
		}
	}
	for _, p := range m.to {
		if !isParty(r.To, p) && !isParty(r.Alias, p) {
			return false
		}
	}
	for _, p := range m.with {
		if !isParty(r.From, p) && !isParty(r.To, p) && !isParty(r.Alias, p) {
			return false
		}
	}
	for _, c := range m.conversations {
		from := slices.ContainsFunc(c, func(p string) bool { return isParty(r.From, p) })
		to := slices.ContainsFunc(c, func(p string) bool { return isParty(r.To, p) || isParty(r.Alias, p) })
		if !from && !to || len(c) > 1 && !(from && to) {
			return false
		}
	}
	if !allIn(m.units, r.Units()) || !allIn(m.groups, r.Groups()) || !allIn(m.flags, r.FlagNames()) {
		return false
	}
	if r.Type != TypeMessage && (len(m.Dispositions) > 0 && !m.wants(r.Disposition) || m.comment) {
		return false
	}
	if len(m.Has) > 0 {
		has := r.Has()
		for _, h := range m.Has {
			if h != HasComment && !slices.Contains(has, h) {
				return false
			}
		}
	}
	if len(m.words) == 0 {
		return true
	}
	var text strings.Builder
	for _, t := range r.Texts() {
		text.WriteString(" " + Words(t) + " \n")
	}
	for _, w := range m.words {
		if !strings.Contains(text.String(), w) {
			return false
		}
	}
	return true
}

func allIn(want, have []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.ToLower(h) == w }) {
			return false
		}
	}
	return true
}

func (m *matcher) wants(d Disposition) bool { return slices.Contains(m.Dispositions, d) }

// isParty reports whether want, folded, names the party: the AOR, its user or its domain.
func isParty(aor, want string) bool {
	aor = Party(aor)
	if aor == "" {
		return false
	}
	user, domain, ok := strings.Cut(aor, "@")
	return aor == want || ok && (user == want || domain == want)
}

// Party returns a name of a party as a search compares it: small, without scheme.
func Party(s string) string {
	s = strings.ToLower(s)
	s, _ = strings.CutPrefix(s, "sip:")
	s, _ = strings.CutPrefix(s, "sips:")
	return s
}

// PartyNames returns the names by which a search finds an AOR: itself, its user and its domain.
func PartyNames(aor string) []string {
	aor = Party(aor)
	if aor == "" {
		return nil
	}
	if user, domain, ok := strings.Cut(aor, "@"); ok {
		return []string{aor, user, domain}
	}
	return []string{aor}
}

// Texts are the parts of the record in which a search looks for words. A
// phrase stands in one of them. What is sealed or erased has none.
func (r *Record) Texts() []string {
	if r.Type == TypeAct {
		return []string{r.Actor, r.Action, r.Object, r.Reason}
	}
	return []string{r.Subject, r.FromName, string(r.Body())}
}

// Units are the business units of the parties at that time, those that are known.
func (r *Record) Units() []string { return nonEmpty(r.FromUnit, r.ToUnit) }

// Groups are the groups that either party was in at that time.
func (r *Record) Groups() []string {
	return nonEmpty(append(strings.Split(r.FromGroups, ";"), strings.Split(r.ToGroups, ";")...)...)
}

// FlagNames are the rules that want a review of the record.
func (r *Record) FlagNames() []string { return strings.Fields(r.Flags) }

func nonEmpty(list ...string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// Has returns those of HasNames that can be told from the record itself.
func (r *Record) Has() (list []string) {
	if r.attachment() {
		list = append(list, HasAttachment)
	}
	if r.Type == TypeMessage && hasLink(r.Body()) {
		list = append(list, HasLink)
	}
	if r.Flags != "" {
		list = append(list, HasFlag)
	}
	return list
}

// attachment reports whether the body is something else than text, or than
// what clients tell each other. In a message/cpim body (RFC 3862) the type is that of what it wraps.
func (r *Record) attachment() bool {
	if r.Type != TypeMessage || r.Size == 0 && len(r.Body()) == 0 {
		return false
	}
	kind := mediaType(r.ContentType)
	if kind == "message/cpim" {
		_, inner, _ := bytes.Cut(r.Body(), []byte("\r\n\r\n"))
		head, _, _ := bytes.Cut(inner, []byte("\r\n\r\n"))
		kind = ""
		for line := range bytes.Lines(head) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(bytes.TrimSpace(name)), "Content-Type") {
				kind = mediaType(string(value))
			}
		}
	}
	switch kind {
	case "", "message/cpim", "message/imdn+xml", "application/im-iscomposing+xml", "multipart/alternative":
		return false
	}
	return !strings.HasPrefix(kind, "text/")
}

func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

// hasLink reports whether a web address stands in b.
func hasLink(b []byte) bool {
	for rest := b; ; {
		i := bytes.Index(rest, []byte("://"))
		if i < 0 {
			break
		}
		if followed(rest[i+3:]) && (endsFold(rest[:i], "http") || endsFold(rest[:i], "https")) {
			return true
		}
		rest = rest[i+3:]
	}
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], '.')
		if i < 0 {
			return false
		}
		at += i
		if endsFold(b[:at], "www") && (at == 3 || !isAlnum(b[at-4])) && followed(b[at+1:]) {
			return true
		}
	}
}

func endsFold(b []byte, end string) bool {
	return len(b) >= len(end) && strings.EqualFold(string(b[len(b)-len(end):]), end)
}

// followed reports whether a name can begin with b.
func followed(b []byte) bool { return len(b) > 0 && (isAlnum(b[0]) || b[0] >= 0x80 || b[0] == '[') }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
