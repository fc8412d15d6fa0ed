package agent

import (
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// credentials remember the last challenge of each kind, so that later requests
// are signed at the first try with a rising nonce count (RFC 7616 §3.4). The
// zero value has seen none. Not safe for concurrent use.
type credentials struct {
	origin, proxy *challenge
}

type challenge struct {
	digest.Challenge
	count int
}

// preference orders the algorithms, best first (RFC 8760 §2.2). No algorithm
// means MD5 (RFC 7616 §3.3).
var preference = []string{"SHA-256", "SHA-512-256", "MD5", ""}

// learn takes the challenges of a 401 or 407. It reports whether another try
// makes sense: the request had no answer to this challenge yet, or only the
// nonce was stale.
func (c *credentials) learn(res *sip.Response) (bool, error) {
	slot, header := &c.origin, "WWW-Authenticate"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		slot, header = &c.proxy, "Proxy-Authenticate"
	}
	best, rank := (*challenge)(nil), len(preference)
	for _, h := range res.GetHeaders(header) {
		parsed, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		parsed.Algorithm = strings.ToUpper(parsed.Algorithm)
		for i, q := range parsed.QOP {
			parsed.QOP[i] = strings.TrimSpace(q)
		}
		if len(parsed.QOP) > 0 && !parsed.SupportsQOP("auth") {
			continue
		}
		for i, alg := range preference[:rank] {
			if parsed.Algorithm == alg {
				best, rank = &challenge{Challenge: *parsed}, i
				break
			}
		}
	}
	if best == nil {
		return false, fmt.Errorf("%d without a challenge that this agent can answer", res.StatusCode)
	}
	again := *slot == nil || (*slot).count == 0 || best.Stale
	// A nonce that was used in an earlier request and is refused now without
	// stale=true may still only be old: one try with a new one tells.
	if !again && (*slot).Nonce != best.Nonce && (*slot).count > 1 {
		again = true
	}
	*slot = best
	return again, nil
}

// sign puts the credentials for all known challenges into req, in place of
// earlier ones.
func (c *credentials) sign(req *sip.Request, user, password string) error {
	for _, s := range []struct {
		*challenge
		header string
	}{{c.origin, "Authorization"}, {c.proxy, "Proxy-Authorization"}} {
		req.RemoveHeader(s.header)
		if s.challenge == nil {
			continue
		}
		s.count++
		cred, err := digest.Digest(&s.Challenge, digest.Options{
			Method:   req.Method.String(),
			URI:      req.Recipient.String(),
			Username: user,
			Password: password,
			Count:    s.count,
		})
		if err != nil {
			return fmt.Errorf("answer the challenge of realm %q: %w", s.Realm, err)
		}
		req.AppendHeader(sip.NewHeader(s.header, cred.String()))
	}
	return nil
}
