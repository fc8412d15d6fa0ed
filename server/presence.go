package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"rollcall/api"
	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
)

// account parses the address of an account that exists.
func (b backend) account(ctx context.Context, aor string) (sip.AOR, error) {
	a, err := sip.ParseAORString(aor)
	if err != nil {
		return a, errors.Join(api.ErrInvalid, err)
	}
	known, err := b.directory.Has(ctx, a)
	switch {
	case err != nil:
		return a, err
	case !known:
		return a, fmt.Errorf("%s: %w", aor, api.ErrNotFound)
	}
	return a, nil
}

// Presence implements api.Backend.
func (b backend) Presence(ctx context.Context, aor string) (api.Presence, error) {
	a, err := b.account(ctx, aor)
	if err != nil {
		return api.Presence{}, err
	}
	return b.presenceOf(ctx, a)
}

func (b backend) presenceOf(ctx context.Context, aor sip.AOR) (api.Presence, error) {
	body, published, err := b.notifier.Look(ctx, presence.Name, aor, event.View{Type: presence.TypePIDF})
	if err != nil {
		return api.Presence{}, err
	}
	p := api.Presence{
		AOR: aor.String(), State: stateOf(body.Bytes), Document: string(body.Bytes),
		Publications: []api.Publication{}, Registrations: []api.Registration{},
	}
	for i := range published {
		o := &published[i]
		p.Publications = append(p.Publications, api.Publication{
			Publisher: o.Publisher.String(), Device: o.Device, State: stateOf(o.Body), ContentType: o.Type, Document: string(o.Body),
			Created: o.Created, Changed: o.Changed, Expires: o.Expires, Lost: o.Lost,
		})
	}
	hard, err := hardState{b.documents}.HardState(ctx, aor)
	if err != nil {
		return p, err
	}
	if hard != nil {
		document := hard.Document()
		p.Permanent = &api.Permanent{State: stateOf(document), Document: string(document)}
	}
	bindings, err := b.registrar.Lookup(ctx, aor)
	p.Registrations = appendRegistrations(p.Registrations, bindings)
	return p, err
}

// stateOf summarizes a document. One that is no PIDF says nothing.
func stateOf(document []byte) api.State {
	s, err := presence.Summarize(document)
	if err != nil {
		return api.State{}
	}
	return api.State{Basic: s.Basic, Activities: s.Activities, Note: s.Note}
}

// Subscriptions implements api.Backend.
func (b backend) Subscriptions(ctx context.Context, aor string) ([]api.Subscription, error) {
	var a sip.AOR
	if aor != "" {
		var err error
		if a, err = sip.ParseAORString(aor); err != nil {
			return nil, errors.Join(api.ErrInvalid, err)
		}
	}
	list := []api.Subscription{}
	for _, o := range b.notifier.Subscriptions(a) {
		list = append(list, subscriptionOf(&o))
	}
	if len(list) == 0 && aor != "" { // a list that is watched is no account
		_, err := b.account(ctx, aor)
		return list, err
	}
	return list, nil
}

func subscriptionOf(o *event.SubscriptionInfo) api.Subscription {
	return api.Subscription{
		ID: o.ID, Watcher: o.Watcher.String(), Resource: o.Resource.String(), Event: o.Event, Standing: o.Standing.String(), Rule: o.Rule,
		Type: o.Type, Device: o.Device, Flow: o.Flow, Suspended: o.Suspended, Since: o.Since, Expires: o.Expires,
		Notified: o.Notified, CallID: o.CallID,
	}
}

// Explain implements api.Backend.
func (b backend) Explain(ctx context.Context, watcher, presentity string) (api.Explanation, error) {
	w, err := b.account(ctx, watcher)
	if err != nil {
		return api.Explanation{}, err
	}
	a, err := b.account(ctx, presentity)
	if err != nil {
		return api.Explanation{}, err
	}
	x := api.Explanation{Watcher: w.String(), Presentity: a.String(), Standing: "refused", Subscriptions: []api.Subscription{}}
	if x.Presence, err = b.presenceOf(ctx, a); err != nil {
		return x, err
	}
	for _, o := range b.notifier.Subscriptions(a) {
		if o.Event == presence.Name && o.Watcher == w && o.Resource == a {
			x.Subscriptions = append(x.Subscriptions, subscriptionOf(&o))
		}
	}
	verdict, err := b.notifier.Judge(ctx, presence.Name, w, a)
	var refusal *sip.Error
	switch {
	case errors.As(err, &refusal):
		x.Rule = refusal.Error()
		return x, nil
	case err != nil:
		return x, err
	}
	x.Rule, x.Class = verdict.Rule, verdict.Class
	if !verdict.Until.IsZero() {
		x.Until = &verdict.Until
	}
	if verdict.Standing == event.Refused {
		return x, nil
	}
	if x.Standing = verdict.Standing.String(); verdict.Standing == event.Active {
		body, _, err := b.notifier.Look(ctx, presence.Name, a, event.View{Class: verdict.Class, Type: presence.TypePIDF})
		if err != nil {
			return x, err
		}
		x.Sees = &api.View{
			State: stateOf(body.Bytes), Document: string(body.Bytes), Whole: bytes.Equal(body.Bytes, []byte(x.Presence.Document)),
		}
	}
	return x, nil
}
