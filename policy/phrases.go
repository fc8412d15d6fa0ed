package policy

// phraseNode finds the phrases of all lexica at once: it holds those that begin with the
// words on the way to it. Each word of a text is looked up once, however many lexica and
// phrases there are, and the way from a word is no longer than the longest phrase.
type phraseNode struct {
	ends []int    // lexica, by their place in the file, of which a phrase ends here
	few  []phrase // those that go on, while there are few
	next map[string]*phraseNode
}

// phrase is what follows the words on the way.
type phrase struct {
	rest    []string
	lexicon int
}

// fewPhrases are compared one by one; of more there is a map.
const fewPhrases = 8

func (n *phraseNode) add(words []string, lexicon int) {
	switch {
	case len(words) == 0:
		n.ends = append(n.ends, lexicon)
		return
	case n.next == nil:
		if n.few = append(n.few, phrase{words, lexicon}); len(n.few) <= fewPhrases {
			return
		}
		few := n.few
		n.few, n.next = nil, map[string]*phraseNode{}
		for _, p := range few {
			n.add(p.rest, p.lexicon)
		}
		return
	}
	child := n.next[words[0]]
	if child == nil {
		child = new(phraseNode)
		n.next[words[0]] = child
	}
	child.add(words[1:], lexicon)
}

// at calls hit with the lexicon of each phrase that the words begin with.
func (n *phraseNode) at(words []string, hit func(lexicon int)) {
	for {
		for _, l := range n.ends {
			hit(l)
		}
		for i := range n.few {
			if follows(words, n.few[i].rest) {
				hit(n.few[i].lexicon)
			}
		}
		if len(words) == 0 || n.next == nil {
			return
		}
		if n = n.next[words[0]]; n == nil {
			return
		}
		words = words[1:]
	}
}

// find tells of each lexicon whether a phrase of it stands in a text; nil: of none.
func (n *phraseNode) find(words []string, lexica int) (found []bool) {
	if n.next == nil && len(n.few) == 0 {
		return nil
	}
	hit := func(lexicon int) {
		if found == nil {
			found = make([]bool, lexica)
		}
		found[lexicon] = true
	}
	for i := range words {
		n.at(words[i:], hit)
	}
	return found
}

func follows(words, rest []string) bool {
	if len(words) < len(rest) {
		return false
	}
	for i, w := range rest {
		if words[i] != w {
			return false
		}
	}
	return true
}
