package index

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"rollcall/archive"
)

// Kinds of terms: what a record is found by beside its words. A term is the kind, a colon and a value; no
// word has a colon. Terms of outcomes and of acts have a letter before that, so that a search for messages does not
// meet them.
const (
	kindFrom  = "f:"
	kindTo    = "t:"
	kindUnit  = "u:"
	kindGroup = "g:"
	kindFlag  = "l:"
	kindHas   = "h:"
)

// gap stands between two texts of a record, so that no phrase goes over it.
const gap = " % "

// maxTerm bounds a term in bytes; of a longer value the digest stands in it.
const maxTerm = 250

// letter tells the types apart.
func letter(t archive.Type) string {
	switch t {
	case archive.TypeMessage:
		return ""
	case archive.TypeOutcome:
		return "o"
	}
	return "x"
}

// term makes a word of a value: what is neither a small letter, nor a digit, nor one of @.-_ becomes % and two hex digits.
func term(kind, value string) string {
	if len(value) > maxTerm {
		sum := sha256.Sum256([]byte(value))
		return kind + "%" + hex.EncodeToString(sum[:])
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	b.Grow(len(kind) + len(value) + 8)
	b.WriteString(kind)
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '@', c == '.', c == '-', c == '_', c >= 0x80:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// doc returns what stands in the full-text table for a record: its words, then its terms.
func doc(r *archive.Record) string {
	var b strings.Builder
	add := func(kind, value string) {
		b.WriteByte(' ')
		b.WriteString(term(letter(r.Type)+kind, value))
	}
	for _, t := range r.Texts() {
		if w := archive.Words(t); w != "" {
			if b.Len() > 0 {
				b.WriteString(gap)
			}
			b.WriteString(w)
		}
	}
	for _, p := range archive.PartyNames(r.From) {
		add(kindFrom, p)
	}
	for _, p := range archive.PartyNames(r.To) {
		add(kindTo, p)
	}
	for _, p := range archive.PartyNames(r.Alias) {
		add(kindTo, p)
	}
	for _, u := range r.Units() {
		add(kindUnit, strings.ToLower(u))
	}
	for _, g := range r.Groups() {
		add(kindGroup, strings.ToLower(g))
	}
	for _, f := range r.FlagNames() {
		add(kindFlag, strings.ToLower(f))
	}
	for _, h := range r.Has() {
		add(kindHas, h)
	}
	return b.String()
}
