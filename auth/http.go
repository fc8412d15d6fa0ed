package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/sip/digest"
)

// AuthenticateHTTP is Authenticate for an HTTP request to a resource of the realm,
// a domain; an empty or foreign one stands for the first of ours. Nonces, counts of
// wrong passwords and what an unknown user hears are those of SIP requests. The
// error is a *sip.Error whose status and header fields are an HTTP answer's as
// well: 400, 401, 403 or 503. Any other error is a fault of this server.
//
// The digest-uri must be the request's target (RFC 7616 §3.4.6), else 400. The
// quirks of SIP clients are not minded: all of Options.Offer is offered, one
// challenge each (RFC 7616 §3.7), and the form of RFC 2069 is refused.
func (a *Authenticator) AuthenticateHTTP(ctx context.Context, r *http.Request, realm string, source netip.Addr, now time.Time) (Identity, error) {
	if realm = strings.ToLower(realm); !a.directory.Serves(realm) {
		realm = a.directory.domains[0]
	}
	cred, state := a.httpCredentials(r, realm)
	switch state {
	case credentialsNone:
		a.stats.challenged.Add(1)
		return Identity{}, a.refuseHTTP(realm, false, now)
	case credentialsMalformed:
		a.stats.malformed.Add(1)
		return Identity{}, sip.NewError(sip.StatusBadRequest, "Malformed credentials")
	}
	if !a.failures.mayTry(source, cred.Username, cred.Realm, now) {
		a.stats.slowed.Add(1)
		return Identity{}, sip.NewError(sip.StatusServiceUnavailable, "Too Many Wrong Passwords", retryAfter(time.Second))
	}
	if !sameTarget(cred.URI, r) {
		a.stats.malformed.Add(1)
		return Identity{}, sip.NewError(sip.StatusBadRequest, "The digest uri is not the request's")
	}
	person, right, err := a.verify(ctx, &cred, claim{}, r.Method)
	if err != nil {
		return Identity{}, unavailable(err)
	}
	if !right {
		if busy := a.countWrong(&cred, source, now); busy != nil {
			return Identity{}, busy
		}
		return Identity{}, a.refuseHTTP(realm, false, now)
	}
	if !a.takeNonce(&cred, now) {
		return Identity{}, a.refuseHTTP(realm, true, now)
	}
	if person.Disabled() {
		a.stats.disabled.Add(1)
		return Identity{}, sip.NewError(sip.StatusForbidden, "Account Disabled")
	}
	a.stats.accepted.Add(1)
	return Identity{aor: person.AOR(), person: person}, nil
}

func (a *Authenticator) httpCredentials(r *http.Request, realm string) (c digest.Credentials, state credentialsState) {
	for _, field := range r.Header.Values("Authorization") {
		one, err := digest.ParseCredentials(field)
		switch {
		case errors.Is(err, digest.ErrScheme), errors.Is(err, digest.ErrUnsupported):
		case err != nil:
			return c, credentialsMalformed
		case a.directory.Serves(one.Realm) && one.QOP != "" && (state != credentialsFound || one.Realm == realm):
			c, state = one, credentialsFound
		}
	}
	return c, state
}

// sameTarget compares as bytes: what is signed is what was sent.
func sameTarget(uri string, r *http.Request) bool {
	target := r.RequestURI
	if uri == target {
		return true
	}
	path := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	for _, origin := range []string{"http://" + r.Host, "https://" + r.Host} {
		if rest, ok := strings.CutPrefix(uri, origin); ok {
			uri = rest
			break
		}
	}
	return uri == path || uri == target
}

func (a *Authenticator) refuseHTTP(realm string, stale bool, now time.Time) *sip.Error {
	c := digest.Challenge{Realm: realm, Nonce: string(a.nonces.Append(nil, now)), Stale: stale, QOP: true}
	fields := make([]sip.Field, len(a.offer))
	for i, algorithm := range a.offer {
		c.Algorithm = algorithm
		fields[i] = sip.Field{Name: "WWW-Authenticate", Value: string(c.Append(nil))}
	}
	return sip.NewError(sip.StatusUnauthorized, "", fields...)
}
