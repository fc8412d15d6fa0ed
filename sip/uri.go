package sip

import (
	"errors"
	"net/netip"
	"strings"
)

// URI is a SIP or SIPS URI split into its parts (RFC 3261 §19.1), or any other
// absolute URI of which only the scheme is known. The parts are as received:
// escapes are kept.
type URI struct {
	Scheme   string // as written; compare with IsSIP, IsScheme
	User     string // escaped; "" when there is none
	Password string
	Host     string // without brackets
	Port     uint16 // 0 when not given
	Params   Params
	Headers  string // behind the question mark
	Opaque   string // all behind the colon, for schemes other than sip and sips

	hasPassword bool
	hasUser     bool
	ipv6        bool
	raw         string
}

var (
	errURIScheme = errors.New("URI has no scheme")
	errURIHost   = errors.New("URI has no valid host")
	errURIPort   = errors.New("URI has no valid port")
	errURIUser   = errors.New("URI has no valid user part")
	errURIParam  = errors.New("URI has a malformed parameter")
	errURISpace  = errors.New("URI contains white space or a control character")
)

// notInURI marks what stands in no URI: white space, control characters and
// what encloses one.
var notInURI = func() (t [256]bool) {
	for c := range ' ' + 1 {
		t[c] = true
	}
	t[0x7f], t['<'], t['>'], t['"'] = true, true, true, true
	return t
}()

// ParseURI splits a URI. It reports an error for white space, a missing scheme
// and, in sip and sips URIs, for an impossible user part, host or port.
func ParseURI(s string) (URI, error) {
	u := URI{raw: s}
	for i := 0; i < len(s); i++ {
		if notInURI[s[i]] {
			return u, errURISpace
		}
	}
	var scheme, rest string
	ok := strings.HasPrefix(s, "sip:")
	if ok {
		scheme, rest = s[:3], s[4:]
	} else if scheme, rest, ok = strings.Cut(s, ":"); !ok || scheme == "" || !schemeValid(scheme) {
		return u, errURIScheme
	}
	u.Scheme = scheme
	if !sipScheme(scheme) {
		u.Opaque = rest
		if rest == "" {
			return u, errURIHost
		}
		return u, nil
	}
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		u.hasUser = true
		u.User, u.Password, u.hasPassword = strings.Cut(rest[:at], ":")
		rest = rest[at+1:]
		if u.User == "" || !escapesValid(u.User) || !escapesValid(u.Password) {
			return u, errURIUser
		}
	}
	if q := strings.IndexByte(rest, '?'); q >= 0 {
		u.Headers = rest[q+1:]
		rest = rest[:q]
	}
	if p := strings.IndexByte(rest, ';'); p >= 0 {
		u.Params = Params(rest[p:])
		rest = rest[:p]
		if !uriParamsValid(u.Params) {
			return u, errURIParam
		}
	}
	var err error
	u.Host, u.Port, u.ipv6, err = splitHostPort(rest)
	return u, err
}

// splitHostPort reads host [":" port] (RFC 3261 §25.1).
func splitHostPort(s string) (host string, port uint16, ipv6 bool, err error) {
	if s != "" && s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, false, errURIHost
		}
		host, s, ipv6 = s[1:end], s[end+1:], true
		if a, e := parseAddr(host); e != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, false, errURIHost
		}
		if s == "" {
			return host, 0, true, nil
		}
		if s[0] != ':' {
			return "", 0, false, errURIHost
		}
		s = s[1:]
	} else {
		var found bool
		host, s, found = strings.Cut(s, ":")
		if !hostnameValid(host) {
			return "", 0, false, errURIHost
		}
		if !found {
			return host, 0, false, nil
		}
	}
	n, ok := ParseUint(s)
	if !ok || n == 0 || n > 65535 {
		return "", 0, false, errURIPort
	}
	return host, uint16(n), ipv6, nil
}

// parseAddr reads an address. RFC 5118 §4.10: RFC 3261's grammar allowed three
// colons; be tolerant.
func parseAddr(host string) (netip.Addr, error) {
	if strings.IndexByte(host, ':') >= 0 {
		host = strings.Replace(host, ":::", "::", 1)
	}
	return netip.ParseAddr(host)
}

func hostnameValid(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !hostChar[s[i]] {
			return false
		}
	}
	return true
}

// hostChar marks what stands in a host name or an IPv4 address; the underscore is
// there because names in use have it.
var hostChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	t['-'], t['.'], t['_'] = true, true, true
	return t
}()

