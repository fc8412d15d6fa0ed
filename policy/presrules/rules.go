package presrules

import (
	"fmt"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/xmltree"
)

// Namespaces of the documents.
const (
	nsPolicy = "urn:ietf:params:xml:ns:common-policy"
	nsRules  = "urn:ietf:params:xml:ns:pres-rules"
	nsOMA    = "urn:oma:xml:xdm:common-policy"
)

// Handling is the action sub-handling (RFC 5025 §3.2.1). Of several the highest
// holds.
type Handling uint8

const (
	Block Handling = iota
	Confirm
	PoliteBlock
	Allow
)

func (h Handling) String() string {
	return [...]string{"block", "confirm", "polite-block", "allow"}[h]
}

// MaxRules bounds the rules of one document.
const MaxRules = 1000

// Ruleset is one parsed document. It is never changed.
type Ruleset struct{ rules []rule }

type rule struct {
	id         string
	conditions []condition
	handling   Handling
	permits    permissions
}

// condition is one of a rule's; all must hold (RFC 4745 §6.2).
type condition interface {
	// holds also tells when that may change by itself, zero for never.
	holds(q *question) (bool, time.Time)
}

// question is what a ruleset is asked.
type question struct {
	watcher sip.AOR
	sphere  string
	now     time.Time
	others  bool // no rule with an identity matched
}

// Answer is what a ruleset says of a watcher.
type Answer struct {
	Handling Handling
	Class    string    // what the watcher sees: see Transform; Nothing if not Allow
	Rules    string    // ids of the rules that matched
	Until    time.Time // when the answer may change by itself, zero for never
}

// Parse reads a ruleset. The error is for its author.
func Parse(root *xmltree.Element) (*Ruleset, error) {
	if !root.Is(nsPolicy, "ruleset") {
		return nil, fmt.Errorf("document is %s, not a ruleset of %s", root.Name.Local, nsPolicy)
	}
	r := &Ruleset{}
	for e := range root.Children(nsPolicy, "rule") {
		if len(r.rules) == MaxRules {
			return nil, fmt.Errorf("more than %d rules", MaxRules)
		}
		id, _ := e.Attr("", "id")
		x := rule{id: id, permits: newPermissions()}
		if c := e.Child(nsPolicy, "conditions"); c != nil {
			for e := range c.Elements() {
				x.conditions = append(x.conditions, conditionOf(e))
			}
		}
		if a := e.Child(nsPolicy, "actions"); a != nil {
			if h := a.Child(nsRules, "sub-handling"); h != nil {
				x.handling = handlingOf(h.Text())
			}
		}
		if t := e.Child(nsPolicy, "transformations"); t != nil {
			x.permits.read(t)
		}
		r.rules = append(r.rules, x)
	}
	return r, nil
}

func handlingOf(s string) Handling {
	switch token(s) {
	case "allow":
		return Allow
	case "polite-block":
		return PoliteBlock
	case "confirm":
		return Confirm
	}
	return Block
}

// Judge combines the rules that match the watcher (RFC 4745 §10.2): the most
// permissive handling, and all that any of them lets see.
func (r *Ruleset) Judge(watcher sip.AOR, sphere string, now time.Time) Answer {
	q := question{watcher: watcher, sphere: sphere, now: now}
	a, matched := r.judge(&q)
	if !matched { // other-identity of OMA is for whom no rule names
		q.others = true
		a, _ = r.judge(&q)
	}
	return a
}

func (r *Ruleset) judge(q *question) (a Answer, matched bool) {
	sum := newPermissions()
	var ids []string
	for i := range r.rules {
		x := &r.rules[i]
		all := true
		for _, c := range x.conditions {
			ok, until := c.holds(q)
			if !until.IsZero() && (a.Until.IsZero() || until.Before(a.Until)) {
				a.Until = until
			}
			all = all && ok
		}
		if !all {
			continue
		}
		matched = true
		ids = append(ids, x.id)
		a.Handling = max(a.Handling, x.handling)
		sum.add(x.permits)
	}
	a.Rules = strings.Join(ids, ", ")
	a.Class = Nothing
	if a.Handling == Allow {
		a.Class = sum.class()
	}
	return a, matched
}
