package presence

import (
	"context"
	"strings"
	"sync"
	"time"

	"rollcall/sip"
	"rollcall/xmltree"
)

// sphereEvery is how often a verdict that a sphere decided is looked at again. When a
// publication changes the sphere, all are judged at once; this is for one that expires,
// or whose time is over.
const sphereEvery = time.Minute

// spheres knows in which sphere accounts were when their rules asked for it: those
// alone, so there are few.
type spheres struct {
	of func(ctx context.Context, account sip.AOR) (string, error)

	mu        sync.Mutex
	asked     map[sip.AOR]askedSphere
	observers []func(sip.AOR)
}

// askedSphere is a sphere as it was when rules asked for it.
type askedSphere struct {
	value string
	told  uint64 // how often it was published since: a reading that began before is old
}

// maxAsked bounds the accounts whose sphere is remembered; of one that is forgotten a
// change takes effect within sphereEvery.
const maxAsked = 1 << 16

func (x *spheres) observe(f func(sip.AOR)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.observers = append(x.observers, f)
}

// ask returns the sphere of an account, "" when it is not defined.
func (x *spheres) ask(ctx context.Context, account sip.AOR) (string, error) {
	if x.of == nil {
		return "", nil
	}
	before := x.begin(account)
	value, err := x.of(ctx, account)
	if err != nil {
		return "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now, there := x.asked[account]
	if there && now.told != before.told { // a publication was faster; who is judged now is judged again for it
		return now.value, nil
	}
	if there {
		now.value = value
		x.asked[account] = now
	}
	return value, nil
}

// begin notes that the sphere of an account is asked for, before it is read, so that no
// publication from then on is missed.
func (x *spheres) begin(account sip.AOR) askedSphere {
	x.mu.Lock()
	defer x.mu.Unlock()
	a, there := x.asked[account]
	if !there {
		if x.asked == nil || len(x.asked) >= maxAsked {
			x.asked = map[sip.AOR]askedSphere{}
		}
		x.asked[account.Clone()] = a
	}
	return a
}

// is tells the sphere of an account; who asked for another one is told.
func (x *spheres) is(account sip.AOR, value string) {
	x.mu.Lock()
	a, asked := x.asked[account]
	changed := asked && a.value != value
	if asked {
		x.asked[account] = askedSphere{value, a.told + 1}
	}
	observers := x.observers
	x.mu.Unlock()
	if !changed {
		return
	}
	for _, f := range observers {
		f(account)
	}
}

// asks reports whether the rules of an account asked for its sphere.
func (x *spheres) asks(account sip.AOR) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.asked[account]
	return ok
}

// Published implements event.Hearer: a sphere that was published may change what rules say.
func (p *Package) Published(ctx context.Context, resource sip.AOR) {
	if p.spheres == nil || !p.spheres.asks(resource) {
		return
	}
	if value, err := p.sphereOf(ctx, resource); err == nil { // else the next look finds it
		p.spheres.is(resource, value)
	}
}

// sphere returns the sphere of the presentity: what all published documents agree on
// that have one (RFC 5025 §3.1.2), "" when they do not or none has.
func (c *composer) sphere() string {
	found := ""
	for i := range c.sources {
		for _, person := range c.sources[i].doc.Persons {
			for e := range person.Children(SpaceRPID, "sphere") {
				switch value := sphereValue(e); {
				case value == "" || !c.inForce(e):
				case found == "":
					found = value
				case !strings.EqualFold(found, value):
					return ""
				}
			}
		}
	}
	return found
}

// sphereValue reads an element of RFC 4480 §3.11: its name is the value, or its text.
func sphereValue(e *xmltree.Element) string {
	for child := range e.Elements() {
		if child.Is(SpaceRPID, "note") || child.Is(SpaceRPID, "unknown") {
			continue
		}
		if child.Is(SpaceRPID, "other") {
			return strings.TrimSpace(child.Text())
		}
		return child.Name.Local
	}
	return strings.TrimSpace(e.Text())
}

// sphereOf reads what is published for an account.
func (p *Package) sphereOf(ctx context.Context, account sip.AOR) (string, error) {
	e := p.engine.Load()
	if e == nil {
		return "", nil
	}
	publications, err := (*e).Publications(ctx, Name, account)
	if err != nil {
		return "", err
	}
	c := composer{resource: account, now: time.Now(), b: newBuilder(account.String())}
	c.order(publications)
	if p.o.HardState != nil {
		if err := c.hard(ctx, p.o.HardState); err != nil {
			return "", err
		}
	}
	return c.sphere(), nil
}
