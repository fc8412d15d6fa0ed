package server

import (
	"errors"
	"slices"
	"strings"

	"rollcall/auth"
	"rollcall/sip"
)

// inspect makes the checks of a user agent server that come before those of the
// method (RFC 3261 §8.2): whom it is for, what it requires, what its body needs.
// Encodings are what the body may have been put into besides identity.
func (rq *request) inspect(extensions []string, encodings ...string) *sip.Error {
	m := rq.m
	u := m.URI()
	if !u.IsSIP() {
		return sip.NewError(sip.StatusUnsupportedScheme, "") // §8.2.2.1
	}
	if !rq.s.ours(u) {
		return sip.NewError(sip.StatusNotFound, "Domain is not served")
	}
	if unknown := rq.unknown(sip.HeaderRequire, extensions); unknown != "" { // §8.2.2.3
		return sip.NewError(sip.StatusBadExtension, "", sip.Field{Name: "Unsupported", Value: unknown})
	}
	if enc := strings.ToLower(m.Get(sip.HeaderContentEncoding)); enc != "" && enc != "identity" && m.Body() != "" && !slices.Contains(encodings, enc) { // §8.2.3
		return sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept-Encoding", Value: strings.Join(append(encodings, "identity"), ", ")})
	}
	return nil
}

// unknown lists the option tags of a header that are not among the known ones.
func (rq *request) unknown(id sip.HeaderID, known []string) string {
	if !rq.m.Has(id) {
		return ""
	}
	var list []string
	_ = rq.m.EachItem(id, func(tag string) bool {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, tag) }) {
			list = append(list, strings.Clone(tag))
		}
		return len(list) < 32
	})
	return strings.Join(list, ", ")
}

// authenticate is the step of RFC 3261 §10.3 item 3 and §22.2.
func (rq *request) authenticate(role auth.Role) (auth.Identity, error) {
	id, err := rq.s.authn.Authenticate(rq.s.ctx, rq.m, role, rq.flow.Remote.Addr(), rq.now)
	if err == nil {
		rq.known = true
		return id, nil
	}
	var e *sip.Error
	rq.known = errors.As(err, &e) && e.Status == sip.StatusForbidden // which only who has the password hears
	return id, err
}

// register serves REGISTER (RFC 3261 §10.3).
func (rq *request) register() {
	s := rq.s
	if fault := rq.inspect(s.registrar.Extensions()); fault != nil {
		rq.fail(fault)
		return
	}
	id, err := rq.authenticate(auth.Server)
	if err != nil {
		rq.fail(err)
		return
	}
	lines, change, err := s.registrar.Register(s.ctx, rq.m, id.AOR(), rq.flow, rq.now, rq.lines[:0])
	rq.lines = lines
	if err != nil {
		rq.fail(err)
		return
	}
	rq.respond(&sip.Reply{Status: sip.StatusOK, Lines: lines})
	if change.Present() {
		s.relay.Present(s.ctx, id.AOR())
	}
}

// message serves MESSAGE (RFC 3428): checks and credentials here, the rest in
// im.Relay.
func (rq *request) message() {
	s := rq.s
	own, fault := s.ownRoutes(rq.m)
	if fault != nil {
		rq.fail(fault)
		return
	}
	admission, fault := s.relay.Admit(rq.m, own)
	if fault != nil {
		rq.fail(fault)
		return
	}
	if past, ok := s.relay.Past(rq.m); ok {
		if rq.tx != nil || rq.begin() {
			s.relay.ServePast(rq.tx, past, admission)
		}
		return
	}
	id, err := rq.authenticate(auth.Proxy)
	if err != nil {
		rq.fail(err)
		return
	}
	if rq.tx == nil && !rq.begin() {
		return
	}
	s.relay.ServeSIP(rq.tx, id, admission)
}

// options answers for the server itself (RFC 3261 §11.2). For its users it can't
// speak; the methods that can be sent to them stand in Allow.
func (rq *request) options() {
	extensions := rq.s.registrar.Extensions()
	if fault := rq.inspect(extensions); fault != nil {
		rq.fail(fault)
		return
	}
	if rq.m.URI().User != "" {
		if n, ok := sip.ParseUint(rq.m.Get(sip.HeaderMaxForwards)); ok && n == 0 { // §11, §16.3 item 3
			rq.fail(sip.NewError(sip.StatusTooManyHops, ""))
			return
		}
		rq.fail(sip.NewError(sip.StatusMethodNotAllowed, "", sip.Field{Name: "Allow", Value: "MESSAGE"}))
		return
	}
	rq.respond(&sip.Reply{Status: sip.StatusOK, Fields: []sip.Field{
		{Name: "Allow", Value: allow},
		{Name: "Accept", Value: "*/*"},
		{Name: "Accept-Encoding", Value: "identity"},
		{Name: "Supported", Value: strings.Join(slices.Concat(extensions, subscribeExtensions), ", ")}, // RFC 5367 §5
		{Name: "Allow-Events", Value: rq.s.notifier.AllowEvents()},                                     // RFC 3903 §7
	}})
}

// noDialog answers what belongs to a dialog or transaction that is not here
// (RFC 3261 §12.2.2, §9.2).
func (rq *request) noDialog() { rq.fail(sip.NewError(sip.StatusNoDialog, "")) }
