package dialoginfo

import (
	"errors"
	"net/url"
	"strings"

	"rollcall/sip"
	"rollcall/xmltree"
)

// selection is what the parameters of the Event header ask for (RFC 4235 §3.2).
// The zero value asks for all dialogs.
type selection struct {
	callID, toTag, fromTag string
	sessions               bool
}

// selectionOf reads the value of an Event header. Who names a dialog names its
// Call-ID and to-tag, and a from-tag unless all dialogs of one INVITE are meant.
func selectionOf(event string) (selection, error) {
	var s selection
	i := strings.IndexByte(event, ';')
	if i < 0 {
		return s, nil
	}
	params := sip.Params(event[i:])
	if !params.Valid() {
		return s, errors.New("bad parameters of Event")
	}
	for name, to := range map[string]*string{"call-id": &s.callID, "to-tag": &s.toTag, "from-tag": &s.fromTag} {
		v, _ := params.Get(name)
		*to = sip.Unquote(v)
	}
	s.sessions = params.Has("include-session-description")
	if s.named() && (s.callID == "" || s.toTag == "") {
		return s, errors.New("a dialog is named by call-id, to-tag and from-tag")
	}
	return s, nil
}

// named reports that dialogs are named.
func (s selection) named() bool { return s.callID != "" || s.toTag != "" || s.fromTag != "" }

// String is the selection for event.View.
func (s selection) String() string {
	v := url.Values{}
	for name, value := range map[string]string{"call-id": s.callID, "to-tag": s.toTag, "from-tag": s.fromTag} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if s.sessions {
		v.Set("sessions", "1")
	}
	return v.Encode()
}

// parseSelection reads what String wrote.
func parseSelection(params string) selection {
	v, err := url.ParseQuery(params)
	if err != nil {
		return selection{}
	}
	return selection{v.Get("call-id"), v.Get("to-tag"), v.Get("from-tag"), v.Get("sessions") != ""}
}

// matches: to-tag is the local tag, from-tag the remote one (RFC 4235 §3.2).
func (s selection) matches(dialog *xmltree.Element) bool {
	return !s.named() || s.callID == attr(dialog, "call-id") && s.toTag == attr(dialog, "local-tag") &&
		(s.fromTag == "" || s.fromTag == attr(dialog, "remote-tag"))
}
