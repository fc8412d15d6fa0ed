package server

import (
	"bytes"
	"compress/zlib"
	"context"
	"io"
	"net/netip"
	"strings"

	"rollcall/auth"
	"rollcall/config"
	"rollcall/event"
	"rollcall/im"
	"rollcall/sip"
	"rollcall/sip/transport"
)

// ways is what the notifier sees of the sockets.
type ways struct {
	*transport.Transport
	relay *im.Relay
}

var _ event.Transport = ways{}

// SentBy implements event.Transport.
func (w ways) SentBy(f transport.Flow) string { return w.Transport.SentBy(f).String() }

// Reach implements event.Transport.
func (w ways) Reach(uri string, from transport.Flow, size int, then func(transport.Flow, bool)) {
	w.relay.Reach(uri, from, size, then)
}

// Post implements event.Transport: who registers or sends a message goes first.
func (w ways) Post(f func()) { w.Transport.PostLater(f) }

// mayWait tells the requests of presence by their first bytes. When all come at
// once, as after an outage, REGISTER and MESSAGE are served before them.
func mayWait(b []byte) bool {
	return bytes.HasPrefix(b, []byte("SUBSCRIBE ")) || bytes.HasPrefix(b, []byte("PUBLISH "))
}

func eventSettings(cfg *config.Config) event.Settings {
	return event.Settings{
		MaxPerWatcher: cfg.Presence.SubscriptionsPerWatcher, MaxInAll: cfg.Presence.Subscriptions,
		MaxPublished: cfg.Presence.Publications, FlowGrace: cfg.Presence.FlowGrace.Duration,
	}
}

// subscribeExtensions are the option tags a SUBSCRIBE or PUBLISH may require.
var subscribeExtensions = []string{"eventlist", "recipient-list-subscribe"}

// subscribe serves SUBSCRIBE (RFC 6665 §4.2.1).
func (rq *request) subscribe() { rq.events(rq.s.notifier.Subscribe) }

// publish serves PUBLISH (RFC 3903 §6).
func (rq *request) publish() { rq.events(rq.s.notifier.Publish) }

type eventMethod func(context.Context, event.Request) (event.Answer, error)

// events makes the checks that both have in common and answers.
func (rq *request) events(serve eventMethod) {
	s := rq.s
	if fault := rq.inspect(subscribeExtensions, "deflate"); fault != nil {
		rq.fail(fault)
		return
	}
	id, err := rq.authenticate(auth.Server)
	if err != nil {
		rq.fail(err)
		return
	}
	body, fault := decodeBody(rq.m)
	if fault != nil {
		rq.fail(fault)
		return
	}
	a, err := serve(s.ctx, event.Request{Message: rq.m, From: id, Flow: rq.flow, Body: body, Now: rq.now})
	if err != nil {
		rq.fail(err)
		return
	}
	rq.respond(&sip.Reply{Status: a.Status, ToTag: a.ToTag, Fields: a.Fields})
	if a.Then != nil {
		a.Then()
	}
}

// maxInflated bounds what a compressed body may become.
const maxInflated = 256 << 10

// decodeBody undoes Content-Encoding (RFC 3261 §20.12). Deflate is zlib's format
// there, as linphone sends it. A SUBSCRIBE of linphone that ends a subscription names
// an encoding without a body.
func decodeBody(m *sip.Message) (string, *sip.Error) {
	enc := m.Get(sip.HeaderContentEncoding)
	if m.Body() == "" || enc == "" || strings.EqualFold(enc, "identity") {
		return m.Body(), nil
	}
	bad := sip.NewError(sip.StatusBadRequest, "Body is not what Content-Encoding says")
	z, err := zlib.NewReader(strings.NewReader(m.Body()))
	if err != nil {
		return "", bad
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(z, maxInflated+1))
	switch {
	case err != nil:
		return "", bad
	case n > maxInflated:
		return "", sip.NewError(sip.StatusTooLarge, "")
	}
	return b.String(), nil
}

// boundFrom reports whether an account is registered from an address.
func (s *Server) boundFrom(ctx context.Context, account sip.AOR, from netip.Addr) bool {
	bindings, err := s.registrar.Lookup(ctx, account)
	if err != nil { // not known: what was published stays until it expires
		return true
	}
	for i := range bindings {
		if bindings[i].Flow.Remote.Addr() == from {
			return true
		}
	}
	return false
}
