package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// timerN is how long after a SUBSCRIBE the NOTIFY must have come (RFC 6665
// §4.1.2.4): 64*T1.
const timerN = 32 * time.Second

// lastNotify bounds the wait for the NOTIFY that follows the end of a
// subscription (RFC 6665 §4.1.2.3), so that it is still answered.
const lastNotify = time.Second

// subscription watches one presentity, in one dialog after another if need be. Its
// goroutine runs run; mu of the watcher guards the rest.
type subscription struct {
	w    *watcher
	to   sip.Uri
	life time.Duration // to ask for; a 423 raises it

	back chan struct{} // the registration is up again: another connection carries it
	ends chan ending   // a NOTIFY ended the dialog

	callID, localTag, remoteTag string // no Call-ID: there is no dialog
	cseq, peerCSeq              uint32
	target                      sip.Uri
	routes                      []string
	heard                       bool // a NOTIFY came since the last SUBSCRIBE

	shown map[string]view // what was reported last, by address: of a list each member, too
}

// view is what was reported of a presentity.
type view struct {
	shown *Presence
	told  Kind // what else was: Pending or Unwatched; zero after a State
}

// ending is what the Subscription-State of a terminated subscription says.
type ending struct {
	reason string
	after  time.Duration // Retry-After; negative: none
}

func (w *watcher) newSubscription(to sip.Uri) *subscription {
	return &subscription{w: w, to: to, life: w.cfg.Expires, shown: map[string]view{}, back: make(chan struct{}, 1), ends: make(chan ending, 1)}
}

// run keeps the subscription until ctx ends or the server says that trying again
// would not help.
func (s *subscription) run(ctx context.Context) {
	defer s.leave()
	for pause := retryFirst; ; {
		first := s.begin()
		status, wait, err := s.ask(ctx, s.life)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && status == sip.StatusIntervalToBrief:
			continue // ask has raised s.life
		case err == nil && status/100 == 2:
			pause = retryFirst
		default:
			if ends := endsSubscription(status); err == nil && (first || ends) {
				s.forget()
				if !first && ends {
					continue // an unrelated SUBSCRIBE begins again, RFC 6665 §4.1.2.2
				}
			}
			s.unwatched(status, reason(status, err))
			if err == nil && first && final(status) {
				return
			}
			wait = max(wait, pause)
			pause = min(2*pause, retryMost)
		}
		if !s.hold(ctx, wait) {
			return
		}
	}
}

// endsSubscription tells the refusals of a refresh that end the subscription (RFC
// 6665 §4.1.2.2).
func endsSubscription(status int) bool {
	switch status {
	case 404, 405, 410, 416, 489, 501, 604:
		return true
	}
	return status >= 480 && status <= 485
}

// final tells the refusals that another try would meet again.
func final(status int) bool {
	switch status {
	case sip.StatusRequestTimeout, 429, 480, 481, 486, 491:
		return false
	}
	return status >= 300 && status < 500 || status == 501 || status >= 600
}

// begin makes a dialog if there is none, and reports whether it did.
func (s *subscription) begin() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.callID != "" {
		return false
	}
	s.callID, s.localTag, s.remoteTag = token(16), token(8), ""
	s.cseq, s.peerCSeq, s.target, s.routes = 0, 0, s.to, nil
	select {
	case <-s.ends: // of the dialog before
	default:
	}
	return true
}

// forget ends the dialog at our side: a NOTIFY of it is answered 481.
func (s *subscription) forget() {
	s.w.mu.Lock()
	s.callID = ""
	s.w.mu.Unlock()
}

