package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
)

// Role is what this server is for a request, which decides where the credentials
// stand and how it asks for them (RFC 3261 §22.2, §22.3).
type Role uint8

const (
	// Server is the user agent server or registrar: 401, WWW-Authenticate and
	// Authorization.
	Server Role = iota
	// Proxy passes the request on: 407, Proxy-Authenticate and
	// Proxy-Authorization.
	Proxy
)

func (r Role) status() int {
	if r == Proxy {
		return sip.StatusProxyAuthRequired
	}
	return sip.StatusUnauthorized
}

func (r Role) challengeField() string {
	if r == Proxy {
		return "Proxy-Authenticate"
	}
	return "WWW-Authenticate"
}

func (r Role) credentialsField() sip.HeaderID {
	if r == Proxy {
		return sip.HeaderProxyAuthorization
	}
	return sip.HeaderAuthorization
}

// Options set up an Authenticator. Zero values are good where a default stands.
type Options struct {
	// Directory knows the accounts. Its domains are the realms.
	Directory *Directory

	// Offer is which algorithms a challenge names, most wanted first (RFC 8760
	// §2.3). Default SHA-256, MD5. All three are accepted whatever is offered.
	Offer []digest.Algorithm

	// Nonces set the life of nonces and how many are remembered.
	Nonces digest.NoncesOptions

	// AcceptRFC2069 takes credentials without qop, as libpurple sends them.
	AcceptRFC2069 bool

	// MD5ForOldClients challenges clients that can't pass over other algorithms
	// with MD5 alone; see md5Only.
	MD5ForOldClients bool

	// WrongPerSource and WrongPerAccount are how many wrong passwords in a minute
	// a source address, and an account from one source address, may send before
	// it hears 503. Default 60 and 10. Negative means no threshold.
	WrongPerSource, WrongPerAccount int

	// Sources is how many counts of wrong passwords are remembered, 16 bytes each.
	// Default 65536.
	Sources int

	// Log hears of sources that guess passwords. Default none.
	Log *zap.Logger
}

// Authenticator decides who sent a request. Its methods may be called by many
// goroutines.
type Authenticator struct {
	directory        *Directory
	offer            []digest.Algorithm
	nonces           *digest.Nonces
	legacy           bool
	md5ForOldClients bool
	failures         *failures
	nobody           digest.Secrets // of an unknown user
	log              *zap.Logger
	stats            counters
}

