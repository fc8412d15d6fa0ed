package archive

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Query says which records a search wants. The zero Query wants every message.
type Query struct {
	// Words and phrases that must all stand in the subject, the sender's name
	// or the body, of acts in the actor, action, object or reason, as whole
	// words, in any case of letters and with or without accents.
	Text []string
	// From, To and With (either) name parties: an AOR with or without its
	// scheme, a user, or a domain.
	From, To, With []string
	// Conversations are lists of parties, named in the same way: of one with two
	// or more a record is when both its parties are among them, of one with a
	// single name, a group's, when either is.
	Conversations [][]string
	// Units and Groups that either party was in at the time, and Flags, rules
	// that want a review. All that are named must be met.
	Units, Groups, Flags []string
	// Has names what a record must have, each a name of HasNames.
	Has []string
	// After and Before bound the time of receipt: from After on, and before Before.
	After, Before time.Time
	// Type is "message" (also when empty), "outcome", "act", or "all".
	Type string
	// Dispositions: of messages those with an outcome of one of these, of
	// outcomes those with one.
	Dispositions []Disposition
}

// QueryError says where a query is wrong.
type QueryError struct {
	Query  string
	Column int // of the fault, from 1, in characters
	Reason string
}

func (e *QueryError) Error() string {
	return fmt.Sprintf("query, column %d: %s", e.Column, e.Reason)
}

// maxQuery bounds the bytes of a query.
const maxQuery = 4096

// fields of the query language.
var fields = []string{"from", "to", "with", "conversation", "unit", "group", "flagged", "has", "after", "before", "type", "disposition"}

// What a record can have, as has: names it.
const (
	HasAttachment = "attachment" // a body that is no text to be read
	HasLink       = "link"       // a web address in its body
	HasFlag       = "flag"       // a rule wants a review
	HasComment    = "comment"    // a supervisor wrote about it
)

// HasNames are the values of has:.
var HasNames = []string{HasAttachment, HasLink, HasFlag, HasComment}

// maxConversation bounds the parties of a conversation: in a query.
const maxConversation = 50

// ParseQuery reads the query language: words and "phrases", of which all must
// be met, and the fields from: to: with: conversation: unit: group: flagged:
// has: before: after: type: disposition:. A time is a
// day (2026-11-23, from 00:00 in loc) or RFC 3339. A nil loc means UTC.
func ParseQuery(s string, loc *time.Location) (Query, error) {
	var q Query
	if loc == nil {
		loc = time.UTC
	}
	if len(s) > maxQuery {
		return q, &QueryError{Query: s, Column: 1, Reason: fmt.Sprintf("longer than %d bytes", maxQuery)}
	}
	if !utf8.ValidString(s) {
		return q, &QueryError{Query: s, Column: 1, Reason: "not UTF-8"}
	}
	for i := 0; i < len(s); {
		if c, n := utf8.DecodeRuneInString(s[i:]); unicode.IsSpace(c) {
			i += n
			continue
		}
		start := i
		fail := func(format string, args ...any) (Query, error) {
			return Query{}, &QueryError{Query: s, Column: utf8.RuneCountInString(s[:start]) + 1, Reason: fmt.Sprintf(format, args...)}
		}
		var key string
		if k := keyAt(s[i:]); k != "" {
			key, i = strings.ToLower(k), i+len(k)+1
		}
		var value string
		if i < len(s) && s[i] == '"' {
			n := strings.IndexByte(s[i+1:], '"')
			if n < 0 {
				return fail("a phrase has no closing quote")
			}
			value, i = s[i+1:i+1+n], i+n+2
		} else {
			n := strings.IndexFunc(s[i:], func(c rune) bool { return unicode.IsSpace(c) || c == '"' })
			if n < 0 {
				n = len(s) - i
			}
			value, i = s[i:i+n], i+n
		}
		if strings.TrimSpace(value) == "" {
			if key == "" {
				return fail("an empty phrase")
			}
			return fail("%s: needs a value", key)
		}
		if reason := q.add(key, value, loc); reason != "" {
			return fail("%s", reason)
		}
	}
	return q, nil
}

// keyAt returns the name before a colon that s begins with. What comes before
// a colon and is no plain word (a time, say) begins no field.
func keyAt(s string) string {
	i := strings.IndexFunc(s, func(c rune) bool { return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') })
	if i <= 0 || s[i] != ':' || strings.EqualFold(s[:i], "sip") || strings.EqualFold(s[:i], "sips") || strings.HasPrefix(s[i:], "://") {
		return ""
	}
	return s[:i]
}

func (q *Query) add(key, value string, loc *time.Location) (fault string) {
	switch key {
	case "":
		if Words(value) == "" {
			return fmt.Sprintf("%q has neither letters nor digits", value)
		}
		q.Text = append(q.Text, value)
	case "from", "to", "with":
		if Party(value) == "" {
			return fmt.Sprintf("%s: names nobody; write an address, a user or a domain", key)
		}
		list := map[string]*[]string{"from": &q.From, "to": &q.To, "with": &q.With}[key]
		*list = append(*list, value)
	case "conversation":
		var parties []string
		for _, p := range strings.FieldsFunc(value, func(c rune) bool { return c == ',' || unicode.IsSpace(c) }) {
			if Party(p) != "" {
				parties = append(parties, p)
			}
		}
		if n := len(parties); n == 0 || n > maxConversation {
			return fmt.Sprintf("conversation: wants 1 to %d parties parted by commas, as conversation:alice,bob", maxConversation)
		}
		q.Conversations = append(q.Conversations, parties)
	case "unit":
		q.Units = append(q.Units, value)
	case "group":
		q.Groups = append(q.Groups, value)
	case "flagged":
		q.Flags = append(q.Flags, value)
	case "has":
		if value = strings.ToLower(value); !slices.Contains(HasNames, value) {
			return "has: is one of " + strings.Join(HasNames, ", ")
		}
		q.Has = append(q.Has, value)
	case "before", "after":
		t, err := time.ParseInLocation(time.DateOnly, value, loc)
		if err != nil {
			if t, err = time.Parse(time.RFC3339, value); err != nil {
				return fmt.Sprintf("%s: wants a day as 2026-11-23 or a time as 2026-11-23T17:00:00Z", key)
			}
		}
		to := &q.Before
		if key == "after" {
			to = &q.After
		}
		if !to.IsZero() {
			return key + ": stands twice"
		}
		*to = t
	case "type":
		if q.Type = strings.ToLower(value); q.Type != "all" && !slices.Contains(typeNames[1:], q.Type) {
			return "type: is " + strings.Join(typeNames[1:], ", ") + " or all"
		}
	case "disposition":
		for d, name := range dispositionNames {
			if name != "" && strings.EqualFold(value, name) {
				q.Dispositions = append(q.Dispositions, Disposition(d))
				return ""
			}
		}
		return "disposition: is one of " + strings.Join(dispositionNames[1:], ", ")
	default:
		return fmt.Sprintf("unknown field %s:; the fields are %s:, and text with a colon stands in quotes", key, strings.Join(fields, ": "))
	}
	return ""
}
