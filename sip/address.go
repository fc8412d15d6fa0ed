package sip

import (
	"errors"
	"strings"
)

// Address is a name-addr or addr-spec with header parameters: the value of
// From, To, Contact, Route, Path (RFC 3261 §20.10, §25.1).
type Address struct {
	Display string // as received, quotes kept
	URI     string // inside the brackets when there are any
	Params  Params // header parameters
	Angle   bool   // the URI stood in < >
}

var (
	errAddress     = errors.New("malformed address")
	errAddressURI  = errors.New("address without brackets holds a comma, question mark or semicolon that belongs to a URI")
	errAddressName = errors.New("malformed display name")
)

// ParseAddress reads one address. Without angle brackets everything behind a
// semicolon is a header parameter, and a question mark is an error (§20).
func ParseAddress(s string) (Address, error) {
	s = trim(s)
	var a Address
	if s == "" {
		return a, errAddress
	}
	if s[0] == '"' {
		n := quotedEnd(s)
		if n < 0 {
			return a, errAddressName
		}
		a.Display = s[:n]
		s = trimLeft(s[n:])
		if s == "" || s[0] != '<' {
			return a, errAddress
		}
	}
	if lt := strings.IndexByte(s, '<'); lt >= 0 && (lt == 0 || a.Display == "" && strings.IndexByte(s[:lt], ';') < 0 && strings.IndexByte(s[:lt], '"') < 0) {
		if lt > 0 {
			a.Display = trim(s[:lt])
		}
		gt := strings.IndexByte(s[lt:], '>')
		if gt < 0 {
			return a, errAddress
		}
		a.URI, a.Angle = s[lt+1:lt+gt], true
		a.Params = Params(s[lt+gt+1:])
	} else {
		n := strings.IndexByte(s, ';')
		if n < 0 {
			n = len(s)
		}
		a.URI, a.Params = trim(s[:n]), Params(s[n:])
		if strings.IndexByte(a.URI, '?') >= 0 || strings.IndexByte(a.URI, ',') >= 0 {
			return a, errAddressURI
		}
	}
	if a.URI == "" || !a.Params.Valid() {
		return a, errAddress
	}
	return a, nil
}

// Tag returns the tag parameter (RFC 3261 §19.3).
func (a Address) Tag() string {
	t, _ := a.Params.Get("tag")
	return t
}

// DisplayName returns the display name without quotes.
func (a Address) DisplayName() string { return Unquote(a.Display) }
