package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

var (
	domains = []string{"example.com", "example.net"}
	office  = netip.MustParseAddr("192.0.2.1")
)

func openStore(t testing.TB) store.Store {
	t.Helper()
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openDirectory(t testing.TB, s store.Store) *auth.Directory {
	t.Helper()
	d, err := auth.NewDirectory(s, domains)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func aor(t testing.TB, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// open returns an Authenticator over alice, bob and alice of the second domain,
// whose passwords are their user names.
func open(t testing.TB, s store.Store, o auth.Options) *auth.Authenticator {
	t.Helper()
	o.Directory = openDirectory(t, s)
	for _, name := range []string{"alice@example.com", "bob@example.com", "alice@example.net"} {
		a := auth.Account{AOR: aor(t, name), DisplayName: "The " + name, Unit: "sales", Groups: []string{"berlin", "staff"}}
		if err := o.Directory.Add(t.Context(), a, a.AOR.User()); err != nil && !errors.Is(err, auth.ErrExists) {
			t.Fatal(err)
		}
	}
	if o.Nonces.Capacity == 0 {
		o.Nonces.Capacity = 4096
	}
	a, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// client is a user agent as far as authentication goes.
type client struct {
	t          testing.TB
	a          *auth.Authenticator
	role       auth.Role
	source     netip.Addr
	now        time.Time
	method     string
	from, to   string
	user, pass string
	realm      string // "": as challenged
	algorithm  digest.Algorithm
	legacy     bool // RFC 2069
	lines      []string

	challenge digest.Challenge
	count     uint32
}

func newClient(t testing.TB, a *auth.Authenticator) *client {
	return &client{
		t: t, a: a, source: office, now: time.Now(), method: "REGISTER",
		from: "sip:alice@example.com", to: "sip:alice@example.com", user: "alice", pass: "alice",
	}
}

func (c *client) message(lines ...string) *sip.Message {
	c.t.Helper()
	text := c.method + " sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <" + c.from + ">;tag=1\r\nTo: <" + c.to +
		">\r\nCall-ID: 1\r\nCSeq: 1 " + c.method + "\r\n"
	for _, l := range append(lines, c.lines...) {
		text += l + "\r\n"
	}
	m := new(sip.Message)
	if err := m.Parse([]byte(text + "Content-Length: 0\r\n\r\n")); err != nil {
		c.t.Fatal(err)
	}
	if fault := m.Check(); fault != nil {
		c.t.Fatal(fault)
	}
	return m
}

func (c *client) send(lines ...string) (auth.Identity, error) {
	c.t.Helper()
	return c.a.Authenticate(c.t.Context(), c.message(lines...), c.role, c.source, c.now)
}

// credentials is the line that answers the last challenge with the next count.
func (c *client) credentials() string {
	c.count++
	cred := digest.Credentials{
		Username: c.user, Realm: c.challenge.Realm, Nonce: c.challenge.Nonce, URI: "sip:example.com", Algorithm: c.challenge.Algorithm,
	}
	if c.realm != "" {
		cred.Realm = c.realm
	}
	if !c.legacy {
		cred.QOP, cred.CNonce, cred.Count, cred.NC = "auth", "0a4f113b", c.count, fmt.Sprintf("%08x", c.count)
	}
	s := digest.NewSecrets(cred.Username, cred.Realm, c.pass)
	cred.Response = string(cred.AppendResponse(nil, &s, c.method))
	name := "Authorization: "
	if c.role == auth.Proxy {
		name = "Proxy-Authorization: "
	}
	line := name + string(cred.Append(nil))
	if c.legacy { // as libpurple has it
		line = strings.Replace(line, ", algorithm=MD5", `, nc="00000001"`, 1)
	}
	return line
}

// take keeps the challenge for the client's algorithm out of an answer.
func (c *client) take(err error) {
	c.t.Helper()
	answer := wantStatus(c.t, err, map[auth.Role]int{auth.Server: 401, auth.Proxy: 407}[c.role])
	for _, f := range answer.Headers {
		if f.Name != map[auth.Role]string{auth.Server: "WWW-Authenticate", auth.Proxy: "Proxy-Authenticate"}[c.role] {
			c.t.Fatalf("the answer has a field %s", f.Name)
		}
		challenge, err := digest.ParseChallenge(f.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		if challenge.Algorithm == c.algorithm {
			c.challenge, c.count = challenge, 0
			return
		}
	}
	c.t.Fatalf("no challenge for %s in %v", c.algorithm, answer.Headers)
}

// login is the whole exchange, from a first request without credentials.
func (c *client) login() (auth.Identity, error) {
	c.t.Helper()
	_, err := c.send()
	c.take(err)
	return c.send(c.credentials())
}

func wantStatus(t testing.TB, err error, status int) *sip.Error {
	t.Helper()
	var answer *sip.Error
	if !errors.As(err, &answer) {
		t.Fatalf("error %v, want status %d", err, status)
	}
	if answer.Status != status {
		t.Fatalf("answer %v, want status %d", answer, status)
	}
	return answer
}

// wantStale checks that the answer is a challenge with or without stale=true.
func wantStale(t testing.TB, err error, stale bool) {
	t.Helper()
	answer := wantStatus(t, err, 401)
	if len(answer.Headers) == 0 {
		t.Fatal("no challenge")
	}
	for _, f := range answer.Headers {
		if got := strings.Contains(f.Value, "stale=true"); got != stale {
			t.Fatalf("stale is %v, want %v: %s", got, stale, f.Value)
		}
	}
}

func wantIdentity(t testing.TB, i auth.Identity, err error, who string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !i.Valid() || i.AOR() != aor(t, who) || i.Person().AOR() != i.AOR() {
		t.Fatalf("identity %v %v, want %s", i.Valid(), i.AOR(), who)
	}
}

func TestChallengeNamesAlgorithmsInOrder(t *testing.T) {
	s := openStore(t)
	for _, c := range []struct {
		offer []digest.Algorithm
		want  []string
	}{
		{nil, []string{"SHA-256", "MD5"}},
		{[]digest.Algorithm{digest.SHA512256, digest.SHA256, digest.MD5}, []string{"SHA-512-256", "SHA-256", "MD5"}},
	} {
		client := newClient(t, open(t, s, auth.Options{Offer: c.offer}))
		_, err := client.send()
		answer := wantStatus(t, err, 401)
		var got []string
		for _, f := range answer.Headers {
			challenge, err := digest.ParseChallenge(f.Value)
			if err != nil || challenge.Realm != "example.com" || !challenge.QOP || challenge.Stale || challenge.Nonce == "" {
				t.Errorf("challenge %s, %v", f.Value, err)
			}
			got = append(got, challenge.Algorithm.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("offered %v, want %v", got, c.want)
		}
	}
}

func TestLogin(t *testing.T) {
	a := open(t, openStore(t), auth.Options{Offer: []digest.Algorithm{digest.SHA512256, digest.SHA256, digest.MD5}})
	for _, algorithm := range []digest.Algorithm{digest.MD5, digest.SHA256, digest.SHA512256} {
		for _, role := range []auth.Role{auth.Server, auth.Proxy} {
			t.Run(algorithm.String()+"/"+strconv.Itoa(int(role)), func(t *testing.T) {
				c := newClient(t, a)
				c.algorithm, c.role, c.method = algorithm, role, "MESSAGE"
				i, err := c.login()
				wantIdentity(t, i, err, "alice@example.com")
				if i.DisplayName() != "The alice@example.com" || i.Unit() != "sales" || !slices.Equal(i.Groups(), []string{"berlin", "staff"}) {
					t.Errorf("identity is %q of %q in %q", i.DisplayName(), i.Unit(), i.Groups())
				}
				c.method = "SUBSCRIBE" // one nonce for all methods, the count goes on
				i, err = c.send(c.credentials())
				wantIdentity(t, i, err, "alice@example.com")
			})
		}
	}
	if s := a.Stats(); s.Accepted != 12 || s.Challenged != 6 || s.Wrong != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestZeroIdentityIsInvalid(t *testing.T) {
	var i auth.Identity
	if i.Valid() || !i.AOR().IsZero() || i.DisplayName() != "" || i.Unit() != "" || i.Groups() != nil || i.Person().Disabled() {
		t.Error("the zero identity is somebody")
	}
}

func TestIdentityOutlivesTheMessage(t *testing.T) {
	c := newClient(t, open(t, openStore(t), auth.Options{}))
	_, err := c.send()
	c.take(err)
	raw := []byte(c.message(c.credentials()).Raw())
	m := new(sip.Message)
	if err := m.Parse(raw); err != nil {
		t.Fatal(err)
	}
	if fault := m.Check(); fault != nil {
		t.Fatal(fault)
	}
	i, err := c.a.Authenticate(t.Context(), m, auth.Server, office, c.now)
	for j := range raw {
		raw[j] = 'x' // the receive buffer is used again
	}
	wantIdentity(t, i, err, "alice@example.com")
}

func TestRealmIsTheAccountsDomain(t *testing.T) {
	a := open(t, openStore(t), auth.Options{})
	for _, c := range []struct{ method, from, to, realm string }{
		{"MESSAGE", "sip:alice@EXAMPLE.net", "sip:bob@example.com", "example.net"},
		{"MESSAGE", "sip:alice@example.org", "sip:bob@example.net", "example.com"},
		{"MESSAGE", "tel:+1", "sip:bob@example.net", "example.com"},
		{"REGISTER", "sip:alice@example.com", "sips:alice@example.net:5061", "example.net"},
	} {
		client := newClient(t, a)
		client.method, client.from, client.to = c.method, c.from, c.to
		_, err := client.send()
		client.take(err)
		if client.challenge.Realm != c.realm {
			t.Errorf("%s from %s to %s: realm %s, want %s", c.method, c.from, c.to, client.challenge.Realm, c.realm)
		}
		fields := a.Challenge(client.message(), auth.Server, true, client.now)
		got, err := digest.ParseChallenge(fields[0].Value)
		if err != nil || got.Realm != c.realm || !got.Stale || got.Algorithm != digest.SHA256 {
			t.Errorf("Challenge gives %v, %v", fields, err)
		}
	}
	client := newClient(t, a)
	client.from, client.to = "sip:alice@example.net", "sip:alice@example.net"
	i, err := client.login()
	wantIdentity(t, i, err, "alice@example.net")
}

func TestNobodySpeaksForAnother(t *testing.T) {
	a := open(t, openStore(t), auth.Options{WrongPerAccount: -1})
	const anonymous = "sip:anonymous@anonymous.invalid"
	for _, c := range []struct {
		name, method, from, to string
		lines                  []string
		status                 int
	}{
		{"own", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com", nil, 0},
		{"own, written otherwise", "MESSAGE", "sips:%61lice@Example.COM:5061;x=y", "sip:bob@example.com", nil, 0},
		{"spoofed From", "MESSAGE", "sip:bob@example.com", "sip:bob@example.com", nil, 403},
		{"From of the same name elsewhere", "MESSAGE", "sip:alice@example.net", "sip:bob@example.com", nil, 403},
		{"From of a foreign domain", "MESSAGE", "sip:alice@example.org", "sip:bob@example.com", nil, 403},
		{"From of another case", "MESSAGE", "sip:Alice@example.com", "sip:bob@example.com", nil, 403},
		{"From without user", "MESSAGE", "sip:example.com", "sip:bob@example.com", nil, 403},
		{"From tel", "MESSAGE", "tel:+15551234", "sip:bob@example.com", nil, 403},
		{"preferred", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com", []string{`P-Preferred-Identity: "A" <sip:alice@example.com>`}, 0},
		{"preferred of another", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com", []string{"P-Preferred-Identity: <sip:bob@example.com>"}, 403},
		{"preferred of another beside", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com",
			[]string{"P-Preferred-Identity: <sip:alice@example.com>, <sip:bob@example.com>"}, 403},
		{"preferred of another in a second line", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com",
			[]string{"P-Preferred-Identity: <sip:bob@example.com>", "P-Preferred-Identity: <sip:alice@example.com>"}, 403},
		{"preferred tel", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com",
			[]string{"P-Preferred-Identity: <sip:alice@example.com>, <tel:+15551234>"}, 403},
		{"preferred malformed", "MESSAGE", "sip:alice@example.com", "sip:bob@example.com", []string{`P-Preferred-Identity: "x`}, 403},
		{"preferred does not help a spoofed From", "MESSAGE", "sip:bob@example.com", "sip:bob@example.com",
			[]string{"P-Preferred-Identity: <sip:alice@example.com>"}, 403},
		{"anonymous, preferred", "MESSAGE", anonymous, "sip:bob@example.com", []string{"P-Preferred-Identity: <sip:alice@example.com>"}, 0},
		{"anonymous, preferred of another", "MESSAGE", anonymous, "sip:bob@example.com", []string{"P-Preferred-Identity: <sip:bob@example.com>"}, 403},
		{"anonymous", "MESSAGE", anonymous, "sip:bob@example.com", nil, 403},
		{"REGISTER", "REGISTER", "sip:alice@example.com", "sip:alice@example.com", nil, 0},
		{"REGISTER of another", "REGISTER", "sip:alice@example.com", "sip:bob@example.com", nil, 403},
		{"REGISTER by another", "REGISTER", "sip:bob@example.com", "sip:alice@example.com", nil, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newClient(t, a)
			client.method, client.from, client.to, client.lines, client.realm = c.method, c.from, c.to, c.lines, "example.com"
			i, err := client.login()
			if c.status == 0 {
				wantIdentity(t, i, err, "alice@example.com")
				return
			}
			wantStatus(t, err, c.status)
			if i.Valid() {
				t.Error("the identity is valid all the same")
			}
			// With a wrong password it is not told.
			client.pass = "wrong"
			_, err = client.send(client.credentials())
			wantStale(t, err, false)
		})
	}
}

func TestWrongPasswordAndUnknownUserLookAlike(t *testing.T) {
	for name, s := range map[string]store.Store{"local": openStore(t), "remote": storetest.Faulty(openStore(t), storetest.Faults{Delay: 1})} {
		t.Run(name, func(t *testing.T) {
			a := open(t, s, auth.Options{WrongPerAccount: 3, WrongPerSource: -1})
			answers := make(map[string][]string)
			for _, user := range []string{"alice", "nobody"} {
				c := newClient(t, a)
				c.user, c.pass = user, "wrong"
				c.from = "sip:" + user + "@example.com"
				c.to = c.from
				_, err := c.send()
				for range 6 {
					var answer *sip.Error
					if !errors.As(err, &answer) {
						t.Fatal(err)
					}
					text := answer.Error()
					for _, f := range answer.Headers {
						text += "\n" + f.Name + ": " + f.Value
						if c.challenge.Nonce == "" {
							c.take(err)
						}
						if challenge, err := digest.ParseChallenge(f.Value); err == nil {
							text = strings.ReplaceAll(text, challenge.Nonce, "NONCE")
						}
					}
					answers[user] = append(answers[user], text)
					_, err = c.send(c.credentials())
				}
			}
			if !slices.Equal(answers["alice"], answers["nobody"]) {
				t.Errorf("a wrong password hears\n%q\nan unknown user\n%q", answers["alice"], answers["nobody"])
			}
			if !strings.HasPrefix(answers["alice"][5], "503") {
				t.Errorf("the last answer is %s", answers["alice"][5])
			}
		})
	}
}

// countingStore counts what is asked of a store that is not in this process.
type countingStore struct {
	store.Store
	loads int
}

func (s *countingStore) Local() bool { return false }
func (s *countingStore) Load(ctx context.Context, k store.Key) (store.Set, error) {
	s.loads++
	return s.Store.Load(ctx, k)
}

// What takes time is a question to the store and the hashes. Both are the same for
// a known and an unknown user, whether the account is cached or not.
func TestUnknownUserCostsTheSame(t *testing.T) {
	s := &countingStore{Store: openStore(t)}
	a := open(t, s, auth.Options{WrongPerAccount: -1, WrongPerSource: -1})
	warm := newClient(t, a)
	if _, err := warm.login(); err != nil { // alice is cached now
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob", "nobody"} {
		c := newClient(t, a)
		c.user, c.pass, c.from, c.to = user, "wrong", "sip:"+user+"@example.com", "sip:"+user+"@example.com"
		_, err := c.send()
		c.take(err)
		for i := range 3 {
			s.loads = 0
			_, err := c.send(c.credentials())
			wantStale(t, err, false)
			if s.loads != 1 {
				t.Errorf("try %d as %s: %d loads, want 1", i, user, s.loads)
			}
		}
	}
}

// The time itself: the median of many, and a wide margin, as machines are noisy. An
// early exit for unknown users would skip two hashes of three.
func TestUnknownUserTakesTheSameTime(t *testing.T) {
	a := open(t, openStore(t), auth.Options{WrongPerAccount: -1, WrongPerSource: -1})
	const rounds = 2001
	times := make(map[string][]time.Duration)
	messages := make(map[string]*sip.Message)
	for _, user := range []string{"alice", "zzzzz"} {
		c := newClient(t, a)
		c.user, c.pass, c.from, c.to = user, "wrong", "sip:"+user+"@example.com", "sip:"+user+"@example.com"
		_, err := c.send()
		c.take(err)
		messages[user] = c.message(c.credentials())
	}
	now := time.Now()
	for range rounds {
		for user, m := range messages {
			start := time.Now()
			_, _ = a.Authenticate(t.Context(), m, auth.Server, office, now)
			times[user] = append(times[user], time.Since(start))
		}
	}
	for _, list := range times {
		slices.Sort(list)
	}
	known, unknown := times["alice"][rounds/2], times["zzzzz"][rounds/2]
	if ratio := float64(known) / float64(unknown); ratio < 0.7 || ratio > 1.4 {
		t.Errorf("a wrong password takes %v, an unknown user %v", known, unknown)
	}
}

func TestReplayIsRefused(t *testing.T) {
	c := newClient(t, open(t, openStore(t), auth.Options{}))
	_, err := c.send()
	c.take(err)
	line := c.credentials()
	i, err := c.send(line)
	wantIdentity(t, i, err, "alice@example.com")
	_, err = c.send(line)
	wantStale(t, err, true)

	second, third := c.credentials(), c.credentials()
	for _, line := range []string{third, second} { // they overtook each other
		i, err = c.send(line)
		wantIdentity(t, i, err, "alice@example.com")
	}
	for _, line := range []string{second, third} {
		_, err = c.send(line)
		wantStale(t, err, true)
	}
	if s := c.a.Stats(); s.Replayed != 3 || s.Accepted != 3 || s.Wrong != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestStaleOnlyWithTheRightPassword(t *testing.T) {
	s := openStore(t)
	a, other := open(t, s, auth.Options{Nonces: digest.NoncesOptions{Life: 10 * time.Minute}}), open(t, s, auth.Options{})
	for _, c := range []struct {
		name  string
		nonce func(c *client)
	}{
		{"expired", func(c *client) { c.now = c.now.Add(10 * time.Minute) }},
		{"of another process", func(c *client) { c.a = other }},
		{"tampered with", func(c *client) {
			n := []byte(c.challenge.Nonce)
			n[3] ^= 1
			c.challenge.Nonce = string(n)
		}},
		{"made up", func(c *client) { c.challenge.Nonce = "deadbeef" }},
		{"empty", func(c *client) { c.challenge.Nonce = "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newClient(t, a)
			_, err := client.send()
			client.take(err)
			c.nonce(client)
			used := client.challenge.Nonce
			client.pass = "wrong"
			_, err = client.send(client.credentials())
			wantStale(t, err, false)
			client.pass = "alice"
			_, err = client.send(client.credentials())
			wantStale(t, err, true)
			client.take(err)
			if client.challenge.Nonce == used {
				t.Error("the same nonce again")
			}
			i, err := client.send(client.credentials())
			wantIdentity(t, i, err, "alice@example.com")
		})
	}
}

// libpurple has no qop and no cnonce, puts nc in quotes, uses one nonce for all
// methods, and answers a challenge with the branch and CSeq of what was challenged.
func TestRFC2069(t *testing.T) {
	s := openStore(t)
	c := newClient(t, open(t, s, auth.Options{AcceptRFC2069: true}))
	c.legacy, c.method = true, "PUBLISH"
	i, err := c.login()
	wantIdentity(t, i, err, "alice@example.com")
	c.method, c.role = "MESSAGE", auth.Proxy
	i, err = c.send(c.credentials())
	wantIdentity(t, i, err, "alice@example.com")
	c.method, c.role = "PUBLISH", auth.Server
	c.now = c.now.Add(59 * time.Second)
	i, err = c.send(c.credentials())
	wantIdentity(t, i, err, "alice@example.com")
	c.now = c.now.Add(time.Second)
	_, err = c.send(c.credentials())
	wantStale(t, err, true)
	c.pass = "wrong"
	_, err = c.send(c.credentials())
	wantStale(t, err, false)
	if s := c.a.Stats(); s.Legacy != 3 || s.Stale != 1 || s.Wrong != 1 {
		t.Errorf("stats %+v", s)
	}

	c = newClient(t, open(t, s, auth.Options{}))
	c.legacy = true
	_, err = c.login()
	wantStale(t, err, false)
	if s := c.a.Stats(); s.Legacy != 0 || s.Wrong != 0 {
		t.Errorf("stats %+v", s)
	}
}

// libpurple takes notice of the answer to its SUBSCRIBE or PUBLISH only when it
// was challenged with 407.
func TestLibpurpleIsChallengedAsByAProxy(t *testing.T) {
	s := openStore(t)
	const agent = "User-Agent: Purple/2.14.12"
	for _, c := range []struct {
		method, agent string
		accept        bool
		role          auth.Role
	}{
		{"PUBLISH", agent, true, auth.Proxy},
		{"SUBSCRIBE", agent, true, auth.Proxy},
		{"REGISTER", agent, true, auth.Server},
		{"PUBLISH", agent, false, auth.Server},
		{"PUBLISH", "User-Agent: Linphone/5.1", true, auth.Server},
	} {
		p := newClient(t, open(t, s, auth.Options{AcceptRFC2069: c.accept}))
		p.method = c.method
		_, err := p.send(c.agent)
		p.role = c.role
		p.take(err)
		credentials := p.credentials()
		p.role = auth.Server
		i, err := p.send(c.agent, credentials)
		wantIdentity(t, i, err, "alice@example.com")
	}
}

func TestCredentialsThatAreNotForUs(t *testing.T) {
	a := open(t, openStore(t), auth.Options{})
	const foreign = `Authorization: Digest username="alice", realm="example.org", nonce="n", uri="sip:x", response="00"`
	for _, c := range []struct {
		name   string
		lines  []string
		status int
	}{
		{"RFC 4475 §3.3.7", []string{"Authorization: NoOneKnowsThisScheme opaque-data=here"}, 401},
		{"Basic", []string{"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, 401},
		{"nonsense", []string{"Authorization: =,=,="}, 401},
		{"session algorithm", []string{strings.Replace(foreign, "example.org", "example.com", 1) + ", algorithm=MD5-sess"}, 401},
		{"foreign realm", []string{foreign}, 401},
		{"realm in other case", []string{strings.Replace(foreign, "example.org", "EXAMPLE.com", 1)}, 401},
		{"of the other role", []string{"Proxy-" + strings.Replace(foreign, "example.org", "example.com", 1)}, 401},
		{"empty values", []string{`Authorization: Digest username="", realm="", nonce="", uri="", response=""`}, 401},
		{"no parameters", []string{"Authorization: Digest"}, 400},
		{"open quote", []string{`Authorization: Digest username="x`}, 400},
		{"too many parameters", []string{"Authorization: Digest " + strings.Repeat("a=b,", 500)}, 400},
		{"realm twice", []string{foreign + `, realm="example.com"`}, 400},
		{"malformed behind a foreign one", []string{foreign, "Authorization: Digest"}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newClient(t, a)
			_, err := client.send(c.lines...)
			answer := wantStatus(t, err, c.status)
			if c.status == 401 {
				wantStale(t, err, false)
			} else if len(answer.Headers) != 0 {
				t.Errorf("headers %v", answer.Headers)
			}
			// Beside ours they do not matter.
			i, err := client.login()
			wantIdentity(t, i, err, "alice@example.com")
			i, err = client.send(append(slices.Clone(c.lines), client.credentials())...)
			wantIdentity(t, i, err, "alice@example.com")
		})
	}
	if s := a.Stats(); s.Wrong != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestManyCredentials(t *testing.T) {
	c := newClient(t, open(t, openStore(t), auth.Options{}))
	_, err := c.send()
	c.take(err)
	var lines []string
	for range 100 {
		lines = append(lines, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
	}
	_, err = c.send(append(lines, c.credentials())...)
	wantStale(t, err, false) // not found among the first ones

	// Of two domains of ours, those of the domain the request is from.
	c.realm, c.pass = "example.net", "wrong"
	other := c.credentials()
	c.realm, c.pass = "", "alice"
	i, err := c.send(other, c.credentials())
	wantIdentity(t, i, err, "alice@example.com")
}

func TestDisabledAccount(t *testing.T) {
	a := open(t, openStore(t), auth.Options{})
	d := a.Directory()
	c := newClient(t, a)
	i, err := c.login()
	wantIdentity(t, i, err, "alice@example.com")
	if err := d.SetDisabled(t.Context(), aor(t, "alice@example.com"), true); err != nil {
		t.Fatal(err)
	}
	_, err = c.send(c.credentials())
	wantStatus(t, err, 403)
	c.pass = "wrong"
	_, err = c.send(c.credentials())
	wantStale(t, err, false)
	c.pass = "alice"
	if err := d.SetDisabled(t.Context(), aor(t, "alice@example.com"), false); err != nil {
		t.Fatal(err)
	}
	i, err = c.send(c.credentials())
	wantIdentity(t, i, err, "alice@example.com")
}

func TestNewPasswordCountsAtOnce(t *testing.T) {
	db := openStore(t)
	for name, s := range map[string]store.Store{"local": db, "remote": &countingStore{Store: db}} {
		t.Run(name, func(t *testing.T) {
			a := open(t, s, auth.Options{})
			c := newClient(t, a)
			c.from, c.to, c.user, c.pass = "sip:bob@example.com", "sip:bob@example.com", "bob", "bob"
			i, err := c.login()
			wantIdentity(t, i, err, "bob@example.com")
			// Another process changes it; the hint may be on its way still.
			if err := openDirectory(t, db).SetPassword(t.Context(), aor(t, "bob@example.com"), "new"); err != nil {
				t.Fatal(err)
			}
			c.pass = "new"
			i, err = c.send(c.credentials())
			wantIdentity(t, i, err, "bob@example.com")
			c.pass = "bob"
			_, err = c.send(c.credentials())
			wantStale(t, err, false)
			if err := openDirectory(t, db).SetPassword(t.Context(), aor(t, "bob@example.com"), "bob"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStoreAway(t *testing.T) {
	s := storetest.Faulty(openStore(t), storetest.Faults{})
	a := open(t, s, auth.Options{})
	c := newClient(t, a)
	_, err := c.send()
	c.take(err)
	s.Down(true)
	_, err = c.send(c.credentials())
	answer := wantStatus(t, err, 503)
	if len(answer.Headers) != 1 || answer.Headers[0].Name != "Retry-After" || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("answer %v with %v", answer, answer.Headers)
	}
	_, err = c.send() // a challenge needs no store
	wantStale(t, err, false)
	s.Down(false)
	i, err := c.login()
	wantIdentity(t, i, err, "alice@example.com")
}
