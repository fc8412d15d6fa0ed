package sip_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/sip"
	"rollcall/sip/siptest"
)

// corpus gives every torture message to add.
func corpus(f *testing.F, add func(b []byte)) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "rfc*", "*.dat"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no torture messages: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(b)
	}
	add([]byte(register))
	add([]byte(message))
}

// FuzzParse: whatever comes is dropped, answered or forwarded; the answer and
// what is forwarded are messages again that say the same.
func FuzzParse(f *testing.F) {
	corpus(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var m sip.Message
		if m.Parse(b) != nil {
			return
		}
		fault := m.Check()
		c := m.Clone()
		if fault != nil {
			m.AppendReply(nil, source, &sip.Reply{Status: fault.Status, ToTag: "srv"})
			return
		}
		for id := range sip.HeaderIfMatch + 1 {
			_ = c.EachItem(id, func(item string) bool {
				_, _ = sip.ParseAddress(item)
				return true
			})
		}
		if !m.IsRequest() {
			upstream := m.AppendUpstream(nil, nil)
			n, valid := countVias(&m)
			if n > 1 && valid { // with one the response is for us
				sent := again(t, upstream)
				left, _ := countVias(sent)
				same(t, "Via values", left, n-1)
				same(t, "body", sent.Body(), m.Body())
			}
			return
		}
		reply := again(t, m.AppendReply(nil, source, &sip.Reply{Status: 200, ToTag: "srv"}))
		sameFields(t, &m, reply, sip.HeaderFrom, sip.HeaderCallID, sip.HeaderCSeq)
		if to, err := reply.To(); err != nil || !to.Params.Has("tag") {
			t.Errorf("no To tag in the answer: %v\n%s", err, reply.Raw())
		}
		data := m.AppendForward(nil, &sip.Forward{URI: m.RequestURI(), Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKsrv"), Source: source})
		if d := siptest.Diff(data, c.AppendForward(nil, &sip.Forward{URI: c.RequestURI(), Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKsrv"), Source: source})); d != "" {
			t.Errorf("a clone is forwarded otherwise:\n%s", d)
		}
		sent := again(t, data)
		sameFields(t, &m, sent, sip.HeaderFrom, sip.HeaderTo, sip.HeaderCallID, sip.HeaderCSeq, sip.HeaderContentType, sip.HeaderContact, sip.HeaderRoute)
		if sent.Body() != m.Body() || sent.Method() != m.Method() || sent.RequestURI() != m.RequestURI() {
			t.Errorf("forwarded otherwise:\n%s", siptest.Diff(m.Raw(), sent.Raw()))
		}
		if skip, n, err := sip.FrameStream(data, 2*sip.MaxMessageBytes); skip != 0 || n != len(data) || err != nil {
			t.Errorf("what is forwarded is no frame: %d, %d of %d, %v\n%q", skip, n, len(data), err, data)
		}
	})
}

func countVias(m *sip.Message) (n int, valid bool) {
	valid = true
	err := m.EachItem(sip.HeaderVia, func(item string) bool {
		_, err := sip.ParseVia(item)
		valid = valid && err == nil
		n++
		return true
	})
	return n, valid && err == nil
}

// again parses what was written. It may have grown beyond the limits by the
// lines that were added.
func again(t *testing.T, b []byte) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := m.ParseLimited(b, &sip.Limits{MessageBytes: 1 << 20, Headers: 300, URIBytes: 1 << 20}); err != nil {
		t.Fatalf("what was written is no message:\n%q", b)
	}
	if fault := m.Check(); fault != nil {
		t.Fatalf("what was written is wrong: %v\n%q", fault, b)
	}
	return m
}

func sameFields(t *testing.T, a, b *sip.Message, ids ...sip.HeaderID) {
	t.Helper()
	for _, id := range ids {
		if a.Get(id) != b.Get(id) || a.Count(id) != b.Count(id) {
			t.Errorf("field %d: %q became %q", id, a.Get(id), b.Get(id))
		}
	}
}

// FuzzFrameStream: wherever a stream is cut the same messages come out, and a
// frame that passes Check is the message, no byte more.
func FuzzFrameStream(f *testing.F) {
	corpus(f, func(b []byte) {
		f.Add(b, uint(len(b)/2))
		f.Add(append([]byte("\r\n"+register), b...), uint(len(register)))
	})
	f.Fuzz(func(t *testing.T, b []byte, cut uint) {
		const limit = 4096
		all, rest, err := frames(b, limit)
		at := int(cut % uint(len(b)+1))
		first, left, err1 := frames(b[:at], limit)
		if err1 == nil {
			var second []string
			second, left, err1 = frames([]byte(left+string(b[at:])), limit)
			first = append(first, second...)
			if (err == nil) != (err1 == nil) || rest != left {
				t.Errorf("cut at %d: %v and %q, whole: %v and %q", at, err1, left, err, rest)
			}
			if d := siptest.Diff(strings.Join(all, "|"), strings.Join(first, "|")); d != "" {
				t.Errorf("cut at %d:\n%s", at, d)
			}
		}
		for _, s := range all {
			var m sip.Message
			if m.Parse([]byte(s)) == nil && m.Check() == nil && m.Raw() != s {
				t.Errorf("a frame of %d bytes holds a message of %d:\n%q", len(s), len(m.Raw()), s)
			}
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"sip:alice@example.com", "sips:a:b@[2001:db8::1]:5061;transport=tcp;lr?subject=x&to=y", "tel:+1-212", "sip:%61lice@Example.COM;X=%41",
		"sip:user;par=u%40example.net@example.com", "sip:[2001:db8:::192.0.2.1]"} {
		f.Add(s, "sip:alice@example.com;x=y")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		u, err := sip.ParseURI(s)
		if err != nil {
			return
		}
		if !u.Equal(u) {
			t.Errorf("%q does not equal itself", s)
		}
		if u.String() != s {
			t.Errorf("%q is written %q", s, u)
		}
		if u.IsSIP() {
			if again, err := sip.ParseURI("sip:" + u.HostPort()); err != nil || again.Host != u.Host || again.Port != u.Port {
				t.Errorf("%q: host and port %q read as %+v, %v", s, u.HostPort(), again, err)
			}
		}
		if v, err := sip.ParseURI(other); err == nil && u.Equal(v) != v.Equal(u) {
			t.Errorf("%q and %q: equality has a direction", s, other)
		}
		a, err := sip.ParseAOR(u)
		if err != nil {
			return
		}
		if again, err := sip.ParseAORString(a.String()); err != nil || again != a {
			t.Errorf("%q: %q is not canonical: %q, %v", s, a, again, err)
		}
		if a.String() != "sip:"+a.User()+"@"+a.Domain() || len(a.String()) > 3*sip.AORMaxBytes {
			t.Errorf("%q: %q", s, a)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{`"A \"b\"" <sip:a@example.com;lr>;tag=x`, "sip:a@example.com;tag=x;y", "A B <sip:a@b>", `<sip:a@b>;x="<;>"`, `sip:a@b;x="<y>"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := sip.ParseAddress(s)
		if err != nil {
			return
		}
		if a.URI == "" || !a.Params.Valid() {
			t.Errorf("%q reads as %+v", s, a)
		}
		if strings.Contains(a.URI, ">") && a.Angle || !strings.Contains(s, a.URI) {
			t.Errorf("%q has the URI %q", s, a.URI)
		}
		_ = a.Tag()
		_ = a.DisplayName()
		written := a.Display + "<" + a.URI + ">" + string(a.Params)
		if !a.Angle {
			written = a.URI + string(a.Params)
		}
		if b, err := sip.ParseAddress(written); err != nil || b.URI != a.URI || b.Tag() != a.Tag() || b.Display != a.Display {
			t.Errorf("%q written as %q reads as %+v, %v, not %+v", s, written, b, err, a)
		}
	})
}

func FuzzParseVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport", "SIP / 2.0 / TCP  [2001:db8::1] : 5060 ; branch = x ; y=\"z;\"", "SIP/2.0/UDP a;received=1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := sip.ParseVia(s)
		if err != nil {
			return
		}
		if v.Host == "" || v.Transport == "" || !v.Params.Valid() {
			t.Errorf("%q reads as %+v", s, v)
		}
		if b, ok := v.Params.Get("branch"); v.Branch != "" && !ok {
			t.Errorf("%q: branch %q, parameter %q", s, v.Branch, b)
		}
	})
}
