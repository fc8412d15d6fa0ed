package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rollcall/sip"
)

// compiler turns a file into rules, and collects what is wrong with it.
type compiler struct {
	path   string
	text   []byte
	zone   *time.Location
	rules  *Rules
	names  map[string]bool
	faults Faults

	phrases, patterns int
}

func (c *compiler) fault(kind string, n int, format string, args ...any) {
	c.faults = append(c.faults, Fault{c.path, c.line(kind, n), kind + ": " + fmt.Sprintf(format, args...)})
}

var ruleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// name checks the name of a rule.
func (c *compiler) name(kind string, n int, name string) string {
	switch {
	case !ruleName.MatchString(name):
		c.fault(kind, n, "name %q: give each rule a name of letters, digits, dots and dashes, up to 64", name)
	case c.names[name]:
		c.fault(kind, n, "name %q stands twice; records name rules, so each needs its own", name)
	case len(c.names) >= maxRules:
		c.fault(kind, n, "more than %d rules", maxRules)
	}
	c.names[name] = true
	return name
}

// group returns the bit of a group.
func (c *compiler) group(kind string, n int, name string) Groups {
	var g Groups
	i := slices.Index(c.rules.groups, name)
	switch {
	case name == "":
		c.fault(kind, n, "a group without a name")
		return g
	case i < 0 && len(c.rules.groups) >= maxGroups:
		c.fault(kind, n, "more than %d groups are named", maxGroups)
		return g
	case i < 0:
		i = len(c.rules.groups)
		c.rules.groups = append(c.rules.groups, name)
	}
	g[i/64] |= 1 << (i % 64)
	return g
}

func (c *compiler) scope(kind string, n int, s scope) (out compiledScope) {
	for _, g := range s.Groups {
		out.groups.add(c.group(kind, n, g))
	}
	out.units = s.Units
	out.all = len(s.Groups) == 0 && len(s.Units) == 0
	return out
}

func (c *compiler) compile(f *file) {
	r := c.rules
	for n, s := range f.Suspended {
		rule := suspendedRule{name: c.name("suspended", n, s.Name), accounts: map[string]bool{}}
		if len(s.Accounts) == 0 {
			c.fault("suspended", n, "%s names no accounts", s.Name)
		}
		for _, a := range s.Accounts {
			rule.accounts[c.aor("suspended", n, a)] = true
		}
		r.suspended = append(r.suspended, rule)
	}
	for n, b := range f.Barriers {
		rule := barrierRule{name: c.name("barrier", n, b.Name), except: map[string]bool{}}
		if len(b.Between) != 2 || b.Between[0] == b.Between[1] {
			c.fault("barrier", n, `%s: write between = ["research", "trading"] with two groups`, b.Name)
			continue
		}
		rule.a, rule.b = c.group("barrier", n, b.Between[0]), c.group("barrier", n, b.Between[1])
		for _, a := range b.Except {
			rule.except[c.aor("barrier", n, a)] = true
		}
		r.barriers = append(r.barriers, rule)
	}
	for n, d := range f.Domains {
		rule := domainRule{name: c.name("domains", n, d.Name), scope: c.scope("domains", n, d.scope), allow: lowerSet(d.Allow), block: lowerSet(d.Block)}
		if len(d.Allow) == 0 && len(d.Block) == 0 {
			c.fault("domains", n, "%s: write allow or block", d.Name)
		}
		r.domainRules = append(r.domainRules, rule)
	}
	for n, d := range f.Directions {
		rule := directionRule{name: c.name("direction", n, d.Name), scope: c.scope("direction", n, d.scope)}
		for _, name := range d.Deny {
			if !slices.Contains([]string{"internal", "in", "out"}, name) {
				c.fault("direction", n, `%s: deny has %q; it takes "internal", "in" and "out"`, d.Name, name)
			}
		}
		if rule.deny = d.Deny; len(d.Deny) == 0 {
			c.fault("direction", n, "%s denies nothing", d.Name)
		}
		r.directions = append(r.directions, rule)
	}
	for n, cl := range f.Clients {
		rule := clientRule{name: c.name("client", n, cl.Name), scope: c.scope("client", n, cl.scope), allow: lowerAll(cl.Allow), deny: lowerAll(cl.Deny)}
		if len(cl.Allow) == 0 && len(cl.Deny) == 0 {
			c.fault("client", n, "%s: write allow or deny, with beginnings of User-Agent", cl.Name)
		}
		r.clients = append(r.clients, rule)
	}
	for n, h := range f.Hours {
		c.hours(n, &h)
	}
	for n, t := range f.Rates {
		rule := &rateRule{name: c.name("rate", n, t.Name), scope: c.scope("rate", n, t.scope), most: t.Messages, seen: map[string]int{}}
		per, err := time.ParseDuration(t.Per)
		if err != nil || per < time.Second || per > 24*time.Hour || t.Messages < 1 {
			c.fault("rate", n, `%s: write messages = 60 and per = "1m", from a second to a day`, t.Name)
		}
		rule.per = per
		r.rates = append(r.rates, rule)
	}
	for n, ct := range f.Contents {
		rule := contentRule{name: c.name("content", n, ct.Name), scope: c.scope("content", n, ct.scope), allow: lowerAll(ct.Allow), deny: lowerAll(ct.Deny), most: ct.MaxBytes}
		if len(ct.Allow) == 0 && len(ct.Deny) == 0 && ct.MaxBytes == 0 || ct.MaxBytes < 0 {
			c.fault("content", n, `%s: write allow or deny with types such as "text/plain" or "image/*", or max_bytes`, ct.Name)
		}
		r.contents = append(r.contents, rule)
	}
	for n, l := range f.Lexica {
		c.lexicon(n, &l)
	}
	for n, d := range f.Disclaimers {
		c.disclaimer(n, &d)
	}
	r.named = true
}

