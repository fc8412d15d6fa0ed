package digest

import (
	"errors"
	"strings"

	"rollcall/sip"
)

// Limits of what is read from a stranger.
const (
	maxParams = 32       // parameters in one field
	maxValue  = 1 << 10  // bytes of a parameter's value other than uri
	maxURI    = 8 << 10  // bytes of uri
	maxField  = 16 << 10 // bytes of the whole field
)

var (
	// ErrScheme is returned for another scheme than Digest. RFC 4475 §3.3.7 wants
	// such credentials passed over, not refused.
	ErrScheme = errors.New("not digest credentials")

	// ErrUnsupported is returned for an algorithm or qop that is not offered here.
	// The answer is a challenge with those that are.
	ErrUnsupported = errors.New("digest algorithm or qop is not supported")

	// ErrMalformed is returned for what does not read as Digest, lacks a
	// mandatory parameter or has one twice.
	ErrMalformed = errors.New("malformed digest parameters")

	// ErrLimits is returned for fields with more or longer parameters than anyone
	// sends in earnest.
	ErrLimits = errors.New("digest parameters are too long or too many")
)

// cutScheme takes the scheme off a credentials or challenge value.
func cutScheme(s string) (rest string, err error) {
	s = trimLeft(s)
	const scheme = "Digest"
	if len(s) < len(scheme) || !sip.EqualFold(s[:len(scheme)], scheme) {
		return "", ErrScheme
	}
	rest = s[len(scheme):]
	if rest != "" && !isSpace(rest[0]) {
		return "", ErrScheme
	}
	if len(rest) > maxField {
		return "", ErrLimits
	}
	return rest, nil
}

// nextParam takes one name=value off a comma list. Empty elements are passed
// over (RFC 7230 §7). The value is without quotes, its escapes resolved. It is
// done when name is empty.
func nextParam(s string) (name, value, rest string, err error) {
	for s != "" && (isSpace(s[0]) || s[0] == ',') {
		s = s[1:]
	}
	if s == "" {
		return "", "", "", nil
	}
	n := 0
	for n < len(s) && tokenChar[s[n]] {
		n++
	}
	name, s = s[:n], trimLeft(s[n:])
	if name == "" || s == "" || s[0] != '=' {
		return "", "", "", ErrMalformed
	}
	s = trimLeft(s[1:])
	if s != "" && s[0] == '"' {
		end := 1 + strings.IndexByte(s[1:], '"')
		if end > 0 && strings.IndexByte(s[1:end], '\\') < 0 { // nearly always
			value, s = s[1:end], s[end+1:]
		} else {
			if end = quotedEnd(s); end < 0 {
				return "", "", "", ErrMalformed
			}
			value, s = sip.Unquote(s[:end]), s[end:]
		}
	} else {
		// Wider than a token: some leave the quotes of a URI away.
		n = 0
		for n < len(s) && s[n] != ',' && s[n] != '"' && !isSpace(s[n]) {
			n++
		}
		value, s = s[:n], s[n:]
		if value == "" {
			return "", "", "", ErrMalformed
		}
	}
	s = trimLeft(s)
	if s != "" && s[0] != ',' {
		return "", "", "", ErrMalformed
	}
	return name, value, s, nil
}

func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// tokenChar marks the characters of a token (RFC 3261 §25.1).
var tokenChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-.!%*_+`'~" {
		t[c] = true
	}
	return t
}()
