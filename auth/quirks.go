package auth

import (
	"strings"

	"rollcall/sip"
	"rollcall/sip/digest"
)

// md5Only recognizes clients that give up when a challenge names any algorithm
// but MD5, wherever it stands among the challenges, instead of passing over it
// as RFC 8760 §2.4 asks: baresip up to 1.x and SIPp up to 3.6. SIPp names itself
// only where a scenario says so, so it is also known by the form of its branches,
// "z9hG4bK-PID-CALL-MESSAGE".
func md5Only(m *sip.Message) bool {
	agent := m.Get(sip.HeaderUserAgent)
	for _, prefix := range [...]string{"baresip v0.", "baresip v1.", "sipp"} {
		if len(agent) >= len(prefix) && strings.EqualFold(agent[:len(prefix)], prefix) {
			return true
		}
	}
	rest, ok := strings.CutPrefix(m.Via().Branch, sip.MagicCookie+"-")
	numbers := 0
	for ok && rest != "" {
		var n string
		n, rest, _ = strings.Cut(rest, "-")
		_, ok = sip.ParseUint(n)
		numbers++
	}
	return ok && numbers == 3
}

// offerTo returns the algorithms that a challenge to the request names.
func (a *Authenticator) offerTo(m *sip.Message) []digest.Algorithm {
	if a.md5ForOldClients && md5Only(m) {
		return onlyMD5
	}
	return a.offer
}

// forgets401 recognizes libpurple, which repeats a SUBSCRIBE or PUBLISH with
// credentials after a 401 but takes no notice of what is answered then: it holds
// no dialog and no entity-tag, and never publishes again. It is challenged as by
// a proxy before the event server (RFC 3261 §22.3), which it handles well.
func forgets401(m *sip.Message) bool {
	return m.Method() != "REGISTER" && strings.HasPrefix(m.Get(sip.HeaderUserAgent), "Purple/")
}

var onlyMD5 = []digest.Algorithm{digest.MD5}
