package digest

import (
	"strings"

	"rollcall/sip"
)

// Challenge is what a server asks for in WWW-Authenticate or Proxy-Authenticate
// (RFC 7616 §3.3, RFC 3261 §22.4). One field holds one challenge for one
// algorithm; several fields are in the server's order of preference (RFC 8760 §2.3).
type Challenge struct {
	Realm     string
	Nonce     string
	Algorithm Algorithm
	Opaque    string
	Stale     bool // the digest was right, only the nonce was not: try again with this one
	QOP       bool // qop "auth" is offered; a server of RFC 3261 always does (§22.4 item 8)
}

// Append writes the field's value behind dst.
func (c *Challenge) Append(dst []byte) []byte {
	dst = append(dst, "Digest "...)
	dst = appendQuoted(dst, "realm", c.Realm)
	dst = append(dst, ", "...)
	dst = appendQuoted(dst, "nonce", c.Nonce)
	if c.Opaque != "" {
		dst = append(dst, ", "...)
		dst = appendQuoted(dst, "opaque", c.Opaque)
	}
	if c.Stale {
		dst = append(dst, ", stale=true"...)
	}
	dst = append(dst, ", algorithm="...)
	dst = append(dst, c.Algorithm.String()...)
	if c.QOP {
		dst = append(dst, `, qop="auth"`...)
	}
	return dst
}

// ParseChallenge reads the value of one field: the client's side. It fails with
// ErrScheme, ErrUnsupported, ErrMalformed or ErrLimits; a client passes over
// what it does not support and takes the next (RFC 8760 §2.4).
func ParseChallenge(field string) (Challenge, error) {
	var c Challenge
	s, err := cutScheme(field)
	if err != nil {
		return Challenge{}, err
	}
	unsupported, qop := false, false
	for n := 0; ; n++ {
		var name, value string
		name, value, s, err = nextParam(s)
		if err != nil {
			return Challenge{}, err
		}
		if name == "" {
			break
		}
		if n == maxParams || len(value) > maxValue {
			return Challenge{}, ErrLimits
		}
		switch {
		case sip.EqualFold(name, "realm"):
			c.Realm = value
		case sip.EqualFold(name, "nonce"):
			c.Nonce = value
		case sip.EqualFold(name, "opaque"):
			c.Opaque = value
		case sip.EqualFold(name, "stale"):
			c.Stale = sip.EqualFold(value, "true")
		case sip.EqualFold(name, "algorithm"):
			var ok bool
			c.Algorithm, ok = ParseAlgorithm(value)
			unsupported = unsupported || !ok
		case sip.EqualFold(name, "qop"):
			qop = true
			for value != "" {
				var q string
				q, value, _ = strings.Cut(value, ",")
				c.QOP = c.QOP || sip.EqualFold(strings.TrimSpace(q), "auth")
			}
		}
	}
	switch {
	case c.Nonce == "":
		return Challenge{}, ErrMalformed
	case unsupported, qop && !c.QOP:
		return Challenge{}, ErrUnsupported
	}
	return c, nil
}
