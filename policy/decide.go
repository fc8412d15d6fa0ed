package policy

import (
	"strings"
	"time"

	"rollcall/sip"
)

// sides is a message with the groups of its parties as sets.
type sides struct {
	m        *Message
	from, to Groups
	agent    string // User-Agent in small letters
	kind     string // type of content in small letters, without parameters
}

func (r *Rules) set(groups []string) (g Groups) {
	for _, name := range groups {
		for i, known := range r.groups {
			if known == name {
				g[i/64] |= 1 << (i % 64)
			}
		}
	}
	return g
}

// Message decides about a message. What forbids goes before what flags, in
// this order: suspended accounts, barriers, domains, directions, clients,
// hours, content, lexica that block, rates; of each kind the first rule in the
// file that applies is the one that decided.
func (r *Rules) Message(m *Message) Decision {
	d := r.Company(m.ToDomain)
	if !r.named || d.refuse != nil {
		return d
	}
	s := &sides{m: m, from: r.set(m.From.Groups), to: r.set(m.To.Groups), agent: strings.ToLower(m.UserAgent)}
	s.kind, _, _ = strings.Cut(strings.ToLower(m.ContentType), ";")
	if s.kind = strings.TrimSpace(s.kind); s.kind == "" {
		s.kind = "text/plain" // RFC 3261 §20.15 leaves it open; clients without a type mean this
	}
	if rule, reason := r.forbids(s); rule != "" {
		d.rule, d.refuse = rule, sip.NewError(sip.StatusForbidden, reason)
		return d
	}
	if len(r.lexica) > 0 && len(m.Body) > 0 {
		words := split(m.Body)
		found := r.phrases.find(words, len(r.lexica))
		for i, l := range r.lexica {
			if found == nil && !r.looking { // nearly always
				break
			}
			if !l.scope.covers(s) || (found == nil || !found[i]) && !l.hits(m.Body, words) {
				continue
			}
			d.tell(l)
			if l.block {
				d.rule, d.refuse = l.name, sip.NewError(sip.StatusForbidden, "Message is not allowed by policy")
				return d
			}
			if d.flags != "" {
				d.flags += " "
			}
			d.flags += l.name
		}
	}
	for _, l := range r.rates {
		if l.scope.covers(s) && !l.take(m.From.AOR, m.At) {
			d.rule, d.refuse = l.name, sip.NewError(sip.StatusForbidden, "Too many messages")
			return d
		}
	}
	r.disclaim(&d, s)
	return d
}

// Company decides by the domain of the recipient alone, which is all there is while Names
// is false.
func (r *Rules) Company(to string) Decision {
	if r.domains[to] {
		return Decision{rule: "company", version: r.version}
	}
	if name, ok := r.peers[to]; ok {
		return Decision{rule: "peer " + name, version: r.version}
	}
	return Decision{rule: "foreign-domain", version: r.version, refuse: sip.NewError(sip.StatusForbidden, "Domain is not served and no peer")}
}

func (r *Rules) forbids(s *sides) (rule, reason string) {
	m := s.m
	for i := range r.suspended {
		if l := &r.suspended[i]; l.accounts[m.From.AOR] || l.accounts[m.To.AOR] {
			return l.name, "Account is suspended"
		}
	}
	if b := r.barrier(s); b != "" {
		return b, "Information barrier"
	}
	outside := m.ToDomain
	if r.domains[outside] {
		outside = m.FromDomain
	}
	ours := r.domains[outside]
	for i := range r.domainRules {
		l := &r.domainRules[i]
		if !ours && l.scope.covers(s) && (l.block[outside] || len(l.allow) > 0 && !l.allow[outside]) {
			return l.name, "Domain is not allowed by policy"
		}
	}
	way := "internal"
	switch {
	case !r.domains[m.ToDomain]:
		way = "out"
	case !r.domains[m.FromDomain]:
		way = "in"
	}
	for i := range r.directions {
		l := &r.directions[i]
		for _, d := range l.deny {
			if d == way && l.scope.covers(s) {
				return l.name, "Direction is not allowed by policy"
			}
		}
	}
	for i := range r.clients {
		if l := &r.clients[i]; l.scope.covers(s) && !l.allows(s.agent) {
			return l.name, "Client is not allowed by policy"
		}
	}
	for i := range r.hours {
		if l := &r.hours[i]; l.scope.covers(s) && !l.open(m.At) {
			return l.name, "Not within the hours of the policy"
		}
	}
	for i := range r.contents {
		l := &r.contents[i]
		if !l.scope.covers(s) {
			continue
		}
		if l.most > 0 && len(m.Body) > l.most {
			return l.name, "Message is larger than the policy allows"
		}
		if !l.allows(s.kind) {
			return l.name, "Content type is not allowed by policy"
		}
	}
	return "", ""
}

// barrier returns the name of the barrier that stands between two parties.
func (r *Rules) barrier(s *sides) string {
	for i := range r.barriers {
		b := &r.barriers[i]
		if (b.a.meets(&s.from) && b.b.meets(&s.to) || b.b.meets(&s.from) && b.a.meets(&s.to)) && !b.except[s.m.From.AOR] && !b.except[s.m.To.AOR] {
			return b.name
		}
	}
	return ""
}

// Between returns the name of the information barrier or suspension that keeps
// two accounts apart in everything they could learn of each other, or "".
func (r *Rules) Between(a, b Party) string {
	for i := range r.suspended {
		if l := &r.suspended[i]; l.accounts[a.AOR] || l.accounts[b.AOR] {
			return l.name
		}
	}
	if len(r.barriers) == 0 || a.AOR == b.AOR {
		return ""
	}
	return r.barrier(&sides{m: &Message{From: a, To: b}, from: r.set(a.Groups), to: r.set(b.Groups)})
}

// Separates reports whether Between can say anything.
func (r *Rules) Separates() bool { return len(r.barriers) > 0 || len(r.suspended) > 0 }

func (l *clientRule) allows(agent string) bool {
	for _, p := range l.deny {
		if strings.HasPrefix(agent, p) {
			return false
		}
	}
	if len(l.allow) == 0 {
		return true
	}
	for _, p := range l.allow {
		if strings.HasPrefix(agent, p) {
			return true
		}
	}
	return false
}

func (l *hoursRule) open(at time.Time) bool {
	at = at.In(l.zone)
	day := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	return l.days&(1<<at.Weekday()) != 0 && l.from <= day && day < l.to
}

func (l *contentRule) allows(kind string) bool {
	is := func(p string) bool {
		if major, ok := strings.CutSuffix(p, "/*"); ok {
			return strings.HasPrefix(kind, major+"/")
		}
		return p == kind
	}
	for _, p := range l.deny {
		if is(p) {
			return false
		}
	}
	if len(l.allow) == 0 {
		return true
	}
	for _, p := range l.allow {
		if is(p) {
			return true
		}
	}
	return false
}

// maxCounted bounds the accounts whose messages a rate limit counts.
const maxCounted = 1 << 17

// take counts a message of an account.
func (l *rateRule) take(aor string, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.Sub(l.since) >= l.per || at.Before(l.since) {
		l.since = at
		clear(l.seen)
	}
	n := l.seen[aor]
	if n >= l.most {
		return false
	}
	if n > 0 || len(l.seen) < maxCounted {
		l.seen[strings.Clone(aor)] = n + 1
	}
	return true
}
