package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// testRegistrar is a registrar and message relay on real loopback sockets, with
// digest authentication: enough of a server to be a peer of the agent.
type testRegistrar struct {
	t          testing.TB
	addr       string
	algorithms []string
	passwords  map[string]string
	minExpires int
	more       func(*sipgo.Server) // registers further handlers
	grant      int

	mu        sync.Mutex
	client    *sipgo.Client
	bindings  map[string]*sip.Request // last REGISTER with a binding, by user
	requests  []*sip.Request
	nonces    map[string]int // highest nonce count seen
	unhealthy int            // status for REGISTER, when set
	stop      func()
}

func startRegistrar(t testing.TB, change func(*testRegistrar)) *testRegistrar {
	t.Helper()
	r := &testRegistrar{
		t:          t,
		addr:       "127.0.0.1:0",
		algorithms: []string{"SHA-256", "MD5"},
		passwords:  map[string]string{"alice": "secret", "bob": "b0b"},
		grant:      600,
		bindings:   map[string]*sip.Request{},
		nonces:     map[string]int{},
	}
	if change != nil {
		change(r)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start opens UDP and TCP on the same port.
func (r *testRegistrar) start() {
	quietSIP()
	nothing := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(nothing)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(nothing)))
	if err != nil {
		r.t.Fatal(err)
	}
	uas, err := sipgo.NewServer(ua, sipgo.WithServerLogger(nothing))
	if err != nil {
		r.t.Fatal(err)
	}
	r.client, err = sipgo.NewClient(ua)
	if err != nil {
		r.t.Fatal(err)
	}
	uas.OnRegister(r.register)
	uas.OnMessage(r.message)
	if r.more != nil {
		r.more(uas)
	}
	var pc net.PacketConn
	var l net.Listener
	for try := 0; ; try++ {
		if l, err = net.Listen("tcp", r.addr); err != nil {
			r.t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		l.Close()
		if try > 20 {
			r.t.Fatal(err)
		}
	}
	r.addr = l.Addr().String()
	go uas.ServeUDP(pc)
	go uas.ServeTCP(l)
	r.stop = func() {
		pc.Close()
		l.Close()
		ua.Close()
	}
}

// authorized challenges with all algorithms, or checks the answer to one.
func (r *testRegistrar) authorized(req *sip.Request, tx sip.ServerTransaction, status int) bool {
	challengeHeader, credentialHeader := "WWW-Authenticate", "Authorization"
	if status == 407 {
		challengeHeader, credentialHeader = "Proxy-Authenticate", "Proxy-Authorization"
	}
	stale := false
	if h := req.GetHeader(credentialHeader); h != nil {
		cred, err := digest.ParseCredentials(h.Value())
		if err != nil {
			r.t.Errorf("credentials %q: %v", h.Value(), err)
			return false
		}
		password, known := r.passwords[cred.Username]
		want, err := digest.Digest(&digest.Challenge{Realm: "example.com", Nonce: cred.Nonce, Algorithm: cred.Algorithm, QOP: []string{"auth"}},
			digest.Options{Method: string(req.Method), URI: cred.URI, Username: cred.Username, Password: password, Count: cred.Nc, Cnonce: cred.Cnonce})
		if err != nil {
			r.t.Errorf("check digest: %v", err)
			return false
		}
		r.mu.Lock()
		last, issued := r.nonces[cred.Nonce]
		fresh := issued && cred.Nc > last
		if fresh {
			r.nonces[cred.Nonce] = cred.Nc
		}
		r.mu.Unlock()
		right := known && want.Response == cred.Response && cred.URI == req.Recipient.String()
		if right && fresh {
			return true
		}
		stale = right && !fresh
	}
	res := sip.NewResponseFromRequest(req, status, "Unauthorized", nil)
	for _, alg := range r.algorithms {
		nonce := token(8)
		r.mu.Lock()
		r.nonces[nonce] = 0
		r.mu.Unlock()
		value := fmt.Sprintf(`Digest realm="example.com", nonce="%s", algorithm=%s, qop="auth"`, nonce, alg)
		if stale {
			value += ", stale=TRUE"
		}
		res.AppendHeader(sip.NewHeader(challengeHeader, value))
	}
	tx.Respond(res)
	return false
}

func (r *testRegistrar) note(req *sip.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.mu.Unlock()
}

func (r *testRegistrar) register(req *sip.Request, tx sip.ServerTransaction) {
	r.note(req)
	r.mu.Lock()
	sick := r.unhealthy
	r.mu.Unlock()
	if sick != 0 {
		tx.Respond(sip.NewResponseFromRequest(req, sick, "Sick", nil))
		return
	}
	if !r.authorized(req, tx, 401) {
		return
	}
	expires := int(seconds(req.GetHeader("Expires").Value()) / time.Second)
	if expires != 0 && expires < r.minExpires {
		res := sip.NewResponseFromRequest(req, 423, "Interval Too Brief", nil)
		res.AppendHeader(sip.NewHeader("Min-Expires", fmt.Sprint(r.minExpires)))
		tx.Respond(res)
		return
	}
	user := req.To().Address.User
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	r.mu.Lock()
	if expires == 0 {
		delete(r.bindings, user)
	} else {
		r.bindings[user] = req
		res.AppendHeader(sip.NewHeader("Contact", fmt.Sprintf("%s;expires=%d", req.GetHeader("Contact").Value(), r.grant)))
	}
	r.mu.Unlock()
	tx.Respond(res)
}

// message answers for the recipient: 200 when the bound device took it, else
// 202.
func (r *testRegistrar) message(req *sip.Request, tx sip.ServerTransaction) {
	r.note(req)
	if !r.authorized(req, tx, 407) {
		return
	}
	if _, known := r.passwords[req.Recipient.User]; !known {
		tx.Respond(sip.NewResponseFromRequest(req, 404, "Not Found", nil))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, err := r.deliver(ctx, req.Recipient.User, req)
	if err != nil {
		r.t.Errorf("deliver: %v", err)
	}
	if status != 200 {
		tx.Respond(sip.NewResponseFromRequest(req, 202, "Accepted", nil))
		return
	}
	tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
}

// deliver sends a copy of req to the user's device and returns its answer; 0
// means that there is no device.
func (r *testRegistrar) deliver(ctx context.Context, user string, req *sip.Request) (int, error) {
	r.mu.Lock()
	binding := r.bindings[user]
	r.mu.Unlock()
	if binding == nil {
		return 0, nil
	}
	out := req.Clone()
	out.Recipient = binding.Contact().Address
	out.RemoveHeader("Proxy-Authorization")
	out.RemoveHeader("Via")
	out.SetTransport(binding.Transport())
	out.SetDestination(binding.Source())
	if binding.Transport() == "UDP" {
		host, port, _ := sip.ParseAddr(r.addr)
		out.Laddr = sip.Addr{IP: net.ParseIP(host), Port: port}
	}
	res, err := r.client.Do(ctx, out, sipgo.ClientRequestAddVia)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}

// request builds a request to a device as another user agent would write it.
func (r *testRegistrar) request(method sip.RequestMethod, user string, body string, headers ...string) *sip.Request {
	uri := sip.Uri{Scheme: "sip", User: user, Host: "example.com"}
	req := sip.NewRequest(method, uri)
	from := &sip.FromHeader{DisplayName: "Carol", Address: sip.Uri{Scheme: "sip", User: "carol", Host: "example.com"}}
	from.Params.Add("tag", token(4))
	id := sip.CallIDHeader(token(8))
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: uri})
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.AppendHeader(sip.NewHeader(name, value))
	}
	req.SetBody([]byte(body))
	return req
}

// seen returns the received requests of a method.
func (r *testRegistrar) seen(method sip.RequestMethod) []*sip.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*sip.Request
	for _, req := range r.requests {
		if req.Method == method {
			out = append(out, req)
		}
	}
	return out
}