func schemeValid(s string) bool {
	for i := 0; i < len(s); i++ {
		c := lower(s[i])
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

func escapesValid(s string) bool {
	if strings.IndexByte(s, '%') < 0 {
		return true
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return false
		}
		i += 2
	}
	return true
}

// uriParamsValid: a URI parameter is never quoted, and its name is never empty.
func uriParamsValid(p Params) bool {
	s := string(p)
	for s != "" {
		s = s[1:] // the semicolon
		n := strings.IndexByte(s, ';')
		if n < 0 {
			n = len(s)
		}
		name, _, _ := strings.Cut(s[:n], "=")
		if name == "" || !escapesValid(s[:n]) {
			return false
		}
		s = s[n:]
	}
	return true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// IsSIP reports a sip or sips URI.
func (u URI) IsSIP() bool { return sipScheme(u.Scheme) }

func sipScheme(s string) bool {
	return s == "sip" || EqualFold(s, "sip") || EqualFold(s, "sips")
}

// IsScheme compares the scheme without regard to case.
func (u URI) IsScheme(s string) bool { return EqualFold(u.Scheme, s) }

// String returns the URI as it was parsed.
func (u URI) String() string { return u.raw }

// HostPort returns host and port as they stand in a URI, brackets around IPv6.
func (u URI) HostPort() string {
	h := u.Host
	if u.ipv6 {
		h = "[" + h + "]"
	}
	if u.Port == 0 {
		return h
	}
	return h + ":" + itoa(int(u.Port))
}

// Addr returns the host as an address when it is one.
func (u URI) Addr() (netip.Addr, bool) {
	a, err := parseAddr(u.Host)
	return a.Unmap(), err == nil
}

// Equal compares two URIs by RFC 3261 §19.1.4.
func (u URI) Equal(v URI) bool {
	if u.raw == v.raw { // even with a parameter given twice, which equals nothing else
		return true
	}
	if !EqualFold(u.Scheme, v.Scheme) {
		return false
	}
	if !u.IsSIP() {
		return u.Opaque == v.Opaque
	}
	if u.hasUser != v.hasUser || u.hasPassword != v.hasPassword || u.Port != v.Port ||
		!equalEscaped(u.User, v.User, false) || !equalEscaped(u.Password, v.Password, false) || !hostEqual(u, v) {
		return false
	}
	return paramsEqual(u.Params, v.Params) && paramsEqual(v.Params, u.Params) && headersEqual(u.Headers, v.Headers)
}

func hostEqual(u, v URI) bool {
	if u.ipv6 && v.ipv6 {
		a, ok1 := u.Addr()
		b, ok2 := v.Addr()
		return ok1 && ok2 && a == b
	}
	return u.ipv6 == v.ipv6 && EqualFold(u.Host, v.Host)
}

// paramsEqual checks the parameters of a against those of b: one that stands in
// both must match; user, ttl, method, maddr and transport must not stand in one
// alone (§19.1.4; transport follows from "sip:bob@biloxi.com" not being equal to
// the one with ;transport=udp).
func paramsEqual(a, b Params) bool {
	for {
		name, value, rest, done, ok := nextURIParam(a)
		if done || !ok {
			return true
		}
		a = rest
		other, found := uriParam(b, name)
		if found {
			if !equalEscaped(value, other, true) {
				return false
			}
			continue
		}
		switch {
		case EqualFold(name, "user"), EqualFold(name, "ttl"), EqualFold(name, "method"),
			EqualFold(name, "maddr"), EqualFold(name, "transport"):
			return false
		}
	}
}

func nextURIParam(p Params) (name, value string, rest Params, done, ok bool) {
	if p == "" {
		return "", "", "", true, true
	}
	s := string(p[1:])
	n := strings.IndexByte(s, ';')
	if n < 0 {
		n = len(s)
	}
	name, value, _ = strings.Cut(s[:n], "=")
	return name, value, Params(s[n:]), false, true
}

func uriParam(p Params, name string) (value string, found bool) {
	for {
		n, v, rest, done, _ := nextURIParam(p)
		if done {
			return "", false
		}
		if equalEscaped(n, name, true) {
			return v, true
		}
		p = rest
	}
}

// Param returns a URI parameter's value and whether it is there.
func (u URI) Param(name string) (value string, found bool) { return uriParam(u.Params, name) }

// headersEqual: header components are never ignored; their order is free.
func headersEqual(a, b string) bool {
	if a == b {
		return true
	}
	return headersIn(a, b) && headersIn(b, a)
}

func headersIn(a, b string) bool {
	for a != "" {
		var h string
		h, a, _ = strings.Cut(a, "&")
		found := false
		for rest := b; rest != ""; {
			var g string
			g, rest, _ = strings.Cut(rest, "&")
			if equalEscaped(h, g, true) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// equalEscaped compares two strings in which %HH stands for a character; an
// escaped reserved character differs from the same character unescaped
// (RFC 3261 §19.1.4: only characters outside "reserved" equal their escapes).
func equalEscaped(a, b string, fold bool) bool {
	if a == b {
		return true
	}
	for a != "" && b != "" {
		ca, ea, na := nextChar(a)
		cb, eb, nb := nextChar(b)
		if ca != cb && !(fold && lower(ca) == lower(cb)) {
			return false
		}
		if ea != eb && reserved(ca) {
			return false
		}
		a, b = a[na:], b[nb:]
	}
	return a == "" && b == ""
}

func nextChar(s string) (c byte, escaped bool, n int) {
	if s[0] == '%' && len(s) >= 3 {
		if h, l := unhex(s[1]), unhex(s[2]); h >= 0 && l >= 0 {
			return byte(h<<4 | l), true, 3
		}
	}
	return s[0], false, 1
}

// reserved is RFC 3261 §25.1's set; a percent sign itself is escaped always.
func reserved(c byte) bool { return strings.IndexByte(";/?:@&=+$,%", c) >= 0 }
