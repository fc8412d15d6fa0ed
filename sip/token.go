package sip

import "strings"

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

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

// isLWS reports a byte of linear white space. A folded value holds CR and LF
// only in front of a space or tab, so inside a value they are white space too
// (RFC 3261 §7.3.1).
func isLWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// trimBlanks cuts spaces and tabs off the end.
func trimBlanks(s string) string {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

func trimLeft(s string) string {
	for s != "" && isLWS(s[0]) {
		s = s[1:]
	}
	return s
}

func trim(s string) string {
	s = trimLeft(s)
	for s != "" && isLWS(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// quotedEnd returns the index behind the closing quote of the quoted string
// that s begins with, or -1 when it never closes.
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

// Unquote returns the text of a quoted string, escapes resolved; any other
// value comes back as it is.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ParseUint reads a decimal number of at most 32 bits; ok is false for
// anything else, overflow included.
func ParseUint(s string) (n uint32, ok bool) {
	if s == "" {
		return 0, false
	}
	var v uint64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if v = v*10 + uint64(c); v > 1<<32-1 {
			return 0, false
		}
	}
	return uint32(v), true
}

// cutItem takes the first item of a comma separated list. Commas inside quoted
// strings and angle brackets do not count. ok is false when a quote or bracket
// never closes.
func cutItem(s string) (item, rest string, more, ok bool) {
	if strings.IndexByte(s, ',') < 0 && strings.IndexByte(s, '"') < 0 { // nearly always
		ok = strings.IndexByte(s, '<') < 0 || strings.LastIndexByte(s, '<') <= strings.LastIndexByte(s, '>')
		return trim(s), "", false, ok
	}
	angle := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if angle {
				continue
			}
			n := quotedEnd(s[i:])
			if n < 0 {
				return "", "", false, false
			}
			i += n - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return trim(s[:i]), s[i+1:], true, true
			}
		}
	}
	return trim(s), "", false, !angle
}

// EqualFold compares tokens, names and schemes without regard to case, as the grammar
// means it: of ASCII letters alone. Most that are equal are equal as they stand.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if a == b {
		return true
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// HasToken reports whether the comma separated list holds the token, without
// regard to case.
func HasToken(list, token string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		if EqualFold(trim(item), token) {
			return true
		}
	}
	return false
}