// ask sends one SUBSCRIBE (RFC 6665 §4.1.2.1). It returns the status, and how long
// to wait: with a 2xx until the refresh, else as the server asks.
func (s *subscription) ask(ctx context.Context, expires time.Duration) (int, time.Duration, error) {
	w := s.w
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	w.mu.Lock()
	s.cseq++
	s.heard = false
	req := w.newRequest(sip.SUBSCRIBE, s.target, s.to, s.callID, s.cseq, nil)
	req.From().Params.Add("tag", s.localTag)
	if s.remoteTag != "" {
		req.To().Params.Add("tag", s.remoteTag)
	}
	for _, r := range s.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	w.mu.Unlock()
	req.AppendHeader(sip.NewHeader("Contact", w.ownContact()))
	req.AppendHeader(sip.NewHeader("Event", "presence"))
	req.AppendHeader(sip.NewHeader("Accept", typePIDF+", "+typeRLMI+", multipart/related"))
	req.AppendHeader(sip.NewHeader("Supported", "eventlist")) // RFC 4662 §4.1: a list may stand behind the address
	req.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(int64(expires/time.Second))))
	res, _, err := w.do(ctx, req)

	w.mu.Lock()
	defer w.mu.Unlock()
	s.cseq = req.CSeq().SeqNo
	if err != nil {
		return 0, 0, err
	}
	wait := min(max(0, headerSeconds(res, "Retry-After")), retryMost)
	switch {
	case res.IsSuccess():
		granted := headerSeconds(res, "Expires")
		if granted < 0 {
			granted = expires
		}
		wait = refreshAfter(granted)
		// The dialog may be there already: the NOTIFY may come first.
		if tag, ok := res.To().Params.Get("tag"); ok && s.remoteTag == "" {
			s.remoteTag = tag
			s.routes = routes(res.GetHeaders("Record-Route"))
			for i, j := 0, len(s.routes)-1; i < j; i, j = i+1, j-1 { // RFC 3261 §12.1.2
				s.routes[i], s.routes[j] = s.routes[j], s.routes[i]
			}
		}
		if c := res.Contact(); c != nil {
			s.target = c.Address
		}
	case res.StatusCode == sip.StatusIntervalToBrief && expires > 0:
		least := headerSeconds(res, "Min-Expires")
		if least <= s.life {
			return 0, 0, fmt.Errorf("server finds %s too brief and names no longer time", s.life)
		}
		s.life = least
	}
	return res.StatusCode, wait, nil
}

// routes lists the addresses of Record-Route or Route fields.
func routes(fields []sip.Header) []string {
	var list []string
	for _, h := range fields {
		depth, start, v := 0, 0, h.Value()
		for i := range len(v) + 1 {
			switch {
			case i == len(v) || v[i] == ',' && depth == 0:
				list = append(list, strings.TrimSpace(v[start:i]))
				start = i + 1
			case v[i] == '<':
				depth = 1
			case v[i] == '>':
				depth = 0
			}
		}
	}
	return list
}

// hold waits until it is time for the next SUBSCRIBE. False: never.
func (s *subscription) hold(ctx context.Context, wait time.Duration) bool {
	next, silence := time.NewTimer(wait), time.NewTimer(timerN)
	defer next.Stop()
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-next.C:
			return true
		case <-s.back:
			return true
		case <-silence.C:
			s.w.mu.Lock()
			silent := s.callID != "" && !s.heard
			s.w.mu.Unlock()
			if silent {
				s.forget()
				s.unwatched(0, "no NOTIFY came")
				next.Reset(retryMost)
			}
		case end := <-s.ends:
			// RFC 6665 §4.1.3 says when each reason lets one try again.
			switch end.reason {
			case "rejected", "noresource", "invariant":
				return false
			case "deactivated", "timeout":
				next.Reset(retryFirst)
			default:
				next.Reset(max(end.after, retryMost))
			}
		}
	}
}

// leave ends the subscription at the server (RFC 6665 §4.1.2.3). As with the
// registration, a server that does not answer is not waited for.
func (s *subscription) leave() {
	s.w.mu.Lock()
	live := s.callID != "" && s.remoteTag != ""
	s.w.mu.Unlock()
	if !live {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if status, _, err := s.ask(ctx, 0); err != nil || status/100 != 2 {
		s.w.log.Info("subscription not ended", zap.Stringer("aor", &s.to), zap.Int("status", status), zap.Error(err))
		return
	}
	last := time.NewTimer(lastNotify)
	defer last.Stop()
	select {
	case <-s.ends:
	case <-last.C:
	case <-ctx.Done():
	}
}

// unwatched reports, once, that nothing is known of the presentity any more.
func (s *subscription) unwatched(status int, why string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.report(Unwatched, Event{Status: status, Reason: why})
}

// report emits an event about the presentity, or the member of a list that e names,
// unless the last one said the same. w.mu is held.
func (s *subscription) report(k Kind, e Event) {
	if e.From == "" {
		e.From = s.to.String()
	}
	was, known := s.shown[e.From]
	if k == State {
		if was.told == 0 && was.shown != nil && was.shown.equal(e.Presence) {
			return
		}
		was = view{shown: &e.Presence}
	} else {
		if was.told == k {
			return
		}
		was.told = k
	}
	if !known && len(s.shown) > maxResources {
		return
	}
	s.shown[e.From] = was
	e.Kind, e.Time = k, time.Now()
	s.w.onEvent(e)
}
