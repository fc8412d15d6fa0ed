package sip

import (
	"errors"
	"strings"
)

// Via is one Via value (RFC 3261 §20.42).
type Via struct {
	Transport string // as written
	Host      string // sent-by, brackets stripped
	Port      uint16 // 0 when not given
	Params    Params
	Branch    string

	head  string // sent-protocol and sent-by as received
	ipv6  bool
	rport bool // the parameter stands there
	maddr bool
}

// Rport reports that the client asked for answers at the port its request came from
// (RFC 3581 §3).
func (v Via) Rport() bool { return v.rport }

// Maddr returns the parameter of that name (RFC 3261 §18.1.1).
func (v Via) Maddr() (value string, found bool) {
	if !v.maddr {
		return "", false
	}
	return v.Params.Get("maddr")
}

// MagicCookie begins every branch of RFC 3261 (§8.1.1.7).
const MagicCookie = "z9hG4bK"

var errVia = errors.New("malformed Via")

// ParseVia reads one Via value; white space is allowed around its separators.
func ParseVia(s string) (Via, error) {
	s = trim(s)
	var v Via
	name, rest, ok := strings.Cut(s, "/")
	if !ok || !EqualFold(trim(name), "SIP") {
		return v, errVia
	}
	version, rest, ok := strings.Cut(rest, "/")
	if !ok || !isToken(trim(version)) { // another version is the start line's fault: 505 has to find its way
		return v, errVia
	}
	rest = trimLeft(rest)
	n := 0
	for n < len(rest) && tokenChar[rest[n]] {
		n++
	}
	if n == 0 || n == len(rest) || !isLWS(rest[n]) {
		return v, errVia
	}
	v.Transport, rest = rest[:n], trimLeft(rest[n:])
	n = strings.IndexByte(rest, ';')
	if n < 0 {
		n = len(rest)
	}
	sentBy := trim(rest[:n])
	if strings.IndexByte(sentBy, ' ') >= 0 || strings.IndexByte(sentBy, '\t') >= 0 {
		if i := strings.LastIndexByte(sentBy, ':'); i > strings.LastIndexByte(sentBy, ']') {
			sentBy = trim(sentBy[:i]) + ":" + trim(sentBy[i+1:]) // LWS is allowed around the colon (§25.1 COLON)
		}
	}
	var err error
	if v.Host, v.Port, v.ipv6, err = splitHostPort(sentBy); err != nil {
		return v, errVia
	}
	v.Params = Params(rest[n:])
	v.head = trim(s[:len(s)-len(rest)+n])
	if !v.readParams() {
		return v, errVia
	}
	return v, nil
}

// readParams is false when the parameters do not read as such.
func (v *Via) readParams() bool {
	for p := v.Params; ; {
		name, value, rest, done, ok := p.Next()
		if !ok {
			return false
		}
		if done {
			return true
		}
		switch len(name) {
		case len("branch"):
			if EqualFold(name, "branch") {
				v.Branch = value
			}
		case len("rport"): // and maddr
			v.rport = v.rport || EqualFold(name, "rport")
			v.maddr = v.maddr || EqualFold(name, "maddr")
		}
		p = rest
	}
}