func (c *compiler) aor(kind string, n int, text string) string {
	a, err := sip.ParseAORString(text)
	if err != nil {
		c.fault(kind, n, "%q is no address of record; write sip:alice@example.com", text)
	}
	return a.String()
}

// ours reads an address of record of the company.
func (c *compiler) ours(kind string, n int, text string) sip.AOR {
	a, err := sip.ParseAORString(text)
	if err != nil || !c.rules.Ours(a.Domain()) {
		c.fault(kind, n, "%q is no address of the company's domains; write sip:alice@example.com", text)
	}
	return a
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (c *compiler) hours(n int, h *hours) {
	rule := hoursRule{name: c.name("hours", n, h.Name), scope: c.scope("hours", n, h.scope), zone: c.zone}
	for _, d := range h.Days {
		i := slices.Index(weekdays, d)
		if i < 0 {
			c.fault("hours", n, "%s: day %q; write %s", h.Name, d, strings.Join(weekdays, ", "))
			continue
		}
		rule.days |= 1 << i
	}
	if len(h.Days) == 0 {
		rule.days = 1<<7 - 1
	}
	for _, t := range []struct {
		text string
		to   *time.Duration
	}{{h.From, &rule.from}, {h.To, &rule.to}} {
		at, err := time.Parse("15:04", t.text)
		if err != nil {
			c.fault("hours", n, `%s: write from = "08:00" and to = "18:30"`, h.Name)
			return
		}
		*t.to = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	if rule.from >= rule.to {
		c.fault("hours", n, "%s: from is not before to; write two rules for a night", h.Name)
	}
	c.rules.hours = append(c.rules.hours, rule)
}

func (c *compiler) lexicon(n int, l *lexicon) {
	rule := &lexiconRule{name: c.name("lexicon", n, l.Name), scope: c.scope("lexicon", n, l.scope), block: l.Action == "block",
		words: map[string][]int{}}
	if !slices.Contains([]string{"block", "flag", "notify"}, l.Action) {
		c.fault("lexicon", n, `%s: action is "block", "flag" or "notify"`, l.Name)
	}
	if len(l.Notify) > maxNotified || l.Action == "notify" && len(l.Notify) == 0 {
		c.fault("lexicon", n, `%s: write notify = ["sip:compliance@example.com"] with one to %d accounts`, l.Name, maxNotified)
	}
	for _, a := range l.Notify {
		to := c.ours("lexicon", n, a)
		rule.notify = append(rule.notify, to)
	}
	if len(l.Phrases)+len(l.Patterns)+len(l.Near) == 0 {
		c.fault("lexicon", n, "%s has no phrases, patterns or near", l.Name)
	}
	if c.phrases += len(l.Phrases); c.phrases > maxPhrases {
		c.fault("lexicon", n, "more than %d phrases in all", maxPhrases)
		return
	}
	for _, p := range l.Phrases {
		words := split(p)
		if len(words) == 0 {
			c.fault("lexicon", n, "%s: the phrase %q has neither letters nor digits", l.Name, p)
			continue
		}
		if len(words) > maxPhrase {
			c.fault("lexicon", n, "%s: a phrase has more than %d words", l.Name, maxPhrase)
			continue
		}
		c.rules.phrases.add(words, len(c.rules.lexica))
	}
	if c.patterns += len(l.Patterns); c.patterns > maxPatterns {
		c.fault("lexicon", n, "more than %d patterns in all; use phrases, of which there may be many", maxPatterns)
		return
	}
	for _, p := range l.Patterns {
		if len(p) > maxPattern {
			c.fault("lexicon", n, "%s: a pattern has more than %d bytes", l.Name, maxPattern)
			continue
		}
		re, err := regexp.Compile(p)
		if err != nil {
			c.fault("lexicon", n, "%s: pattern %q: %v", l.Name, p, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			continue
		}
		rule.patterns = append(rule.patterns, re)
	}
	for i, near := range l.Near {
		if len(near.Words) != 2 || near.Within < 1 || near.Within > maxNear {
			c.fault("lexicon", n, `%s: write near = [{ words = ["buy", "before"], within = 5 }], with 1 to %d words between`, l.Name, maxNear)
			continue
		}
		pair := nearRule{within: near.Within}
		for j, w := range near.Words {
			words := split(w)
			if len(words) != 1 {
				c.fault("lexicon", n, "%s: %q is not one word", l.Name, w)
				continue
			}
			pair.words[j] = words[0]
			rule.words[words[0]] = append(rule.words[words[0]], i)
		}
		rule.near = append(rule.near, pair)
	}
	c.rules.looking = c.rules.looking || len(rule.patterns)+len(rule.near) > 0
	c.rules.lexica = append(c.rules.lexica, rule)
}

func lowerAll(in []string) (out []string) {
	for _, s := range in {
		out = append(out, strings.ToLower(s))
	}
	return out
}

func lowerSet(in []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range in {
		m[strings.ToLower(s)] = true
	}
	return m
}
