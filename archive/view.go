package archive

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// View is a record as people and JSON see it.
type View struct {
	Seq          uint64    `json:"seq"`
	ID           ID        `json:"id"`
	Type         string    `json:"type"`
	Node         string    `json:"node,omitempty"`
	Received     time.Time `json:"received,omitzero"`
	Archived     time.Time `json:"archived"`
	Cites        *ID       `json:"cites,omitempty"`
	Direction    string    `json:"direction,omitempty"`
	Channel      string    `json:"channel,omitempty"`
	From         string    `json:"from,omitempty"`
	To           string    `json:"to,omitempty"`
	Alias        string    `json:"alias,omitempty"` // of To, when that is what was asked for
	FromName     string    `json:"from_name,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	Subject      string    `json:"subject,omitempty"`
	CallID       string    `json:"call_id,omitempty"`
	CSeq         uint32    `json:"cseq,omitempty"`
	Branch       string    `json:"branch,omitempty"`
	Method       string    `json:"method,omitempty"`
	RequestURI   string    `json:"request_uri,omitempty"`
	Source       string    `json:"source,omitempty"`
	Flow         string    `json:"flow,omitempty"`
	Device       string    `json:"device,omitempty"`
	UserAgent    string    `json:"user_agent,omitempty"`
	ContentType  string    `json:"content_type,omitempty"`
	MessageID    string    `json:"message_id,omitempty"`
	Date         string    `json:"date,omitempty"`
	Decision     string    `json:"decision,omitempty"`
	Rule         string    `json:"rule,omitempty"`
	Policy       string    `json:"policy,omitempty"`
	Flags        string    `json:"flags,omitempty"`
	Class        string    `json:"class,omitempty"`
	FromUnit     string    `json:"from_unit,omitempty"`
	ToUnit       string    `json:"to_unit,omitempty"`
	FromGroups   string    `json:"from_groups,omitempty"`
	ToGroups     string    `json:"to_groups,omitempty"`
	Actor        string    `json:"actor,omitempty"`
	Action       string    `json:"action,omitempty"`
	Object       string    `json:"object,omitempty"`
	Size         uint64    `json:"size,omitempty"`
	Disposition  string    `json:"disposition,omitempty"`
	Status       uint16    `json:"status,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Target       string    `json:"target,omitempty"`
	// Body is the body when it is UTF-8; else BodyBytes has it, in base 64.
	Body        string `json:"body,omitempty"`
	BodyBytes   []byte `json:"body_base64,omitempty"`
	BodyOmitted bool   `json:"body_omitted,omitempty"`
	// Content is "sealed" when the reader has no key to it, "erased" when nobody has.
	Content string `json:"content,omitempty"`
	// Raw is the request as received, in base 64.
	Raw []byte `json:"raw_base64,omitempty"`
}

// View returns the record for people; raw asks for the request as received too.
func (r *Record) View(raw bool) View {
	v := View{
		Seq: r.Seq, ID: r.ID, Type: r.Type.String(), Node: r.Node, Received: r.Received, Archived: r.Archived,
		Direction: r.Direction.String(), Channel: r.Channel, From: r.From, To: r.To, Alias: r.Alias, FromName: r.FromName,
		Conversation: r.Conversation(), Subject: r.Subject, CallID: r.CallID, CSeq: r.CSeq, Branch: r.Branch,
		Method: r.Method, RequestURI: r.RequestURI, Source: r.Source, Flow: r.Flow, Device: r.Device,
		UserAgent: r.UserAgent, ContentType: r.ContentType, MessageID: r.MessageID, Date: r.Date,
		Decision: r.Decision, Rule: r.Rule, Policy: r.Policy, Flags: r.Flags, Class: r.Class,
		FromUnit: r.FromUnit, ToUnit: r.ToUnit, FromGroups: r.FromGroups, ToGroups: r.ToGroups, Actor: r.Actor, Action: r.Action, Object: r.Object, Size: r.Size,
		Content: r.Content.String(), Disposition: r.Disposition.String(), Status: r.Status,
		Reason: r.Reason, Target: r.Target, BodyOmitted: r.BodyOmitted,
	}
	if !r.Cites.IsZero() {
		v.Cites = &r.Cites
	}
	if b := r.Body(); utf8.Valid(b) {
		v.Body = string(b)
	} else {
		v.BodyBytes = b
	}
	if raw {
		v.Raw = r.Raw
	}
	return v
}

// Shown is one record with all that later records say about it.
type Shown struct {
	Record   View   `json:"record"`
	Place    Pos    `json:"place"`
	Outcomes []View `json:"outcomes,omitempty"` // the records that cite it, in order
}

