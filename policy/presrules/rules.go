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

// MaxRules bounds the rules of one account.
const MaxRules = 1000

// Ruleset is what the documents of an account say together. It is never changed.
type Ruleset struct {
	rules   []rule
	spheres bool
}

// Spheres reports whether a rule asks for the sphere of the account.
func (r *Ruleset) Spheres() bool { return r.spheres }

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
	level   level
	inList  func(anchor string) bool
}

// level is which conditions about the watcher may hold. OMA has an order of them:
// whom a rule names is not judged by lists, and who is in a list not as other.
type level uint8

const (
	byName level = iota
	byList
	byOther
)

// concerns is the level of a rule, and whether it has a condition about the watcher.
func (x *rule) concerns() (l level, ok bool) {
	for _, c := range x.conditions {
		switch c.(type) {
		case identity:
			ok = true
		case lists:
			l, ok = max(l, byList), true
		case others:
			l, ok = byOther, true
		}
	}
	return l, ok
}

// Answer is what a ruleset says of a watcher.
type Answer struct {
	Handling Handling
	Class    string    // what the watcher sees: see Transform; Nothing if not Allow
	Rules    string    // ids of the rules that matched
	Until    time.Time // when the answer may change by itself, zero for never
}

// Parse reads the rulesets of an account: all rules count, wherever they stand (RFC
// 4745 §10.1). The error is for their author.
func Parse(roots ...*xmltree.Element) (*Ruleset, error) {
	r := &Ruleset{}
	for _, root := range roots {
		if err := r.read(root); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Ruleset) read(root *xmltree.Element) error {
	if !root.Is(nsPolicy, "ruleset") {
		return fmt.Errorf("document is %s, not a ruleset of %s", root.Name.Local, nsPolicy)
	}
	for e := range root.Children(nsPolicy, "rule") {
		if len(r.rules) == MaxRules {
			return fmt.Errorf("more than %d rules", MaxRules)
		}
		id, _ := e.Attr("", "id")
		x := rule{id: id, permits: newPermissions()}
		if c := e.Child(nsPolicy, "conditions"); c != nil {
			for e := range c.Elements() {
				condition := conditionOf(e)
				if _, ok := condition.(sphere); ok {
					r.spheres = true
				}
				x.conditions = append(x.conditions, condition)
			}
		}
		if a := e.Child(nsPolicy, "actions"); a != nil {
			if h := a.Child(nsRules, "sub-handling"); h != nil {
				x.handling = HandlingOf(h.Text())
			}
		}
		if t := e.Child(nsPolicy, "transformations"); t != nil {
			x.permits.read(t)
		}
		r.rules = append(r.rules, x)
	}
	return nil
}

// HandlingOf reads the value of sub-handling; what is not known blocks.
func HandlingOf(s string) Handling {
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
//
// InList tells whether the watcher is in the list that an external-list of OMA
// names; nil: in none.
func (r *Ruleset) Judge(watcher sip.AOR, sphere string, now time.Time, inList func(anchor string) bool) Answer {
	q := question{watcher: watcher, sphere: sphere, now: now, inList: inList}
	for {
		a, matched := r.judge(&q)
		if matched || q.level == byOther {
			return a
		}
		q.level++
	}
}

// judge asks the rules of a level, and those that are for everybody. Matched tells
// that one of the former matched.
func (r *Ruleset) judge(q *question) (a Answer, matched bool) {
	sum := newPermissions()
	var ids []string
	for i := range r.rules {
		x := &r.rules[i]
		l, about := x.concerns()
		if about && l != q.level {
			continue
		}
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
		matched = matched || about
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
