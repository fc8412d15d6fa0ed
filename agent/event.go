package agent

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/emiago/sipgo/sip"
)

// Kind says what an [Event] is about.
type Kind int

const (
	// Message is an instant message of any content type.
	Message Kind = iota + 1
	// Typing is a composing notice (RFC 3994).
	Typing
	// Receipt is a disposition notice about a message sent earlier (RFC 5438).
	Receipt
	// Registered: the server took the registration.
	Registered
	// Unregistered: the registration is gone, by our wish or the server's.
	Unregistered
	// State is what a presentity's presence is now: the first, or a change.
	State
	// Pending: the presentity has not yet decided whether it may be watched (RFC
	// 6665 §4.1.3).
	Pending
	// Unwatched: the presence is not known any more.
	Unwatched
)

func (k Kind) String() string {
	switch k {
	case Message:
		return "message"
	case Typing:
		return "typing"
	case Receipt:
		return "receipt"
	case Registered:
		return "registered"
	case Unregistered:
		return "unregistered"
	case State:
		return "presence"
	case Pending:
		return "pending"
	case Unwatched:
		return "unwatched"
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Event is something that [Watch] reports. Time and Kind are always set, the
// rest as far as the kind has it.
type Event struct {
	Kind Kind
	// Time is when the agent saw it, by its own clock.
	Time time.Time

	// From and To are the URIs of the message: of the CPIM wrapper where there
	// is one, else of the SIP request. Display is the sender's display name. From
	// is the presentity where the event is about one.
	From, To, Display string
	// Sent is when the sender says it wrote the message (CPIM DateTime or Date);
	// zero if it does not say.
	Sent time.Time
	// CallID is the request's.
	CallID string
	// ContentType is that of the content, inside a CPIM wrapper.
	ContentType string
	// Body is the content as it was received, inside a CPIM wrapper and after
	// Content-Encoding was undone.
	Body []byte
	// Text is what to show: the text of a message, "active" or "idle" of a
	// composing notice, the disposition of a receipt, the state of a presentity. It may hold control
	// characters; String does not.
	Text string
	// MessageID is the message that a receipt is about, or the IMDN Message-ID
	// of the message itself.
	MessageID string

	// Presence is that of the presentity.
	Presence Presence

	// Expires is the lifetime that the registrar granted.
	Expires time.Duration
	// Status is the answer that ended the registration or subscription; zero if
	// there was none.
	Status int
	Reason string
}

// String is the event as one line for a terminal, without control characters: a
// message cannot move the reader's cursor.
func (e Event) String() string {
	at := e.Time.Format("15:04:05")
	switch e.Kind {
	case Message:
		return at + " " + clean(e.sender()) + ": " + clean(e.Text)
	case Typing:
		if e.Text != "active" {
			return at + " " + clean(e.sender()) + " stopped typing"
		}
		return at + " … " + clean(e.sender()) + " is typing"
	case Receipt:
		return at + " " + clean(e.sender()) + " reports message " + clean(e.MessageID) + " " + clean(e.Text)
	case Registered:
		return fmt.Sprintf("%s registered for %s", at, e.Expires)
	case Unregistered:
		if e.Reason == "" {
			return at + " unregistered"
		}
		return at + " not registered: " + clean(e.Reason)
	case State:
		line := at + " " + clean(e.sender()) + " is " + clean(e.Text)
		if e.Presence.Note != "" {
			line += ": " + clean(e.Presence.Note)
		}
		return line
	case Pending:
		return at + " " + clean(e.From) + " has not yet said whether you may watch"
	case Unwatched:
		return at + " " + clean(e.From) + " is not watched: " + clean(e.Reason)
	}
	return at + " " + e.Kind.String()
}

func (e Event) sender() string {
	if e.Display != "" {
		return e.Display + " <" + e.From + ">"
	}
	return e.From
}

// clean replaces what a terminal could obey, and keeps the text on one line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimRight(s, "\r\n"))
}

// messageEvent reads a MESSAGE. Nothing in it makes this fail: what cannot be
// understood is shown as a message of its type.
func messageEvent(req *sip.Request, now time.Time) Event {
	e := Event{Kind: Message, Time: now}
	if from := req.From(); from != nil {
		e.From, e.Display = from.Address.String(), strings.Trim(from.DisplayName, `"`)
	}
	if to := req.To(); to != nil {
		e.To = to.Address.String()
	}
	if id := req.CallID(); id != nil {
		e.CallID = string(*id)
	}
	if h := req.GetHeader("Date"); h != nil {
		if t, err := time.Parse(time.RFC1123, h.Value()); err == nil {
			e.Sent = t
		}
	}
	part := part{header: map[string]string{}, body: req.Body()}
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		if h := req.GetHeader(name); h != nil {
			part.header[strings.ToLower(name)] = h.Value()
		}
	}
	part.fill(&e, 0)
	return e
}
