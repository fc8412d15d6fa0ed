package agent

import (
	"strings"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// notify takes a NOTIFY (RFC 6665 §4.1.3).
func (w *watcher) notify(req *sip.Request, tx sip.ServerTransaction) {
	status, text, more, ended := w.notified(req)
	w.respond(req, tx, status, text, more...)
	if ended == nil {
		return
	}
	// Only now: who leaves closes the socket when it knows of the end.
	select {
	case ended.ends <- ended.end:
	default: // an earlier end is not dealt with yet
	}
}

// ended is a subscription that a NOTIFY ended.
type ended struct {
	*subscription
	end ending
}

// notified is the answer to a NOTIFY. Nothing is changed by one that is refused.
func (w *watcher) notified(req *sip.Request) (status int, text string, more []sip.Header, end *ended) {
	if h := req.GetHeader("Require"); h != nil && !strings.EqualFold(strings.TrimSpace(h.Value()), "eventlist") {
		return 420, "Bad Extension", []sip.Header{sip.NewHeader("Unsupported", h.Value())}, nil
	}
	if req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil {
		return 400, "Bad Request", nil, nil
	}
	event := ""
	if h := eventHeader(req); h != nil {
		event, _, _ = strings.Cut(h.Value(), ";")
	}
	if !strings.EqualFold(strings.TrimSpace(event), "presence") {
		return 489, "Bad Event", []sip.Header{sip.NewHeader("Allow-Events", "presence")}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.subscriptionOf(req)
	if s == nil {
		return 481, "Subscription Does Not Exist", nil, nil
	}
	if req.CSeq().SeqNo < s.peerCSeq { // RFC 3261 §12.2.2
		return 500, "CSeq Out Of Order", nil, nil
	}
	h := req.GetHeader("Subscription-State")
	if h == nil {
		return 400, "No Subscription-State", nil, nil
	}
	state, params := stateOf(h.Value())
	var p Presence
	var list []listed
	if len(req.Body()) > 0 && state == "active" {
		var status int
		if p, list, status = w.state(req); status == 415 {
			return 415, "Unsupported Media Type", []sip.Header{sip.NewHeader("Accept", typePIDF+", "+typeRLMI+", multipart/related")}, nil
		} else if status != 0 {
			return status, "Malformed Presence Document", nil, nil
		}
	}

	s.heard, s.peerCSeq = true, req.CSeq().SeqNo
	if s.remoteTag == "" {
		s.remoteTag, _ = req.From().Params.Get("tag")
		s.routes = routes(req.GetHeaders("Record-Route"))
	}
	if c := req.Contact(); c != nil {
		s.target = c.Address
	}
	switch {
	case state == "active" && list != nil:
		s.reportList(list)
	case state == "active":
		s.report(State, Event{Presence: p, Text: p.Word()})
	case state == "pending":
		s.report(Pending, Event{})
	case state == "terminated":
		s.callID = ""
		end = &ended{s, ending{params["reason"], seconds(params["retry-after"])}}
		if w.leaving.Err() == nil {
			why := "ended by the server"
			if r := params["reason"]; r != "" {
				why += ": " + r
			}
			s.report(Unwatched, Event{Reason: why})
		}
	}
	return 200, "OK", nil, end
}

// state reads the body of a NOTIFY, of one presentity or of a list; the status is that of
// a refusal, or zero.
func (w *watcher) state(req *sip.Request) (Presence, []listed, int) {
	part := part{header: map[string]string{}, body: req.Body()}
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		if h := req.GetHeader(name); h != nil {
			part.header[strings.ToLower(name)] = h.Value()
		}
	}
	media, _, _ := strings.Cut(part.header["content-type"], ";")
	body, ok := part.decoded()
	media = strings.ToLower(strings.TrimSpace(media))
	var p Presence
	var list []listed
	var err error
	switch {
	case ok && media == typePIDF:
		p, err = readPIDF(body)
	case ok && media == "multipart/related":
		list, err = readList(part.header["content-type"], body)
	default:
		return p, nil, 415
	}
	if err != nil {
		w.log.Debug("presence document", zap.Error(err))
		return p, nil, 400
	}
	return p, list, 0
}

// subscriptionOf finds the subscription whose dialog a NOTIFY is in, or which it
// makes (RFC 6665 §4.4.1). w.mu is held.
func (w *watcher) subscriptionOf(req *sip.Request) *subscription {
	to, _ := req.To().Params.Get("tag")
	from, _ := req.From().Params.Get("tag")
	for _, s := range w.subs {
		if s.callID != "" && s.callID == string(*req.CallID()) && s.localTag == to && (s.remoteTag == "" || s.remoteTag == from) {
			return s
		}
	}
	return nil
}

// eventHeader is Event by either of its names (RFC 6665 §8.2.1).
func eventHeader(req *sip.Request) sip.Header {
	if h := req.GetHeader("Event"); h != nil {
		return h
	}
	return req.GetHeader("o")
}

// stateOf takes a Subscription-State value apart (RFC 6665 §8.2.3).
func stateOf(v string) (state string, params map[string]string) {
	parts := strings.Split(v, ";")
	params = map[string]string{}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		params[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return strings.ToLower(strings.TrimSpace(parts[0])), params
}
