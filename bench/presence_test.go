package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"rollcall/bench"
)

// presenceState is the presence part of a responder.
type presenceState struct {
	dialogs  map[string]*dialog // by Call-ID
	state    map[string]string  // document by user
	etags    map[string]string  // by user
	number   int                // of the last entity tag and server's tag
	sent     int                // NOTIFYs of a state
	modified int                // PUBLISHes with an entity tag
}

type dialog struct {
	call, from, to, watched, contact, tag string
	cseq                                  int
}

// watching is the dialogs there are, by Call-ID, and the number of publications.
func (r *responder) watching() (dialogs map[string]*dialog, publications int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.presence.dialogs), len(r.presence.etags)
}

func (r *responder) servePresence(method, uri string, h textproto.MIMEHeader, body string, first bool, answer func(int, ...string)) {
	p := &r.presence
	if p.dialogs == nil {
		p.dialogs, p.state, p.etags = map[string]*dialog{}, map[string]string{}, map[string]string{}
	}
	if h.Get("Event") != "presence" {
		r.fault("%s with Event %q", method, h.Get("Event"))
	}
	if method == "PUBLISH" {
		if user := between(uri, ":", "@"); !first && p.etags[user] != "" {
			answer(200, "SIP-ETag: "+p.etags[user])
			return
		}
		r.publish(between(uri, ":", "@"), h, body, answer)
		return
	}
	d := p.dialogs[h.Get("Call-ID")]
	inside := strings.Contains(h.Get("To"), ";tag=")
	switch {
	case d == nil && !inside:
		p.number++
		d = &dialog{call: h.Get("Call-ID"), from: h.Get("To"), to: h.Get("From"), watched: between(uri, ":", "@"),
			contact: between(h.Get("Contact"), "<", ">"), tag: fmt.Sprintf("server%d", p.number)}
		p.dialogs[d.call] = d
		h.Set("To", h.Get("To")+";tag="+d.tag)
	case d == nil:
		answer(481)
		return
	case !first:
	case !inside || uri != "sip:here@"+r.addr || !strings.HasSuffix(h.Get("To"), ";tag="+d.tag):
		r.fault("SUBSCRIBE of dialog %+v: %s to %s", d, uri, h.Get("To"))
	}
	answer(200, "Expires: "+h.Get("Expires"), "Contact: <sip:here@"+r.addr+">;isfocus")
	if h.Get("Expires") == "0" {
		delete(p.dialogs, d.call)
		r.notify(d, "terminated;reason=timeout")
		return
	}
	r.notify(d, "active;expires=3600")
}

func (r *responder) publish(user string, h textproto.MIMEHeader, body string, answer func(int, ...string)) {
	p := &r.presence
	if tag := h.Get("SIP-If-Match"); tag != p.etags[user] {
		r.fault("%s published with the entity tag %q, not %q", user, tag, p.etags[user])
	} else if tag != "" && h.Get("Expires") != "0" {
		if p.modified++; r.forgetETag > 0 && p.modified%r.forgetETag == 0 {
			delete(p.etags, user)
			answer(412)
			return
		}
	}
	if h.Get("Expires") == "0" {
		delete(p.etags, user)
		delete(p.state, user)
		answer(200)
		return
	}
	if body == p.state[user] || len(body) < 500 || len(body) > 600 || !strings.Contains(body, `entity="sip:`+user+"@") {
		r.fault("%s published %d bytes:\n%s", user, len(body), body)
	}
	p.number++
	p.etags[user] = fmt.Sprintf("etag%d", p.number)
	before := p.state[user]
	p.state[user] = body
	for _, d := range p.dialogs {
		if d.watched != user {
			continue
		}
		if p.sent++; r.forget == 0 || p.sent%r.forget != 0 {
			r.notify(d, "active;expires=3600")
		}
		if r.regress > 0 && p.sent%r.regress == 0 {
			p.state[user] = before
			r.notify(d, "active;expires=3600")
			p.state[user] = body
		}
	}
	answer(200, "SIP-ETag: "+p.etags[user])
}

// notify sends the watched user's state in a dialog.
func (r *responder) notify(d *dialog, state string) {
	d.cseq++
	body := r.presence.state[d.watched]
	addr, _, _ := strings.Cut(d.contact, ";")
	_, addr, _ = strings.Cut(addr, "@")
	send := r.flows[addr]
	if send == nil {
		r.fault("no flow to %s", d.contact)
		return
	}
	msg := fmt.Sprintf("NOTIFY %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%s%d\r\nFrom: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d NOTIFY\r\nSubscription-State: %s\r\nContent-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%s",
		d.contact, d.tag, d.cseq, d.from, d.tag, d.to, d.call, d.cseq, state, len(body), body)
	send([]byte(msg))
	if r.repeatN > 0 && d.cseq%r.repeatN == 0 {
		send([]byte(msg))
	}
}

func presence(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	o.T1 = max(o.T1, 50*time.Millisecond) // a busy machine must not make it send again
	report, err := bench.Presence(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestPresence(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := newResponder(t, nil)
			o := small(r, transport)
			o.Watchers = 4
			report := presence(t, o)
			wantAll(t, report.Setup, 200)
			wantAll(t, report.Load, 500)
			if n := report.Setup.Challenges + report.Load.Challenges; n != 50 {
				t.Errorf("%d challenges, want one for each user", n)
			}
			// One when the dialog begins, one for the first state, one for each change.
			want := bench.Notifications{Subscriptions: 200, Received: 200 + 200 + 500*4, PerPublish: 4}
			if n := *report.Notifications; n != want {
				t.Errorf("notifications %+v, want %+v", n, want)
			}
			if dialogs, publications := r.watching(); len(dialogs) != 0 || publications != 0 {
				t.Errorf("%d dialogs and %d publications are left", len(dialogs), publications)
			}
		})
	}
}