// New returns an Authenticator.
func New(o Options) (*Authenticator, error) {
	if o.Directory == nil {
		return nil, errors.New("an authenticator needs a directory")
	}
	if len(o.Offer) == 0 {
		o.Offer = []digest.Algorithm{digest.SHA256, digest.MD5}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	a := &Authenticator{
		directory:        o.Directory,
		offer:            o.Offer,
		nonces:           digest.NewNonces(o.Nonces),
		legacy:           o.AcceptRFC2069,
		md5ForOldClients: o.MD5ForOldClients,
		failures:         newFailures(o.WrongPerSource, o.WrongPerAccount, o.Sources),
		log:              o.Log,
	}
	_, _ = rand.Read(a.nobody.MD5[:]) // never fails (crypto/rand)
	_, _ = rand.Read(a.nobody.SHA256[:])
	_, _ = rand.Read(a.nobody.SHA512256[:])
	return a, nil
}

// Authenticate returns who sent the request that came from the source, or the
// answer as a *sip.Error; package auth lists them. Any other error is a fault of
// this server. The request must have passed Check. What is returned holds nothing
// of the message.
//
// A 401 or 407 needs no transaction: libpurple sends its credentials with the
// branch and CSeq of the request that was challenged.
//
// For REGISTER it also makes sure that To is the account.
func (a *Authenticator) Authenticate(ctx context.Context, m *sip.Message, role Role, source netip.Addr, now time.Time) (Identity, error) {
	if role == Server && a.legacy && forgets401(m) {
		role = Proxy
	}
	c := readClaim(m)
	realm := a.realm(c)
	cred, state := a.credentials(m, role, realm)
	switch state {
	case credentialsNone:
		a.stats.challenged.Add(1)
		return Identity{}, a.refuse(m, role, realm, false, now)
	case credentialsMalformed:
		a.stats.malformed.Add(1)
		return Identity{}, sip.NewError(sip.StatusBadRequest, "Malformed credentials")
	}
	if !a.failures.mayTry(source, cred.Username, cred.Realm, now) {
		a.stats.slowed.Add(1)
		return Identity{}, sip.NewError(sip.StatusServiceUnavailable, "Too Many Wrong Passwords", retryAfter(time.Second))
	}
	person, right, err := a.verify(ctx, &cred, c, m.Method())
	if err != nil {
		return Identity{}, unavailable(err)
	}
	if !right {
		return Identity{}, a.wrong(m, &cred, role, realm, source, now)
	}
	// Only who has the password learns what became of the nonce (RFC 7616 §3.3).
	if !a.takeNonce(&cred, now) {
		return Identity{}, a.refuse(m, role, realm, true, now)
	}
	if person.Disabled() {
		a.stats.disabled.Add(1)
		return Identity{}, sip.NewError(sip.StatusForbidden, "Account Disabled")
	}
	aor, ok := c.account().In(person.field(tagAOR)) // nearly always
	if !ok {
		aor = person.AOR()
	}
	if fault := c.check(aor); fault != nil {
		a.stats.forged.Add(1)
		return Identity{}, fault
	}
	a.stats.accepted.Add(1)
	return Identity{aor: aor, person: person}, nil
}

// Challenge returns the fields of a 401 or 407 to the request, in order of
// preference. Stale tells that the password was right (RFC 7616 §3.3).
func (a *Authenticator) Challenge(m *sip.Message, role Role, stale bool, now time.Time) []sip.Field {
	return a.challenge(m, role, a.realm(readClaim(m)), stale, now)
}

// Directory returns the accounts.
func (a *Authenticator) Directory() *Directory { return a.directory }

// Nonces returns what signs and counts the nonces.
func (a *Authenticator) Nonces() *digest.Nonces { return a.nonces }

func (a *Authenticator) challenge(m *sip.Message, role Role, realm string, stale bool, now time.Time) []sip.Field {
	var nonceBuf [32]byte
	var buf [256]byte
	c := digest.Challenge{Realm: realm, Nonce: string(a.nonces.Append(nonceBuf[:0], now)), Stale: stale, QOP: true}
	offer := a.offerTo(m)
	fields := make([]sip.Field, len(offer))
	for i, algorithm := range offer {
		c.Algorithm = algorithm
		fields[i] = sip.Field{Name: role.challengeField(), Value: string(c.Append(buf[:0]))}
	}
	return fields
}

func (a *Authenticator) refuse(m *sip.Message, role Role, realm string, stale bool, now time.Time) *sip.Error {
	return sip.NewError(role.status(), "", a.challenge(m, role, realm, stale, now)...)
}

// realm is the domain of the account that the request claims to be from, if it is
// ours, else our first.
func (a *Authenticator) realm(c claim) string {
	domain := c.account().Domain()
	for _, d := range a.directory.domains {
		if d == domain {
			return d
		}
	}
	return a.directory.domains[0]
}

type credentialsState uint8

const (
	credentialsNone      credentialsState = iota // nothing for us
	credentialsMalformed                         // nothing for us, but perhaps meant so
	credentialsFound
)

// credentials picks those for the realm, else for another one of ours. A request
// may carry those of every proxy on its way (RFC 3261 §22.3).
func (a *Authenticator) credentials(m *sip.Message, role Role, realm string) (best digest.Credentials, state credentialsState) {
	id := role.credentialsField()
	if !m.Has(id) {
		return best, credentialsNone
	}
	if m.Count(id) == 1 {
		return a.pick(m.Get(id))
	}
	lines := 0
	m.Each(id, func(value string) bool {
		c, s := a.pick(value)
		if s == credentialsFound && (state != credentialsFound || c.Realm == realm) {
			best, state = c, s
		} else if state == credentialsNone {
			state = s
		}
		lines++
		return lines < maxCredentials && !(state == credentialsFound && best.Realm == realm)
	})
	return best, state
}

// maxCredentials is how many lines with credentials are looked at.
const maxCredentials = 16

func (a *Authenticator) pick(field string) (digest.Credentials, credentialsState) {
	c, err := digest.ParseCredentials(field)
	switch {
	case errors.Is(err, digest.ErrScheme), errors.Is(err, digest.ErrUnsupported):
		return c, credentialsNone
	case err != nil:
		return c, credentialsMalformed
	case !a.directory.Serves(c.Realm):
		return c, credentialsNone
	case c.QOP == "" && !a.legacy:
		return c, credentialsNone
	}
	return c, credentialsFound
}

// verify looks the user up and computes the response. For a user that does not
// exist it does the same with a secret that nobody has.
func (a *Authenticator) verify(ctx context.Context, cred *digest.Credentials, c claim, method string) (Person, bool, error) {
	owner := owner(cred, c)
	person, cached, err := a.directory.lookup(ctx, owner)
	if err != nil {
		return Person{}, false, err
	}
	right := a.compute(cred, person, method)
	if !right && cached {
		// The password may have been changed by another server, whose hint is on its
		// way. And so every wrong password costs one question to the store, which
		// an unknown user, who is never cached, costs as well.
		if person, err = a.directory.load(ctx, owner); err != nil {
			return Person{}, false, err
		}
		right = a.compute(cred, person, method)
	}
	return person, right, nil
}

func (a *Authenticator) compute(cred *digest.Credentials, person Person, method string) bool {
	secrets := a.nobody
	if !person.IsZero() {
		secrets = person.secrets()
	}
	right := cred.Verify(&secrets, method)
	return right && !person.IsZero()
}

// owner is the key of the account that the credentials name, "" for none.
func owner(cred *digest.Credentials, c claim) string {
	if aor := c.account(); aor.User() == cred.Username && aor.Domain() == cred.Realm {
		return aor.String()
	}
	aor, err := sip.ParseAORString("sip:" + cred.Username + "@" + cred.Realm)
	if err != nil || aor.User() != cred.Username || aor.Domain() != cred.Realm {
		return "" // no name that an account has
	}
	return aor.String()
}

// takeNonce uses up the nonce's count. It is false if the client needs a new nonce.
func (a *Authenticator) takeNonce(cred *digest.Credentials, now time.Time) bool {
	id, state := a.nonces.Check(cred.Nonce, now)
	if state == digest.NonceFresh {
		if cred.QOP != "" {
			state = a.nonces.Use(id, cred.Count)
		} else if a.nonces.Age(id, now) >= digest.LegacyNonceLife {
			state = digest.NonceStale
		} else {
			a.stats.legacy.Add(1)
		}
	}
	switch state {
	case digest.NonceFresh:
		return true
	case digest.NonceReplayed:
		a.stats.replayed.Add(1)
	default:
		a.stats.stale.Add(1)
	}
	return false
}

// wrong counts a wrong password and answers it.
func (a *Authenticator) wrong(m *sip.Message, cred *digest.Credentials, role Role, realm string, source netip.Addr, now time.Time) *sip.Error {
	if busy := a.countWrong(cred, source, now); busy != nil {
		return busy
	}
	return a.refuse(m, role, realm, false, now)
}

// countWrong returns the answer to a source that guesses too much, or nil.
func (a *Authenticator) countWrong(cred *digest.Credentials, source netip.Addr, now time.Time) *sip.Error {
	a.stats.wrong.Add(1)
	verdict := a.failures.add(source, cred.Username, cred.Realm, now)
	if verdict.first {
		a.log.Warn("too many wrong passwords", zap.Stringer("peer", sourcePrefix(source)), zap.Int("count", verdict.count))
	}
	if verdict.wait > 0 {
		a.stats.slowed.Add(1)
		return sip.NewError(sip.StatusServiceUnavailable, "Too Many Wrong Passwords", retryAfter(verdict.wait))
	}
	return nil
}

// WrongToken counts a wrong token of the HTTP API as a wrong password of its source, and
// returns how long that has to wait; 0: not at all.
func (a *Authenticator) WrongToken(source netip.Addr, now time.Time) time.Duration {
	a.stats.wrong.Add(1)
	verdict := a.failures.add(source, "", "", now)
	if verdict.first {
		a.log.Warn("too many wrong tokens", zap.Stringer("peer", sourcePrefix(source)), zap.Int("count", verdict.count))
	}
	if verdict.wait > 0 {
		a.stats.slowed.Add(1)
	}
	return verdict.wait
}

// storeRetry is when a client may come back while the store is away.
const storeRetry = 10 * time.Second

// unavailable makes an answer of a fault of the store that may pass.
func unavailable(err error) error {
	if !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return &sip.Error{Status: sip.StatusServiceUnavailable, Headers: []sip.Field{retryAfter(storeRetry)}, Cause: err}
}

// claim is whom a request says it is from.
type claim struct {
	from, to  sip.AOR
	preferred sip.AOR // the zero AOR if there is none
	badName   bool    // P-Preferred-Identity names something else as well
	anonymous bool
	register  bool
}

func readClaim(m *sip.Message) claim {
	c := claim{register: m.Method() == "REGISTER"}
	c.from = m.FromAOR()
	c.anonymous = c.from.Domain() == "anonymous.invalid" // an AOR's domain is in lower case
	if c.register {
		c.to = m.ToAOR()
	}
	if m.Has(sip.HeaderPreferredIdentity) {
		c.readPreferred(m)
	}
	return c
}

// readPreferred: RFC 3325 §9.2 lets a sip and a tel URI stand there. No account
// has a tel URI.
func (c *claim) readPreferred(m *sip.Message) {
	err := m.EachItem(sip.HeaderPreferredIdentity, func(item string) bool {
		address, err := sip.ParseAddress(item)
		aor := sip.AOR{}
		if err == nil {
			aor = parseAOR(address.URI)
		}
		c.badName = aor.IsZero() || !c.preferred.IsZero() && aor != c.preferred
		c.preferred = aor
		return !c.badName
	})
	c.badName = c.badName || err != nil
}

func parseAOR(uri string) sip.AOR {
	aor, err := sip.ParseAORString(uri)
	if err != nil {
		return sip.AOR{}
	}
	return aor
}

// account is the one that the request most likely is from.
func (c *claim) account() sip.AOR {
	switch {
	case c.register:
		return c.to
	case c.anonymous:
		return c.preferred
	}
	return c.from
}

// check compares the claim with who it is.
func (c *claim) check(aor sip.AOR) *sip.Error {
	switch {
	case c.badName, !c.preferred.IsZero() && c.preferred != aor:
		return sip.NewError(sip.StatusForbidden, "P-Preferred-Identity is not the authenticated account")
	case c.register && c.to != aor:
		return sip.NewError(sip.StatusForbidden, "Third-party registration is not allowed")
	case c.from != aor && (!c.anonymous || c.preferred.IsZero()):
		return sip.NewError(sip.StatusForbidden, "From is not the authenticated account")
	}
	return nil
}
