package sip

import "strings"

// Params is a sequence of parameters as received, from the first semicolon on
// (`;tag=1;x="a;b"`). Names are case-insensitive (RFC 3261 §7.3.1).
type Params string

// Next takes the first parameter. Done is true when none is left; ok is false
// when what stands there is no parameter.
func (p Params) Next() (name, value string, rest Params, done, ok bool) {
	s := trimLeft(string(p))
	if s == "" {
		return "", "", "", true, true
	}
	if s[0] != ';' {
		return "", "", "", false, false
	}
	s = trimLeft(s[1:])
	n := 0
	for n < len(s) && paramNameChar[s[n]] {
		n++
	}
	name, s = s[:n], trimLeft(s[n:])
	if name == "" {
		return "", "", "", false, false
	}
	if s == "" || s[0] != '=' {
		return name, "", Params(s), false, s == "" || s[0] == ';'
	}
	s = trimLeft(s[1:])
	if s != "" && s[0] == '"' {
		n = quotedEnd(s)
		if n < 0 {
			return "", "", "", false, false
		}
	} else {
		n = strings.IndexByte(s, ';')
		if n < 0 {
			n = len(s)
		}
	}
	value, s = trim(s[:n]), trimLeft(s[n:])
	return name, value, Params(s), false, s == "" || s[0] == ';'
}

// paramNameChar is wider than token: URI parameters may hold [, ], / and
// escapes in their names (RFC 3261 §25.1 paramchar).
var paramNameChar = func() (t [256]bool) {
	t = tokenChar
	for _, c := range "[]/:&$()" {
		t[c] = true
	}
	return t
}()

// Get returns the value of the first parameter of that name, quotes kept, and
// whether it stands there at all.
func (p Params) Get(name string) (value string, found bool) {
	for {
		n, v, rest, done, ok := p.Next()
		if done || !ok {
			return "", false
		}
		if EqualFold(n, name) {
			return v, true
		}
		p = rest
	}
}

// Has reports whether the parameter stands there, with or without a value.
func (p Params) Has(name string) bool {
	_, found := p.Get(name)
	return found
}

// Valid reports whether the whole sequence reads as parameters.
func (p Params) Valid() bool {
	for {
		_, _, rest, done, ok := p.Next()
		if !ok {
			return false
		}
		if done {
			return true
		}
		p = rest
	}
}
