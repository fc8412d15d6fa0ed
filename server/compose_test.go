package server

import (
	"net/netip"
	"testing"

	"rollcall/api"
	"rollcall/config"
	"rollcall/sip"
)

// FuzzCompose: whatever a program asks for is refused, or is one request with the fields and the body that were asked for, and no others.
func FuzzCompose(f *testing.F) {
	s := &Server{}
	s.cfg.Store(config.Default())
	f.Add("sip:bob@example.com", "hello", "", "")
	f.Add("sip:bob@example.com", "a\r\n\r\nb", "text/html; charset=\"utf-8\"", "x: y")
	f.Add("sip:bob@example.com>\r\nX: y", "x", "text/plain\r\nX: y", "a\r\nb")
	f.Fuzz(func(t *testing.T, to, text, kind, subject string) {
		m, err := backend{s}.compose(aor(t, "robot"), "token-x", netip.MustParseAddrPort("192.0.2.1:4711"), api.NewMessage{To: to, Text: text, ContentType: kind, Subject: subject})
		if err != nil {
			return
		}
		want, err := sip.ParseAORString(to)
		if err != nil || m.Body() != text || m.ToAOR().String() != want.String() || m.FromAOR().String() != "sip:robot@example.com" || m.Method() != "MESSAGE" {
			t.Errorf("%q %q became\n%s", to, text, m.Raw())
		}
		for _, once := range []sip.HeaderID{sip.HeaderVia, sip.HeaderFrom, sip.HeaderTo, sip.HeaderCallID, sip.HeaderCSeq, sip.HeaderContentType, sip.HeaderContentLength, sip.HeaderMaxForwards} {
			if m.Count(once) != 1 {
				t.Errorf("%d fields %d in\n%s", m.Count(once), once, m.Raw())
			}
		}
		for _, never := range []sip.HeaderID{sip.HeaderRoute, sip.HeaderAuthorization, sip.HeaderProxyAuthorization, sip.HeaderRequire} {
			if m.Has(never) {
				t.Errorf("field %d in\n%s", never, m.Raw())
			}
		}
	})
}
