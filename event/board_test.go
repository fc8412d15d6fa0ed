package event_test

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"rollcall/event"
	"rollcall/sip"
)

// board is an event package for the tests of the engine: a line of text that bob
// writes. Its class decides what is seen of it: "" all, "vague" whether there is
// something, "offline" nothing. Its document is a number and the text; in the type
// text/x-change it is the text before and the one now.
type board struct {
	mu       sync.Mutex
	rules    map[string]event.Verdict // by user
	engine   event.Engine
	composed int
	compared int
}

const typeChange = "text/x-change"

const (
	vague   = "vague"
	offline = "offline"
)

func newBoard() *board {
	active := func(class string) event.Verdict { return event.Verdict{Standing: event.Active, Class: class} }
	return &board{rules: map[string]event.Verdict{
		"alice": active(""), "bob": active(""), "carol": active(vague), "dave": {Standing: event.Pending}, "erin": active(offline), "frank": active(""),
	}}
}

func (b *board) Spec() event.Spec {
	return event.Spec{Name: "board", Types: []string{"text/plain", typeChange}, Publish: []string{"text/plain"},
		Default: time.Hour, Min: time.Minute, Max: 24 * time.Hour}
}

func (b *board) Start(e event.Engine) { b.engine = e }

// rule changes what a user may see.
func (b *board) rule(user string, v event.Verdict, resource sip.AOR) {
	b.mu.Lock()
	b.rules[user] = v
	b.mu.Unlock()
	b.engine.Rules("board", resource)
}

func (b *board) Authorize(_ context.Context, _ sip.AOR, w event.Watcher) (event.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules[w.AOR.User()], nil
}

func (b *board) Compose(_ context.Context, _ sip.AOR, publications []event.Publication) (event.State, error) {
	b.mu.Lock()
	b.composed++
	b.mu.Unlock()
	var text string
	var last event.Publication
	for _, p := range publications {
		if c := cmp.Or(p.Changed.Compare(last.Changed), cmp.Compare(p.ID, last.ID)); c > 0 {
			text, last = p.Parsed.(string), p
		}
	}
	if text == "panic over the state" {
		panic(text)
	}
	return event.State{Value: text}, nil
}

func (b *board) Body(_ context.Context, _ sip.AOR, s event.State, v event.View) (event.Body, error) {
	text, _ := s.Value.(string)
	switch {
	case v.Class == vague && text == "panic over a view":
		panic(text)
	case v.Class == vague && text != "":
		text = "something"
	case v.Class == offline:
		text = ""
	}
	return event.Body{Type: "text/plain", Bytes: []byte("0 " + text)}, nil
}

func (b *board) Full(typ string) (string, bool) { return "text/plain", typ == typeChange }

func (b *board) Diff(prev, next event.Body, typ string) (event.Body, bool) {
	b.mu.Lock()
	b.compared++
	b.mu.Unlock()
	_, from, _ := strings.Cut(string(prev.Bytes), " ")
	_, to, _ := strings.Cut(string(next.Bytes), " ")
	return event.Body{Type: typ, Bytes: []byte("0 " + from + " > " + to)}, true
}

func (b *board) MayPublish(_ context.Context, publisher, resource sip.AOR) error {
	if publisher != resource {
		return sip.NewError(sip.StatusForbidden, "")
	}
	return nil
}

func (b *board) Parse(_ sip.AOR, _ string, body []byte, _ *event.Publication) (any, string, []byte, error) {
	return strings.Clone(string(body)), "", nil, nil
}

func (b *board) Replaces(next, old *event.Publication) bool { return next.Device == old.Device }
