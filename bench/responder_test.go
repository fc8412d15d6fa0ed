package bench_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// responder is a small SIP server over real sockets: it checks digest
// credentials, keeps bindings, relays MESSAGE, and misbehaves as told.
type responder struct {
	t    *testing.T
	addr string
	udp  *net.UDPConn
	tcp  net.Listener

	// How it behaves; set before the first request.
	algorithms []string      // offered, in this order; nil: MD5
	noQop      bool          // offer no qop
	nonceUses  int           // a nonce is stale after so many uses; 0: never
	dropFirst  int           // the first answer to every n-th request is lost
	silent     func() bool   // nothing is answered while true
	stall      time.Duration // the 100th request holds the server up so long
	swallow    int           // every n-th message is answered, not relayed
	double     int           // every n-th message is relayed twice
	repeat     int           // every n-th relay is sent again
	status     int           // of a good REGISTER; 0: 200
	askAsUAS   bool          // MESSAGE is challenged with 401
	forget     int           // every n-th NOTIFY of a state is not sent
	repeatN    int           // every n-th NOTIFY is sent again
	regress    int           // every n-th NOTIFY of a state is followed by one of the state before
	forgetETag int           // every n-th PUBLISH with an entity tag gets 412

	mu       sync.Mutex
	nonce    int
	uses     map[string]int          // of a nonce
	counts   map[string]uint64       // highest nc by nonce
	bindings map[string]string       // contact by user
	flows    map[string]func([]byte) // by address
	seen     map[string]int          // requests by branch
	requests int
	messages int
	faults   []string
	presence presenceState
}

func newResponder(t *testing.T, set func(*responder)) *responder {
	t.Helper()
	r := &responder{
		t: t, uses: map[string]int{}, counts: map[string]uint64{}, bindings: map[string]string{},
		flows: map[string]func([]byte){}, seen: map[string]int{},
	}
	if set != nil {
		set(r)
	}
	r.listen()
	var wg sync.WaitGroup
	wg.Go(r.serveUDP)
	wg.Go(func() { r.serveTCP(&wg) })
	t.Cleanup(func() {
		r.udp.Close()
		r.tcp.Close()
		wg.Wait()
		for _, fault := range r.faults {
			t.Error(fault)
		}
	})
	return r
}

// listen opens UDP and TCP on one port.
func (r *responder) listen() {
	for range 50 {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			r.t.Fatal(err)
		}
		_ = udp.SetReadBuffer(4 << 20)
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			r.udp, r.tcp, r.addr = udp, tcp, udp.LocalAddr().String()
			return
		}
		udp.Close()
	}
	r.t.Fatal("no port is free for both UDP and TCP")
}

// taken is the number of requests so far.
func (r *responder) taken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// bound is the users that are registered, with their contacts.
func (r *responder) bound() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.bindings)
}

func (r *responder) serveUDP() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.take(append([]byte(nil), buf[:n]...), from.String(), func(b []byte) { _, _ = r.udp.WriteToUDPAddrPort(b, from) })
	}
}

func (r *responder) serveTCP(wg *sync.WaitGroup) {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for {
				var msg bytes.Buffer
				length := 0
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					msg.WriteString(line)
					if v, ok := strings.CutPrefix(line, "Content-Length:"); ok {
						length, _ = strconv.Atoi(strings.TrimSpace(v))
					}
					if line == "\r\n" {
						break
					}
				}
				if _, err := io.CopyN(&msg, in, int64(length)); err != nil {
					return
				}
				r.take(msg.Bytes(), c.RemoteAddr().String(), func(b []byte) {
					// In two pieces, so that the generator has to join them.
					_, _ = c.Write(b[:len(b)/2])
					_, _ = c.Write(b[len(b)/2:])
				})
			}
		})
	}
}

