package policy

import (
	"strings"
	"sync"
	"time"

	"rollcall/sip"
)

// Decision says whether a request may pass and which rule said so. Only Rules
// make valid ones.
type Decision struct {
	rule    string
	version string
	flags   string
	refuse  *sip.Error
	notices []Notice
}

// Valid reports that rules made this decision.
func (d Decision) Valid() bool { return d.rule != "" }

// Refusal returns the answer to give, nil when the request is allowed.
func (d Decision) Refusal() *sip.Error { return d.refuse }

// Rule names the rule that decided.
func (d Decision) Rule() string { return d.rule }

// Version names the rules that decided: "" when there is no policy file.
func (d Decision) Version() string { return d.version }

// Flags names the lexica that want a review, parted by spaces.
func (d Decision) Flags() string { return d.flags }

// Notices are the messages of the company's own that the rules want sent.
func (d Decision) Notices() []Notice { return d.notices }

// String returns "allow" or "refuse", as records have it.
func (d Decision) String() string {
	switch {
	case !d.Valid():
		return ""
	case d.refuse != nil:
		return "refuse"
	}
	return "allow"
}

// Groups is a set of the groups that the rules name.
type Groups [maxGroups / 64]uint64

func (g *Groups) add(h Groups) {
	for i := range g {
		g[i] |= h[i]
	}
}

func (g *Groups) meets(h *Groups) bool {
	for i := range g {
		if g[i]&h[i] != 0 {
			return true
		}
	}
	return false
}

// Party is one side of a message: an account with its groups and business
// unit, or a stranger without.
type Party struct {
	AOR    string
	Unit   string
	Groups []string
}

// Message is what rules look at.
type Message struct {
	From, To    Party
	ToDomain    string
	FromDomain  string
	UserAgent   string
	ContentType string
	Body        string
	At          time.Time
}

// Rules are immutable but for the counts of rate limits; a reload makes new
// ones. They may be used by many goroutines.
type Rules struct {
	domains map[string]bool
	peers   map[string]string // domain → name

	named       bool // there is a policy file
	version     string
	text        string
	groups      []string
	suspended   []suspendedRule
	barriers    []barrierRule
	domainRules []domainRule
	directions  []directionRule
	clients     []clientRule
	hours       []hoursRule
	rates       []*rateRule
	contents    []contentRule
	lexica      []*lexiconRule
	phrases     phraseNode // of all lexica
	looking     bool       // a lexicon has more than phrases
	disclaimers []disclaimerRule
}

type compiledScope struct {
	all    bool
	groups Groups
	units  []string
}

// covers reports whether a rule with this scope is for a message of the two.
func (s *compiledScope) covers(p *sides) bool {
	if s.all || s.groups.meets(&p.from) || s.groups.meets(&p.to) {
		return true
	}
	for _, u := range s.units {
		if u == p.m.From.Unit || u == p.m.To.Unit {
			return true
		}
	}
	return false
}

type suspendedRule struct {
	name     string
	accounts map[string]bool
}

type barrierRule struct {
	name   string
	a, b   Groups
	except map[string]bool
}

type domainRule struct {
	name         string
	scope        compiledScope
	allow, block map[string]bool
}

type directionRule struct {
	name  string
	scope compiledScope
	deny  []string
}

type clientRule struct {
	name        string
	scope       compiledScope
	allow, deny []string
}

type hoursRule struct {
	name     string
	scope    compiledScope
	zone     *time.Location
	days     uint8 // a bit for each, Sunday first
	from, to time.Duration
}

type rateRule struct {
	name  string
	scope compiledScope
	most  int
	per   time.Duration

	mu    sync.Mutex
	since time.Time
	seen  map[string]int // messages of each account since then
}

type contentRule struct {
	name        string
	scope       compiledScope
	allow, deny []string
	most        int
}

// New makes the rules of a company with these domains and peers (domain →
// name), without a policy file.
func New(domains []string, peers map[string]string) *Rules {
	r := &Rules{domains: map[string]bool{}, peers: map[string]string{}}
	for _, d := range domains {
		r.domains[strings.ToLower(d)] = true
	}
	for d, name := range peers {
		r.peers[strings.ToLower(d)] = name
	}
	return r
}

// Ours reports whether a domain (lower case) is the company's.
func (r *Rules) Ours(domain string) bool { return r.domains[domain] }

// Version names the rules; "" without a policy file.
func (r *Rules) Version() string { return r.version }

// Text is the text that the rules were made of, TOML; "" without a policy file.
func (r *Rules) Text() string { return r.text }

// Names reports whether there is a policy file, and so whether the fields of a
// Message but the domains are looked at.
func (r *Rules) Names() bool { return r.named }
