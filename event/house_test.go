package event_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"rollcall/auth"
	"rollcall/event"
	"rollcall/event/watcherinfo"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store/embedded"
)

// The accounts of the tests, and who they are by an Authenticator's word.
var (
	users      = []string{"alice", "bob", "carol", "dave", "erin", "frank", "mallory"}
	identities = map[string]auth.Identity{}
)

func TestMain(m *testing.M) {
	if err := login(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// login authenticates each account once.
func login() error {
	dir, err := os.MkdirTemp("", "event")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	d, err := auth.NewDirectory(db, []string{"example.com"})
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := auth.New(auth.Options{Directory: d})
	if err != nil {
		return err
	}
	ctx, now := context.Background(), time.Now()
	for _, user := range users {
		aor, err := sip.ParseAORString("sip:" + user + "@example.com")
		if err != nil {
			return err
		}
		if err := d.Add(ctx, auth.Account{AOR: aor}, user); err != nil {
			return err
		}
		c := digest.Credentials{
			Username: user, Realm: "example.com", Nonce: string(a.Nonces().Append(nil, now)), URI: "sip:bob@example.com",
			Algorithm: digest.SHA256, CNonce: "c", QOP: "auth", Count: 1, NC: "00000001",
		}
		secrets := digest.NewSecrets(user, c.Realm, user)
		c.Response = string(c.AppendResponse(nil, &secrets, "SUBSCRIBE"))
		m := new(sip.Message)
		if err := m.Parse(siptest.Text("SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\nFrom: <sip:"+user+
			"@example.com>;tag=1\nTo: <sip:bob@example.com>\nCall-ID: 1\nCSeq: 1 SUBSCRIBE\nAuthorization: "+string(c.Append(nil)), "")); err != nil {
			return err
		}
		if fault := m.Check(); fault != nil {
			return fault
		}
		if identities[user], err = a.Authenticate(ctx, m, auth.Server, serverAddr.Addr(), now); err != nil {
			return err
		}
	}
	return nil
}

var serverAddr = netip.MustParseAddrPort("192.0.2.5:5060")

// house is a notifier with the real parts around it, at one end of a network in
// memory. It lives in a synctest bubble.
type house struct {
	t         *testing.T
	dir       string
	net       *siptest.Network
	board     *board
	clients   *transaction.Layer // of all phones
	settings  event.Settings
	db        *embedded.DB
	directory *auth.Directory
	layer     *transaction.Layer // of the server
	notifier  *event.Notifier
	work      *sync.WaitGroup // what the transport was asked to run
	stop      func()
	phones    int
	requests  int
}

// inHouse runs a test in a bubble with a house.
func inHouse(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, dir: t.TempDir(), net: siptest.NewNetwork(4711), board: newBoard()}
		h.net.Delay = 20 * time.Millisecond
		h.clients = transaction.New(over{h.net}, transaction.Options{})
		defer h.clients.Close()
		h.open()
		defer func() { h.stop() }()
		f(t, h)
	})
}

// over sends a layer's messages through the network.
type over struct{ n *siptest.Network }

func (o over) Send(f transport.Flow, b []byte) error {
	o.n.Send(f.Local, f.Remote, b)
	return nil
}

// ways is what the notifier sees of the sockets.
type ways struct{ work *sync.WaitGroup }

func (ways) Alive(transport.Flow) bool      { return true }
func (ways) SentBy(f transport.Flow) string { return f.Local.String() }
func (w ways) Post(f func())                { w.work.Go(f) }
func (ways) Reach(uri string, from transport.Flow, _ int, then func(transport.Flow, bool)) {
	u, err := sip.ParseURI(uri)
	a, ok := u.Addr()
	then(transport.Flow{Proto: transport.UDP, Local: from.Local, Remote: netip.AddrPortFrom(a, u.Port)}, err == nil && ok)
}

