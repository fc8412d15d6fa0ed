package bench

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
)

// algorithm is a digest algorithm (RFC 7616 §3.3, RFC 8760 §2.1).
type algorithm uint8

const (
	algMD5 algorithm = iota
	algSHA256
	algSHA512256
)

func (a algorithm) String() string {
	return [...]string{"MD5", "SHA-256", "SHA-512-256"}[a]
}

func parseAlgorithm(s string) (algorithm, bool) {
	for a := algMD5; a <= algSHA512256; a++ {
		if strings.EqualFold(s, a.String()) {
			return a, true
		}
	}
	return 0, false
}

// appendHash appends the hash of b in lower-case hex.
func (a algorithm) appendHash(dst, b []byte) []byte {
	switch a {
	case algMD5:
		h := md5.Sum(b)
		return hex.AppendEncode(dst, h[:])
	case algSHA256:
		h := sha256.Sum256(b)
		return hex.AppendEncode(dst, h[:])
	default:
		h := sha512.Sum512_256(b)
		return hex.AppendEncode(dst, h[:])
	}
}

// challenge is one Digest challenge as far as it must be answered. Its bytes
// belong to the message it was read from.
type challenge struct {
	realm, nonce, opaque []byte
	alg                  algorithm
	qop                  bool // "auth" is offered
	stale                bool
}

// chooseChallenge returns the first challenge of an answer that can be
// answered, or, with a want other than "auto", the first with that algorithm.
// RFC 8760 §2.4: "the client MUST use the topmost header field that it
// supports".
func chooseChallenge(msg []byte, want string) (challenge, bool) {
	var found challenge
	ok := false
	eachHeader(msg, func(name, value []byte) bool {
		if !equalFold(name, "www-authenticate") && !equalFold(name, "proxy-authenticate") {
			return true
		}
		for len(value) > 0 && !ok {
			var c challenge
			var usable bool
			c, usable, value = readChallenge(value)
			if usable && (strings.EqualFold(want, "auto") || strings.EqualFold(want, c.alg.String())) {
				found, ok = c, true
			}
		}
		return !ok
	})
	return found, ok
}

// readChallenge reads one challenge from a header value that may hold several,
// and returns what follows it. A scheme other than Digest, an unknown
// algorithm or a qop without "auth" makes it unusable.
func readChallenge(v []byte) (c challenge, usable bool, rest []byte) {
	v = bytes.TrimLeft(v, " \t,")
	scheme := v
	if i := bytes.IndexAny(v, " \t"); i >= 0 {
		scheme, v = v[:i], v[i:]
	} else {
		v = nil
	}
	usable = equalFold(scheme, "digest")
	for {
		v = bytes.TrimLeft(v, " \t,")
		i := bytes.IndexAny(v, "= \t,")
		if i < 0 {
			return c, usable && c.nonce != nil, nil
		}
		name := v[:i]
		after := bytes.TrimLeft(v[i:], " \t")
		if len(after) == 0 || after[0] != '=' {
			// A word without "=" is the scheme of the next challenge.
			return c, usable && c.nonce != nil, v
		}
		var value []byte
		value, v = readValue(bytes.TrimLeft(after[1:], " \t"))
		switch {
		case equalFold(name, "realm"):
			c.realm = value
		case equalFold(name, "nonce"):
			c.nonce = value
		case equalFold(name, "opaque"):
			c.opaque = value
		case equalFold(name, "stale"):
			c.stale = equalFold(value, "true")
		case equalFold(name, "algorithm"):
			a, known := parseAlgorithm(string(value))
			c.alg = a
			usable = usable && known
		case equalFold(name, "qop"):
			for _, q := range bytes.Split(value, []byte{','}) {
				c.qop = c.qop || equalFold(bytes.TrimSpace(q), "auth")
			}
			usable = usable && c.qop
		}
	}
}

// readValue reads a token or the inside of a quoted string, escapes left as
// they are: they go back to the server inside quotes again.
func readValue(v []byte) (value, rest []byte) {
	if len(v) > 0 && v[0] == '"' {
		for i := 1; i < len(v); i++ {
			switch v[i] {
			case '\\':
				i++
			case '"':
				return v[1:i], v[i+1:]
			}
		}
		return v[1:], nil
	}
	if i := bytes.IndexAny(v, ", \t"); i >= 0 {
		return v[:i], v[i:]
	}
	return v, nil
}

// credential is what a user keeps of a challenge: the nonce is used again
// with a rising count until the server calls it stale.
type credential struct {
	realm, nonce, opaque string
	ha1                  []byte // hex
	alg                  algorithm
	qop                  bool
	nc                   uint32
}

// accept takes a challenge over. The hash of name, realm and password is
// computed once for each realm and algorithm.
func (c *credential) accept(ch challenge, user, password string) {
	if c.ha1 == nil || c.alg != ch.alg || c.realm != string(ch.realm) {
		c.realm = string(ch.realm)
		c.ha1 = ch.alg.appendHash(c.ha1[:0], []byte(user+":"+c.realm+":"+password))
	}
	c.nonce = string(ch.nonce)
	c.opaque = string(ch.opaque)
	c.alg, c.qop, c.nc = ch.alg, ch.qop, 0
}

// digester writes Authorization values; it owns the scratch memory.
type digester struct {
	cnonce  string
	scratch []byte
	ha2     []byte
}

// appendCredentials appends `Digest username=…` for a request of the method
// and URI and counts one use of the nonce (RFC 7616 §3.4).
func (d *digester) appendCredentials(dst []byte, c *credential, user, method string, uri []byte) []byte {
	c.nc++
	s := append(d.scratch[:0], method...)
	s = append(s, ':')
	s = append(s, uri...)
	d.ha2 = c.alg.appendHash(d.ha2[:0], s)

	dst = append(dst, `Digest username="`...)
	dst = append(dst, user...)
	dst = append(dst, `", realm="`...)
	dst = append(dst, c.realm...)
	dst = append(dst, `", nonce="`...)
	dst = append(dst, c.nonce...)
	dst = append(dst, `", uri="`...)
	dst = append(dst, uri...)
	dst = append(dst, `", algorithm=`...)
	dst = append(dst, c.alg.String()...)

	s = append(s[:0], c.ha1...)
	s = append(s, ':')
	s = append(s, c.nonce...)
	s = append(s, ':')
	if c.qop {
		at := len(s)
		s = appendHex32(s, c.nc)
		dst = append(dst, `, qop=auth, nc=`...)
		dst = append(dst, s[at:]...)
		dst = append(dst, `, cnonce="`...)
		dst = append(dst, d.cnonce...)
		dst = append(dst, '"')
		s = append(s, ':')
		s = append(s, d.cnonce...)
		s = append(s, ":auth:"...)
	}
	s = append(s, d.ha2...)
	dst = append(dst, `, response="`...)
	dst = c.alg.appendHash(dst, s)
	dst = append(dst, '"')
	if c.opaque != "" {
		dst = append(dst, `, opaque="`...)
		dst = append(dst, c.opaque...)
		dst = append(dst, '"')
	}
	d.scratch = s
	return dst
}