func TestPresenceOfFewWatchedByMany(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Presentities, o.Watchers, o.Window, o.Count, o.Keep = 2, 49, 100, 20, true
	report := presence(t, o)
	wantAll(t, report.Setup, 98)
	wantAll(t, report.Load, 20)
	if n := report.Notifications; n.Received != 98+98+20*49 || n.Lost != 0 {
		t.Errorf("notifications %+v", n)
	}
	watchers := map[string]bool{}
	dialogs, _ := r.watching()
	for _, d := range dialogs {
		who := between(d.to, "<sip:", "@")
		if who == d.watched || watchers[who+d.watched] {
			t.Errorf("%s watches %s, or does so twice", who, d.watched)
		}
		watchers[who+d.watched] = true
	}
}

func TestPresenceFaults(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.forget, r.repeatN, r.forgetETag = 300, 10, 50 })
	o := small(r, "udp")
	o.Watchers, o.Keep = 2, true
	report := presence(t, o)
	// 100 NOTIFYs of the first states, then those of the changes: 300, 600 and 900 are missing.
	p := report.Load
	if p.OK+p.Errors+3 != 500 || p.Errors < 8 || p.Statuses["412"] != p.Errors || p.Timeouts != 3 {
		t.Errorf("ok %d, statuses %v, timeouts %d; want 3 timeouts, about ten 412, the rest ok", p.OK, p.Statuses, p.Timeouts)
	}
	n := report.Notifications
	if n.Received != 100+100+2*(p.OK+3)-3 || n.Retransmissions == 0 || n.Lost > 3 {
		t.Errorf("notifications %+v", n)
	}
}

func TestPresenceLosesTheLastState(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.forget = 1 })
	o := small(r, "udp")
	o.Users, o.Watchers, o.Count, o.Keep, o.T1 = 4, 3, 8, true, 5*time.Millisecond
	if _, err := bench.Presence(t.Context(), o); err == nil || !strings.Contains(err.Error(), "4 timeouts") {
		t.Errorf("error %v of a server that notifies nobody", err)
	}
	r = newResponder(t, func(r *responder) { r.forget = 12 + 3*8 })
	o.Server = r.addr
	o.Window = 1
	report := presence(t, o)
	if n := report.Notifications; n.Lost != 1 || report.Load.Timeouts != 1 {
		t.Errorf("%d lost, %d timeouts; want 1 and 1", n.Lost, report.Load.Timeouts)
	}
}

func TestPresenceOfAnOlderState(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.regress = 9 })
	o := small(r, "udp")
	o.Users, o.Presentities, o.Watchers, o.Count, o.Keep = 4, 1, 3, 2, true
	report := presence(t, o)
	// Nine states are told: the last watcher gets the second again after the third.
	wantAll(t, report.Load, 2)
	if n := report.Notifications; n.Regressed != 1 || n.Lost != 1 || n.Received != 3+9+1 {
		t.Errorf("notifications %+v, want one of an older state, which is then the last", n)
	}
}

func TestStorm(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Presentities, o.Watchers, o.Storm, o.StormRate = 5, 20, 80, 500
	report := presence(t, o)
	wantAll(t, report.Storm.Subscribe, 80)
	p := report.Storm.Register
	if report.Load != nil || p.OK == 0 || p.OK != p.Operations {
		t.Errorf("registrations beside %+v, load %+v", p, report.Load)
	}
	if n := len(r.bound()); n != 0 {
		t.Errorf("%d registrations are left", n)
	}
	var text bytes.Buffer
	if err := report.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"80 subscriptions refreshed", "registrations beside", "5 users, each by 20", "subscribed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestHold(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Hold, o.Keep = 130, true
	report := presence(t, o)
	wantAll(t, report.Setup, 98) // and 32 before
	dialogs, _ := r.watching()
	if n := len(dialogs); n != 130 || report.Notifications.Subscriptions != n || report.Load != nil {
		t.Errorf("%d dialogs, report %+v", n, report.Notifications)
	}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back bench.Report
	if err := json.Unmarshal(data, &back); err != nil || *back.Notifications != *report.Notifications {
		t.Errorf("the report changed in JSON: %v\n%s", err, data)
	}
}

func TestPresenceOptionsAreChecked(t *testing.T) {
	for _, test := range []struct {
		set  func(*bench.Options)
		want string
	}{
		{func(o *bench.Options) { o.Watchers = 1000 }, "1001 users"},
		{func(o *bench.Options) { o.Presentities = 1001 }, "1001 presentities of 1000"},
		{func(o *bench.Options) { o.Users = 1 }, "two users"},
		{func(o *bench.Options) { o.Storm = 5001 }, "storm of 5001 of 5000"},
		{func(o *bench.Options) { o.StormRate = -1 }, "negative"},
		{func(o *bench.Options) { o.Hold = 2_000_000 }, "2001 users"},
	} {
		o := bench.DefaultOptions("127.0.0.1:5060")
		test.set(&o)
		if _, err := bench.Presence(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one about %q", err, test.want)
		}
	}
}