func (r *responder) fault(format string, args ...any) {
	if len(r.faults) < 5 {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// take handles one message; answers go out by send.
func (r *responder) take(msg []byte, from string, send func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flows[from] = send
	head, body, _ := bytes.Cut(msg, []byte("\r\n\r\n"))
	first, fields, _ := strings.Cut(string(head), "\r\n")
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\r\n\r\n"))).ReadMIMEHeader()
	if err != nil {
		r.fault("unreadable message: %v\n%s", err, msg)
		return
	}
	if strings.HasPrefix(first, "SIP/2.0 ") {
		return // the answer of a receiver
	}
	if n := h.Get("Content-Length"); n != strconv.Itoa(len(body)) {
		r.fault("Content-Length %s of a body of %d bytes", n, len(body))
	}
	if r.silent != nil && r.silent() {
		return
	}
	r.requests++
	if r.stall > 0 && r.requests == 100 {
		time.Sleep(r.stall)
	}
	via := h.Get("Via")
	r.seen[via]++
	method, uri, _ := strings.Cut(strings.TrimSuffix(first, " SIP/2.0"), " ")
	answer := func(status int, more ...string) {
		if r.dropFirst > 0 && r.requests%r.dropFirst == 0 && r.seen[via] == 1 {
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "SIP/2.0 %d Whatever\r\n", status)
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
			fmt.Fprintf(&b, "%s: %s\r\n", name, h.Get(name))
		}
		for _, line := range more {
			b.WriteString(line + "\r\n")
		}
		b.WriteString("Content-Length: 0\r\n\r\n")
		send([]byte(b.String()))
	}
	user := between(h.Get("From"), "<sip:", "@")
	challenge, field, credentials := 401, "WWW-Authenticate", h.Get("Authorization")
	if method == "MESSAGE" && !r.askAsUAS {
		challenge, field, credentials = 407, "Proxy-Authenticate", h.Get("Proxy-Authorization")
	}
	ok, stale := r.authentic(method, uri, user, credentials, r.seen[via] > 1)
	if !ok {
		answer(challenge, r.challenges(field, stale)...)
		return
	}
	switch method {
	case "REGISTER":
		if r.status != 0 {
			answer(r.status)
			return
		}
		if h.Get("Expires") == "0" {
			delete(r.bindings, user)
		} else {
			r.bindings[user] = between(h.Get("Contact"), "@", ">")
		}
		answer(200, "Contact: "+h.Get("Contact")+";expires=3600")
	case "MESSAGE":
		if r.seen[via] == 1 {
			r.messages++
			r.relay(uri, h, body)
		}
		answer(200)
	case "SUBSCRIBE", "PUBLISH":
		r.servePresence(method, uri, h, string(body), r.seen[via] == 1, answer)
	default:
		answer(405)
	}
}

// relay sends a message to the binding of its target.
func (r *responder) relay(uri string, h textproto.MIMEHeader, body []byte) {
	if r.swallow > 0 && r.messages%r.swallow == 0 {
		return
	}
	target := r.bindings[between(uri, ":", "@")]
	addr, _, _ := strings.Cut(target, ";")
	send := r.flows[addr]
	if send == nil {
		r.fault("message to %s, which has no binding (%q)", uri, target)
		return
	}
	out := func(branch string) {
		send([]byte(fmt.Sprintf("MESSAGE sip:x@%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
			addr, branch, h.Get("Via"), h.Get("From"), h.Get("To"), h.Get("Call-ID"), h.Get("CSeq"), len(body), body)))
	}
	branch := fmt.Sprintf("relay%d", r.messages)
	out(branch)
	if r.repeat > 0 && r.messages%r.repeat == 0 {
		out(branch)
	}
	if r.double > 0 && r.messages%r.double == 0 {
		out(branch + "b")
	}
}

func (r *responder) challenges(field string, stale bool) []string {
	algorithms := r.algorithms
	if algorithms == nil {
		algorithms = []string{"MD5"}
	}
	var lines []string
	for _, a := range algorithms {
		r.nonce++
		nonce := fmt.Sprintf("nonce%d", r.nonce)
		r.uses[nonce] = 0
		line := fmt.Sprintf(`%s: Digest realm="test realm", nonce="%s", opaque="op", algorithm=%s`, field, nonce, a)
		if !r.noQop {
			line += `, qop="auth,auth-int"`
		}
		if stale {
			line += ", stale=TRUE"
		}
		lines = append(lines, line)
	}
	return lines
}

// authentic checks credentials; the password is the user name.
func (r *responder) authentic(method, uri, user, credentials string, again bool) (ok, stale bool) {
	if credentials == "" {
		return false, false
	}
	get := func(name string) string {
		_, v, found := strings.Cut(credentials, name+"=")
		if !found {
			return ""
		}
		if strings.HasPrefix(v, `"`) {
			return between(v, `"`, `"`)
		}
		v, _, _ = strings.Cut(v, ",")
		return v
	}
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	if get("algorithm") == "SHA-256" {
		hash = func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	}
	if get("Digest username") != user || get("realm") != "test realm" || get(" uri") != uri || get("opaque") != "op" {
		r.fault("credentials do not fit %s %s by %s: %s", method, uri, user, credentials)
		return false, false
	}
	nonce := get(" nonce")
	uses, known := r.uses[nonce]
	if !known {
		r.fault("unknown nonce %q", nonce)
		return false, false
	}
	ha1, ha2 := hash(user+":test realm:"+user), hash(method+":"+uri)
	want := hash(ha1 + ":" + nonce + ":" + ha2)
	if !r.noQop {
		want = hash(strings.Join([]string{ha1, nonce, get("nc"), get("cnonce"), "auth", ha2}, ":"))
	}
	if get("response") != want {
		return false, false
	}
	if again {
		return true, false
	}
	if !r.noQop {
		nc, err := strconv.ParseUint(get("nc"), 16, 32)
		if err != nil || nc != r.counts[nonce]+1 {
			r.fault("nonce count %q after %d", get("nc"), r.counts[nonce])
		}
		r.counts[nonce] = nc
	}
	if r.nonceUses > 0 && uses >= r.nonceUses {
		return false, true
	}
	r.uses[nonce]++
	return true, false
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}
