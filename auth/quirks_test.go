package auth

import (
	"testing"

	"rollcall/sip"
)

func TestMD5Only(t *testing.T) {
	for _, c := range []struct {
		branch, agent string
		want          bool
	}{
		{"z9hG4bK-4711-1-0", "", true}, // SIPp's [branch]
		{"z9hG4bK-4711-1-0", "MyPhone", true},
		{"z9hG4bK1a2b", "baresip v1.0.0 (x86_64/linux)", true},
		{"z9hG4bK1a2b", "baresip v3.10.0 (x86_64/linux)", false},
		{"z9hG4bK1a2b", "SIPp/linux", true},
		{"z9hG4bK.x-1-2", "Linphone/5.1", false},
		{"z9hG4bK-4711-1", "", false},
		{"z9hG4bK-4711-1-0-1", "", false},
		{"z9hG4bK-4711-1-x", "", false},
		{"z9hG4bK-", "", false},
		{"z9hG4bK", "", false},
	} {
		raw := "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=" + c.branch + "\r\n" +
			"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n" +
			"User-Agent: " + c.agent + "\r\nContent-Length: 0\r\n\r\n"
		var m sip.Message
		if err := m.Parse([]byte(raw)); err != nil || m.Check() != nil {
			t.Fatal(err, m.Check())
		}
		if got := md5Only(&m); got != c.want {
			t.Errorf("branch %q, User-Agent %q: %v, want %v", c.branch, c.agent, got, c.want)
		}
	}
}
