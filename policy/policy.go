package policy

import (
	"strings"

	"rollcall/sip"
)

// Decision says whether a request may pass and which rule said so. Only Rules
// make valid ones.
type Decision struct {
	rule   string
	refuse *sip.Error
}

// Valid reports that rules made this decision.
func (d Decision) Valid() bool { return d.rule != "" }

// Refusal returns the answer to give, nil when the request is allowed.
func (d Decision) Refusal() *sip.Error { return d.refuse }

// Rule names the rule that decided.
func (d Decision) Rule() string { return d.rule }

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

// Rules are immutable; a reload makes new ones.
type Rules struct {
	domains map[string]bool
	peers   map[string]string // domain → name
}

// New makes the rules of a company with these domains and peers (domain → name).
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

// Message decides about a MESSAGE between two addresses of record.
func (r *Rules) Message(_, to sip.AOR) Decision {
	domain := to.Domain()
	if r.domains[domain] {
		return Decision{rule: "company"}
	}
	if name, ok := r.peers[domain]; ok {
		return Decision{rule: "peer " + name}
	}
	return Decision{rule: "foreign-domain", refuse: sip.NewError(sip.StatusForbidden, "Domain is not served and no peer")}
}
