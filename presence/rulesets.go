package presence

import (
	"context"
	"sync"
	"time"

	"rollcall/event"
	"rollcall/policy/presrules"
	"rollcall/sip"
	"rollcall/xmltree"
)

// RuleDocument is an account's presence rules as they are stored (RFC 5025 §9), in one
// document or several. The zero value says that there are none.
type RuleDocument struct {
	ETag  string // of all of them
	Trees []*xmltree.Element
}

// RuleSource keeps the rules of accounts.
type RuleSource interface {
	// Rules returns those of an account.
	Rules(ctx context.Context, account sip.AOR) (RuleDocument, error)
	// InList tells whether a watcher is in the list of the account that an
	// external-list condition of its rules names.
	InList(ctx context.Context, account sip.AOR, anchor string, watcher sip.AOR) (bool, error)
	// Observe has f told whose rules, or lists, changed.
	Observe(f func(account sip.AOR))
}

// Policy holds for accounts without rules of their own.
type Policy struct {
	Colleague  func(watcher sip.AOR) bool // of the company
	Colleagues presrules.Handling
	Others     presrules.Handling
}

// RuleSets judge watchers by the rules of the account that they watch, or by the
// policy for those who have none.
type RuleSets struct {
	source RuleSource
	policy Policy

	spheres spheres

	mu     sync.Mutex
	parsed map[sip.AOR]parsedRules
}

type parsedRules struct {
	etag  string
	rules *presrules.Ruleset
	err   error
}

// maxParsed bounds the rules kept parsed.
const maxParsed = 10_000

var _ Rules = (*RuleSets)(nil)
var _ Transformer = (*RuleSets)(nil)

// NewRuleSets returns the judge over a source of rules.
func NewRuleSets(source RuleSource, p Policy) *RuleSets { return &RuleSets{source: source, policy: p} }

// general is the verdict of the policy.
func (p *Policy) general(watcher sip.AOR) event.Verdict {
	h, who := p.Others, "others"
	if p.Colleague(watcher) {
		h, who = p.Colleagues, "colleagues"
	}
	v := event.Verdict{Rule: h.String() + " by policy for " + who}
	switch h {
	case presrules.Allow:
		v.Standing = event.Active
	case presrules.PoliteBlock:
		v.Standing, v.Class = event.Active, ClassOffline
	case presrules.Confirm:
		v.Standing = event.Pending
	}
	return v
}

// Judge implements Rules. The account itself sees everything.
func (r *RuleSets) Judge(ctx context.Context, resource, watcher sip.AOR) (event.Verdict, error) {
	if resource == watcher {
		return event.Verdict{Standing: event.Active, Rule: "own"}, nil
	}
	doc, err := r.source.Rules(ctx, resource)
	if err != nil {
		return event.Verdict{}, err
	}
	if len(doc.Trees) == 0 {
		return r.policy.general(watcher), nil
	}
	rules, err := r.rules(resource, doc)
	if err != nil {
		return event.Verdict{Standing: event.Refused, Rule: "rules can't be read: " + err.Error()}, nil //nolint:nilerr // such a document hides its owner
	}
	var sphere string
	if rules.Spheres() {
		if sphere, err = r.spheres.ask(ctx, resource); err != nil {
			return event.Verdict{}, err
		}
	}
	a := rules.Judge(watcher, sphere, time.Now(), func(anchor string) bool {
		in, failed := r.source.InList(ctx, resource, anchor, watcher)
		if failed != nil {
			err = failed
		}
		return in && failed == nil
	})
	if err != nil { // a list that cannot be read now might have allowed
		return event.Verdict{}, err
	}
	v := event.Verdict{Rule: a.Handling.String() + " by " + a.Rules, Until: a.Until}
	if again := time.Now().Add(sphereEvery); rules.Spheres() && (v.Until.IsZero() || v.Until.After(again)) {
		v.Until = again
	}
	switch a.Handling {
	case presrules.Allow:
		v.Standing, v.Class = event.Active, a.Class
	case presrules.PoliteBlock:
		v.Standing, v.Class = event.Active, ClassOffline
	case presrules.Confirm:
		v.Standing = event.Pending
	}
	return v, nil
}

func (r *RuleSets) rules(account sip.AOR, doc RuleDocument) (*presrules.Ruleset, error) {
	r.mu.Lock()
	p, ok := r.parsed[account]
	r.mu.Unlock()
	if ok && p.etag == doc.ETag {
		return p.rules, p.err
	}
	p = parsedRules{etag: doc.ETag}
	p.rules, p.err = presrules.Parse(doc.Trees...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parsed == nil || len(r.parsed) >= maxParsed {
		r.parsed = map[sip.AOR]parsedRules{}
	}
	r.parsed[account.Clone()] = p
	return p.rules, p.err
}

// Transform implements Transformer.
func (r *RuleSets) Transform(class string, doc *xmltree.Element) *xmltree.Element {
	return presrules.Transform(class, doc)
}

// Observe has f told whose rules changed, or the sphere that they ask for.
func (r *RuleSets) Observe(f func(sip.AOR)) {
	r.spheres.observe(f)
	r.source.Observe(f)
}
