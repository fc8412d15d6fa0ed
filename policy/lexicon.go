package policy

import (
	"regexp"
	"strings"
	"unicode"

	"rollcall/sip"
)

// lexiconRule looks for words and patterns.
type lexiconRule struct {
	name  string
	scope compiledScope
	block bool
	// notify are told of a hit.
	notify   []sip.AOR
	patterns []*regexp.Regexp
	near     []nearRule
	words    map[string][]int // a word of near → the pairs it is in
}

// nearRule wants two words with no more than some others between them.
type nearRule struct {
	words  [2]string
	within int
}

// split returns the words of a text in small letters.
func split(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c)
	})
}

// hits reports whether the lexicon has anything beside phrases in a text, given as a
// whole and as words. Patterns are linear in the text each (RE2).
func (l *lexiconRule) hits(text string, words []string) bool {
	if len(l.near) > 0 && l.together(words) {
		return true
	}
	for _, re := range l.patterns {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

// together looks for two words near each other, in either order.
func (l *lexiconRule) together(words []string) bool {
	last := make([][2]int, len(l.near)) // position from 1 of each word of a pair; 0: not yet
	for i, w := range words {
		for _, pair := range l.words[w] {
			n := &l.near[pair]
			for side := range 2 {
				if n.words[side] != w {
					continue
				}
				if other := last[pair][1-side]; other > 0 && i+1-other <= n.within+1 && other != i+1 {
					return true
				}
				last[pair][side] = i + 1
			}
		}
	}
	return false
}
