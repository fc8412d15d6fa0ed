package sip

import (
	"errors"
	"strings"
)

// AOR is an address of record in canonical form, "sip:alice@example.com": host
// in lower case, no port, no parameters, and no escape in the user part that is
// not needed (RFC 3261 §10.3 item 5, §16.5). It is comparable. Only ParseAOR
// makes one; the zero value names nobody.
type AOR struct{ s string }

// ErrAOR is returned for what names no user of a domain.
var ErrAOR = errors.New("not an address of record: want sip:user@domain")

// AORMaxBytes bounds an address of record; longer ones name nobody.
const AORMaxBytes = 512

// ParseAOR canonicalises a sip or sips URI. Both schemes name the same account.
// The result may share memory with u; see Clone.
func ParseAOR(u URI) (AOR, error) {
	if !u.IsSIP() || u.User == "" || u.Host == "" || len(u.User)+len(u.Host) > AORMaxBytes-len("sip:@") {
		return AOR{}, ErrAOR
	}
	if plainUser(u.User) && plainHost(u.Host) && !u.ipv6 && strings.HasPrefix(u.raw, "sip:") {
		n := len("sip:") + len(u.User) + 1 + len(u.Host)
		if n <= len(u.raw) && u.raw[n-len(u.Host)-1] == '@' {
			return AOR{u.raw[:n]}, nil
		}
	}
	var b strings.Builder
	b.WriteString("sip:")
	for s := u.User; s != ""; {
		c, escaped, n := nextChar(s)
		if escaped && !userUnreserved(c) {
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
		s = s[n:]
	}
	b.WriteByte('@')
	if u.ipv6 {
		b.WriteString("[" + strings.ToLower(u.Host) + "]")
	} else {
		b.WriteString(strings.ToLower(u.Host))
	}
	return AOR{b.String()}, nil
}

// ParseAORString reads "sip:alice@example.com".
func ParseAORString(s string) (AOR, error) {
	u, err := ParseURI(s)
	if err != nil {
		return AOR{}, err
	}
	return ParseAOR(u)
}

// userUnreserved are the characters that a user part holds without escape.
func userUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0
}

func plainUser(s string) bool { return strings.IndexByte(s, '%') < 0 }

func plainHost(s string) bool {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return true
}

// String returns "sip:user@domain".
func (a AOR) String() string { return a.s }

// IsZero reports that a names nobody.
func (a AOR) IsZero() bool { return a.s == "" }

// User returns the user part, escapes as in the canonical form.
func (a AOR) User() string {
	if a.s == "" {
		return ""
	}
	return a.s[len("sip:"):strings.IndexByte(a.s, '@')]
}

// Domain returns the host part in lower case.
func (a AOR) Domain() string {
	if a.s == "" {
		return ""
	}
	return a.s[strings.IndexByte(a.s, '@')+1:]
}

// In returns the AOR in the memory of s when s is its text.
func (a AOR) In(s string) (AOR, bool) {
	if s == "" || a.s != s {
		return AOR{}, false
	}
	return AOR{s}, true
}

// Clone returns an AOR with memory of its own, to be kept beyond the message it
// was read from.
func (a AOR) Clone() AOR { return AOR{strings.Clone(a.s)} }