// open starts the server on what is in its folder.
func (h *house) open() {
	h.t.Helper()
	var err error
	if h.db, err = embedded.Open(h.dir, embedded.Options{}); err != nil {
		h.t.Fatal(err)
	}
	if h.directory, err = auth.NewDirectory(h.db, []string{"example.com"}); err != nil {
		h.t.Fatal(err)
	}
	for _, user := range users {
		if known, err := h.directory.Has(h.t.Context(), aor(h.t, user)); err == nil && !known {
			err = h.directory.Add(h.t.Context(), auth.Account{AOR: aor(h.t, user)}, user)
			if err != nil {
				h.t.Fatal(err)
			}
		}
	}
	h.layer = transaction.New(over{h.net}, transaction.Options{})
	h.work = new(sync.WaitGroup)
	h.notifier = event.New(event.Options{
		Store: h.db, Requests: h.layer, Transport: ways{h.work}, Accounts: h.directory, Settings: h.settings, Log: zap.NewNop(), Go: h.work.Go,
	}, h.board, watcherinfo.New("board"))
	if err := h.notifier.Recover(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.net.Attach(serverAddr, h.receive)
	h.notifier.Resume()
	h.stop = sync.OnceFunc(func() {
		h.net.Attach(serverAddr, nil)
		h.notifier.Close()
		h.layer.Close()
		h.work.Wait()
		h.directory.Close()
		if err := h.db.Close(); err != nil {
			h.t.Error(err)
		}
	})
}

// receive does for a datagram what the server does.
func (h *house) receive(b []byte, from netip.AddrPort) {
	m := new(sip.Message)
	if err := m.Parse(b); err != nil {
		h.t.Errorf("%v in\n%s", err, b)
		return
	}
	if fault := m.Check(); fault != nil {
		h.t.Errorf("%v in\n%s", fault, b)
		return
	}
	if !m.IsRequest() {
		h.layer.Response(m)
		return
	}
	flow := transport.Flow{Proto: transport.UDP, Local: serverAddr, Remote: from}
	k := h.layer.KeyOf(m)
	if h.layer.Absorb(k, flow) {
		return
	}
	s, fault := h.layer.Begin(k, m, flow, flow, time.Now())
	if s == nil {
		if fault != nil {
			h.t.Error(fault)
		}
		return
	}
	sender, _ := m.From()
	uri, _ := sip.ParseURI(sender.URI)
	a, err := h.notifier.Subscribe(h.t.Context(), event.Request{Message: m, From: identities[uri.User], Flow: flow, Body: m.Body(), Now: time.Now()})
	if err != nil {
		fault := refusal(h.t, err)
		s.Reply(m.AppendReply(nil, from, &sip.Reply{Status: fault.Status, Reason: fault.Reason, ToTag: "refused", Fields: fault.Headers}))
		return
	}
	s.Reply(m.AppendReply(nil, from, &sip.Reply{Status: a.Status, ToTag: a.ToTag, Fields: a.Fields}))
	a.Then()
}

// refusal is the answer that an error is.
func refusal(t *testing.T, err error) *sip.Error {
	t.Helper()
	fault, ok := errors.AsType[*sip.Error](err)
	if !ok {
		t.Errorf("no answer but %v", err)
		return sip.NewError(sip.StatusServerError, "")
	}
	return fault
}

// publication is a PUBLISH of an account for bob.
func (h *house) publication(user, text, match string, lines ...string) *sip.Message {
	h.t.Helper()
	h.requests++
	head := fmt.Sprintf("PUBLISH sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKp%d\nFrom: <sip:%s@example.com>;tag=1\n"+
		"To: <sip:bob@example.com>\nCSeq: 1 PUBLISH\nMax-Forwards: 70\nEvent: board", h.requests, user)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Call-ID:") }) {
		head += fmt.Sprintf("\nCall-ID: p%d", h.requests)
	}
	if match != "" {
		head += "\nSIP-If-Match: " + match
	}
	if text != "" {
		head += "\nContent-Type: text/plain"
	}
	for _, l := range lines {
		head += "\n" + l
	}
	m := new(sip.Message)
	if err := m.Parse(siptest.Text(head, text)); err != nil {
		h.t.Fatal(err)
	}
	if fault := m.Check(); fault != nil {
		h.t.Fatal(fault)
	}
	return m
}

// serve hands a PUBLISH in past the network and returns the entity-tag.
func (h *house) serve(user string, m *sip.Message) (string, error) {
	flow := transport.Flow{Proto: transport.UDP, Local: serverAddr, Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
	a, err := h.notifier.Publish(h.t.Context(), event.Request{Message: m, From: identities[user], Flow: flow, Body: m.Body(), Now: time.Now()})
	if err != nil {
		return "", err
	}
	a.Then()
	for _, f := range a.Fields {
		if f.Name == "SIP-ETag" {
			return f.Value, nil
		}
	}
	return "", errors.New("an answer without entity-tag")
}

// publish has an account publish for bob and returns the entity-tag.
func (h *house) publish(user, text, match string, lines ...string) (string, error) {
	h.t.Helper()
	return h.serve(user, h.publication(user, text, match, lines...))
}

// tells publishes for bob what must be taken.
func (h *house) tells(text, match string) string {
	h.t.Helper()
	etag, err := h.publish("bob", text, match)
	if err != nil {
		h.t.Fatalf("%q: %v", text, err)
	}
	return etag
}

// settle lets time pass and everything come to rest.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func aor(t testing.TB, user string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + user + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// copyFolder is what a kill leaves of the store's files.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// number is what stands before the first space.
func number(body string) int {
	n, _, _ := strings.Cut(body, " ")
	v, err := strconv.Atoi(n)
	if err != nil {
		return -1
	}
	return v
}
