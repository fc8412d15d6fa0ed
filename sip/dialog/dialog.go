package dialog

import (
	"fmt"
	"strconv"
	"strings"

	"rollcall/sip"
)

// Dialog is one dialog as its notifier holds it. Its strings have memory of
// their own.
type Dialog struct {
	CallID    string
	LocalTag  string
	RemoteTag string   // "" of a peer that knows no tags (RFC 3261 §12.1.1)
	Local     string   // To of the request that made it, without tag: From of ours
	Remote    string   // From of that request, tag included: To of ours
	Target    string   // remote target URI (§12.1.1)
	Routes    []string // route set, next hop first, with angle brackets
	PeerCSeq  uint32   // highest CSeq of the peer's requests
}

// Limits of what a dialog keeps of a peer.
const (
	MaxRoutes = 16
	maxField  = 1024
	maxCallID = 512
)

func bad(reason string) *sip.Error { return sip.NewError(sip.StatusBadRequest, reason) }

// FromRequest begins the dialog that a request asks for (RFC 3261 §12.1.1).
func FromRequest(m *sip.Message, localTag string) (Dialog, *sip.Error) {
	d := Dialog{CallID: strings.Clone(m.CallID()), LocalTag: localTag}
	from, err := m.From()
	if err != nil {
		return d, bad("Malformed From")
	}
	d.RemoteTag = strings.Clone(from.Tag())
	d.Remote, d.Local = strings.Clone(m.Get(sip.HeaderFrom)), strings.Clone(m.Get(sip.HeaderTo))
	if len(d.Remote) > maxField || len(d.Local) > maxField || len(d.CallID) > maxCallID {
		return d, bad("From, To or Call-ID is too long")
	}
	if !strings.Contains(d.Local, "<") { // so that a tag behind it is no URI parameter (§20)
		to, err := m.To()
		if err != nil {
			return d, bad("Malformed To")
		}
		d.Local = "<" + to.URI + ">" + string(to.Params)
	}
	if fault := d.target(m); fault != nil {
		return d, fault
	}
	total := 0
	err = m.EachItem(sip.HeaderRecordRoute, func(item string) bool {
		total += len(item)
		d.Routes = append(d.Routes, strings.Clone(item))
		return len(d.Routes) <= MaxRoutes && total <= 2*maxField
	})
	if err != nil || len(d.Routes) > MaxRoutes || total > 2*maxField {
		return d, bad("Malformed or too long Record-Route")
	}
	d.PeerCSeq, _ = m.CSeq()
	return d, nil
}

// target takes the remote target from Contact; every request that makes or
// refreshes a subscription has exactly one (RFC 3261 §12.1.1, RFC 6665 §4.1.2.1).
func (d *Dialog) target(m *sip.Message) *sip.Error {
	n, uri := 0, ""
	err := m.EachItem(sip.HeaderContact, func(item string) bool {
		a, err := sip.ParseAddress(item)
		if err == nil {
			uri = a.URI
		}
		n++
		return n < 2
	})
	switch {
	case err != nil || n > 1:
		return bad("Contact must be one address")
	case n == 0 && d.Target != "": // a refresh may leave it as it is
		return nil
	case uri == "" || len(uri) > maxField:
		return bad("Contact is missing, malformed or too long")
	}
	if u, err := sip.ParseURI(uri); err != nil || !u.IsSIP() {
		return bad("Contact is no SIP URI")
	}
	d.Target = strings.Clone(uri)
	return nil
}

// Holds reports whether a request belongs to the dialog (RFC 3261 §12.2.2).
func (d *Dialog) Holds(m *sip.Message) bool {
	from, err := m.From()
	if err != nil || m.CallID() != d.CallID || from.Tag() != d.RemoteTag {
		return false
	}
	to, err := m.To()
	return err == nil && to.Tag() == d.LocalTag
}

// Refresh takes a request within the dialog: its CSeq must be higher (RFC 3261
// §12.2.2), and it is a target refresh.
func (d *Dialog) Refresh(m *sip.Message) *sip.Error {
	n, ok := m.CSeq()
	if !ok {
		return bad("Malformed CSeq")
	}
	if n <= d.PeerCSeq {
		return sip.NewError(sip.StatusServerError, "CSeq is out of order")
	}
	if fault := d.target(m); fault != nil {
		return fault
	}
	d.PeerCSeq = n
	return nil
}

// Hop is the URI that the next request goes to first.
func (d *Dialog) Hop() string {
	if len(d.Routes) > 0 {
		if a, err := sip.ParseAddress(d.Routes[0]); err == nil {
			return a.URI
		}
	}
	return d.Target
}

// AppendRequest writes the head of a request within the dialog, up to CSeq
// (RFC 3261 §12.2.1.1): further lines, an empty line and the body follow. Via is
// its whole value.
func (d *Dialog) AppendRequest(dst []byte, method, via string, cseq uint32) []byte {
	uri, routes, last := d.Target, d.Routes, ""
	if len(routes) > 0 && !loose(routes[0]) { // a strict router: it finds its own URI, the target comes last
		if a, err := sip.ParseAddress(routes[0]); err == nil {
			uri, routes, last = a.URI, routes[1:], d.Target
		}
	}
	dst = append(append(append(append(dst, method...), ' '), uri...), " SIP/2.0\r\nVia: "...)
	dst = append(append(dst, via...), "\r\nMax-Forwards: 70\r\n"...)
	for _, r := range routes {
		dst = append(append(append(dst, "Route: "...), r...), "\r\n"...)
	}
	if last != "" {
		dst = append(append(append(dst, "Route: <"...), last...), ">\r\n"...)
	}
	dst = append(append(append(append(dst, "From: "...), d.Local...), ";tag="...), d.LocalTag...)
	dst = append(append(dst, "\r\nTo: "...), d.Remote...)
	dst = append(append(dst, "\r\nCall-ID: "...), d.CallID...)
	dst = strconv.AppendUint(append(dst, "\r\nCSeq: "...), uint64(cseq), 10)
	return append(append(append(dst, ' '), method...), "\r\n"...)
}

func loose(route string) bool {
	a, err := sip.ParseAddress(route)
	if err != nil {
		return true
	}
	u, err := sip.ParseURI(a.URI)
	if err != nil {
		return true
	}
	_, lr := u.Param("lr")
	return lr
}

// String names the dialog in logs.
func (d *Dialog) String() string {
	return fmt.Sprintf("%s %s/%s", d.CallID, d.LocalTag, d.RemoteTag)
}