// Show returns the record with the given ID and the records that cite it.
func (a Folder) Show(id ID) (*Shown, error) {
	rec, pos, err := a.Find(id)
	if err != nil {
		return nil, err
	}
	s := &Shown{Record: rec.View(true), Place: pos}
	r, err := a.readerFrom(micros(rec.Archived))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = r.each(func(o *Record, _ Pos) error {
		if o.Cites == id {
			s.Outcomes = append(s.Outcomes, o.View(false))
		}
		return nil
	})
	var fault *Fault
	if err != nil && !errors.As(err, &fault) { // Verify names damage
		return nil, err
	}
	return s, nil
}

// WriteText writes the record as text, one field a line, then its body and
// what became of it. Bytes that a terminal would act on are written as escapes.
func (s *Shown) WriteText(w io.Writer) error {
	var b strings.Builder
	v := &s.Record
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name+":", printable(value, false))
		}
	}
	line("id", v.ID.String())
	line("seq", fmt.Sprint(v.Seq))
	line("type", v.Type)
	line("place", fmt.Sprintf("%s at byte %d, %d bytes", s.Place.File, s.Place.Offset, s.Place.Bytes))
	line("node", v.Node)
	if !v.Received.IsZero() {
		line("received", v.Received.Format(timeText))
	}
	line("archived", v.Archived.Format(timeText))
	if v.Cites != nil {
		line("cites", v.Cites.String())
	}
	from := v.From
	if v.FromName != "" {
		from = v.FromName + " <" + v.From + ">"
	}
	line("from", from)
	line("to", v.To)
	line("alias", v.Alias)
	line("direction", v.Direction)
	line("channel", v.Channel)
	line("subject", v.Subject)
	line("call-id", v.CallID)
	if v.CSeq != 0 || v.Method != "" {
		line("request", fmt.Sprintf("%s %s, CSeq %d", v.Method, v.RequestURI, v.CSeq))
	}
	line("branch", v.Branch)
	line("source", v.Source)
	line("flow", v.Flow)
	line("device", v.Device)
	line("user-agent", v.UserAgent)
	line("content-type", v.ContentType)
	line("message-id", v.MessageID)
	line("date", v.Date)
	if v.Decision != "" {
		line("decision", strings.TrimSpace(v.Decision+" "+v.Rule))
	}
	line("policy", v.Policy)
	line("flags", v.Flags)
	line("class", v.Class)
	line("unit", strings.Trim(v.FromUnit+" → "+v.ToUnit, " →"))
	line("groups", strings.Trim(v.FromGroups+" → "+v.ToGroups, " →"))
	line("actor", v.Actor)
	line("action", v.Action)
	line("object", v.Object)
	line("disposition", v.Disposition)
	if v.Status != 0 {
		line("status", strings.TrimSpace(fmt.Sprintf("%d %s", v.Status, v.Reason)))
	} else {
		line("reason", v.Reason)
	}
	line("target", v.Target)
	for i := range s.Outcomes {
		line("outcome", s.Outcomes[i].outcomeText())
	}
	switch {
	case v.Content != "":
		fmt.Fprintf(&b, "\n(content is %s)\n", v.Content)
	case v.BodyOmitted:
		b.WriteString("\n(body not kept)\n")
	case len(v.BodyBytes) > 0:
		fmt.Fprintf(&b, "\n(%d bytes that are not UTF-8)\n", len(v.BodyBytes))
	case v.Body != "":
		b.WriteString("\n" + printable(v.Body, true) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// timeText shows what the record keeps of a time that matters to people.
const timeText = "2006-01-02T15:04:05.000Z07:00"

func (v *View) outcomeText() string {
	t := v.Archived.Format(timeText) + " " + v.Disposition
	if v.Disposition == "" {
		t = v.Archived.Format(timeText) + " " + v.Type
	}
	if v.Status != 0 {
		t += fmt.Sprintf(" %d", v.Status)
	}
	if v.Reason != "" {
		t += " " + v.Reason
	}
	if v.Target != "" {
		t += " → " + v.Target
	}
	return t
}

// Line returns the record in one line, for a list of search results.
func (v *View) Line() string {
	text := v.text()
	switch {
	case v.Disposition != "":
		text = v.outcomeText()
	case v.Content == "" && v.Type == TypeAct.String():
		text = strings.TrimSpace(v.Actor + " " + v.Action + " " + v.Object + " " + v.Reason)
	}
	const most = 80
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return printable(fmt.Sprintf("%s  %s  %s → %s  %s", v.ID, v.Time().Format(timeText), v.From, v.To, text), false)
}

// printable escapes what a terminal would act on.
func printable(s string, lines bool) string {
	return strings.Map(func(c rune) rune {
		switch {
		case lines && (c == '\n' || c == '\t'):
			return c
		case lines && c == '\r':
			return -1
		case c == utf8.RuneError || unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || unicode.Is(unicode.Zl, c) || unicode.Is(unicode.Zp, c):
			return '\uFFFD'
		}
		return c
	}, s)
}
