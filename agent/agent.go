package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// Config says who the agent is and which server it talks to. It is read once by
// [Send], [Publish] and [Watch] and not changed.
type Config struct {
	// Server is the host and port every request is sent to. A host name is
	// looked up once.
	Server string
	// Transport is "udp" or "tcp"; empty means "udp". A request that is too
	// large for a datagram goes by TCP whatever is set here (RFC 3261 §18.1.1).
	Transport string
	// AOR is the agent's own address of record, for example
	// sip:alice@example.com.
	AOR string
	// User is the name in digest credentials; empty means the user part of AOR.
	User string
	// Password answers digest challenges. It is never logged.
	Password string
	// Display is the display name in From, without quotes; it may be empty.
	Display string
	// Instance is the URN that [Watch] registers as +sip.instance, for example
	// urn:uuid:00000000-0000-1000-8000-000A95A0E128 (RFC 5626 §4.1). A caller
	// that keeps it lets the server know the device again after a restart;
	// empty means a new random one.
	Instance string
	// Expires is the registration lifetime that [Watch] asks for; zero means
	// five minutes. The server decides.
	Expires time.Duration
	// UserAgent is the User-Agent header value; empty means "rollcall".
	UserAgent string
	// Log may be nil.
	Log *zap.Logger
}

const (
	defaultExpires   = 5 * time.Minute
	defaultUserAgent = "rollcall"

	// maxDatagram is the size of the largest request sent over UDP when the
	// path MTU is not known (RFC 3261 §18.1.1).
	maxDatagram = 1300

	// viaAllowance is what the transport still adds to a request when its size
	// is measured: the sent-by of Via.
	viaAllowance = 48
)

// endpoint is one user agent with its sockets. It is made by listen and owned by
// one call of Send, Publish or Watch; its methods are safe for concurrent use except
// where said.
type endpoint struct {
	cfg     Config
	log     *zap.Logger
	aor     sip.Uri
	server  string         // numeric host:port
	local   netip.Addr     // our address as seen on the way to the server
	contact netip.AddrPort // where requests to us arrive
	ua      *sipgo.UserAgent
	client  *sipgo.Client
	uas     *sipgo.Server
	close   func()

	mu   sync.Mutex
	auth credentials
}

// quietSIP keeps the library from writing received bytes, and so message
// bodies, to the process's standard logger, and lets this package decide what
// is too large for UDP. Both are variables of the library, not of a user agent.
var quietSIP = sync.OnceFunc(func() {
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	sip.UDPMTUSize = 1 << 16
	sip.TransportBufferReadSize = 1<<16 - 1
})

// listen checks cfg and opens the sockets: one UDP or TCP listener on the
// address that faces the server. handle registers the request handlers and may
// be nil.
func listen(ctx context.Context, cfg Config, handle func(*sipgo.Server)) (*endpoint, error) {
	quietSIP()
	e := &endpoint{cfg: cfg, log: cfg.Log}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	switch e.cfg.Transport {
	case "":
		e.cfg.Transport = "udp"
	case "udp", "tcp":
	default:
		return nil, fmt.Errorf("transport %q is not udp or tcp", cfg.Transport)
	}
	if e.cfg.UserAgent == "" {
		e.cfg.UserAgent = defaultUserAgent
	}
	if e.cfg.Expires <= 0 {
		e.cfg.Expires = defaultExpires
	}
	aor, err := parseURI(cfg.AOR)
	if err != nil {
		return nil, fmt.Errorf("own address: %w", err)
	}
	if aor.User == "" {
		return nil, fmt.Errorf("own address %q has no user part", cfg.AOR)
	}
	e.aor = aor
	if e.cfg.User == "" {
		e.cfg.User = aor.User
	}
	if strings.ContainsAny(cfg.Display+e.cfg.UserAgent+cfg.Instance, "\r\n\"\\<>") {
		return nil, errors.New("display name, user agent and instance must not hold quotes, brackets, backslashes or line ends")
	}

	if err := e.face(ctx); err != nil {
		return nil, err
	}
	nothing := slog.New(slog.NewTextHandler(io.Discard, nil))
	e.ua, err = sipgo.NewUA(
		sipgo.WithUserAgent(e.cfg.UserAgent),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(nothing)),
		sipgo.WithUserAgentTransactionLayerOptions(
			sip.WithTransactionLayerLogger(nothing),
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {}),
			// A request on a connection that broke is answered by nobody: say so
			// at once, not after timer F.
			sip.WithTransactionLayerTerminateOnConnClose(),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("make user agent: %w", err)
	}
	if e.client, err = sipgo.NewClient(e.ua, sipgo.WithClientLogger(nothing)); err != nil {
		return nil, errors.Join(fmt.Errorf("make client: %w", err), e.ua.Close())
	}
	if e.uas, err = sipgo.NewServer(e.ua, sipgo.WithServerLogger(nothing)); err != nil {
		return nil, errors.Join(fmt.Errorf("make server: %w", err), e.ua.Close())
	}
	if handle != nil {
		handle(e.uas)
	}
	if err := e.serve(ctx); err != nil {
		return nil, errors.Join(err, e.ua.Close())
	}
	return e, nil
}

// face finds the server's numeric address and the local address that packets to
// it come from. The socket is UDP whatever the transport: connecting one sends
// nothing.
func (e *endpoint) face(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", e.cfg.Server)
	if err != nil {
		return fmt.Errorf("find server %s: %w", e.cfg.Server, err)
	}
	defer conn.Close()
	remote := conn.RemoteAddr().(*net.UDPAddr).AddrPort()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	e.server = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()).String()
	e.local = local.Addr().Unmap()
	return nil
}

// serve opens the listener and reads from it until close.
func (e *endpoint) serve(ctx context.Context) error {
	at := netip.AddrPortFrom(e.local, 0).String()
	var (
		lc   net.ListenConfig
		done = make(chan struct{})
		stop io.Closer
		port netip.AddrPort
	)
	switch e.cfg.Transport {
	case "udp":
		pc, err := lc.ListenPacket(ctx, "udp", at)
		if err != nil {
			return fmt.Errorf("listen on udp %s: %w", at, err)
		}
		port, stop = pc.LocalAddr().(*net.UDPAddr).AddrPort(), pc
		go func() {
			defer close(done)
			if err := e.uas.ServeUDP(pc); err != nil && !errors.Is(err, net.ErrClosed) {
				e.log.Warn("udp socket ended", zap.Error(err))
			}
		}()
		if err := e.await(pc.LocalAddr().String()); err != nil {
			return errors.Join(err, pc.Close())
		}
	case "tcp":
		// Requests to us come over the connection we opened; a server that
		// opens its own finds this listener at the contact.
		l, err := lc.Listen(ctx, "tcp", at)
		if err != nil {
			return fmt.Errorf("listen on tcp %s: %w", at, err)
		}
		port, stop = l.Addr().(*net.TCPAddr).AddrPort(), l
		go func() {
			defer close(done)
			if err := e.uas.ServeTCP(l); !errors.Is(err, net.ErrClosed) {
				e.log.Warn("tcp listener ended", zap.Error(err))
			}
		}()
	}
	e.contact = netip.AddrPortFrom(port.Addr().Unmap(), port.Port())
	e.close = func() {
		stop.Close()
		e.ua.Close()
		<-done
	}
	return nil
}

// await returns when the library has taken the UDP socket into its pool, so
// that the first request leaves from it and not from a second socket.
func (e *endpoint) await(addr string) error {
	pool := e.ua.TransportLayer().Pool("udp")
	for range 500 {
		if c := pool.Get(addr); c != nil {
			_, err := c.TryClose()
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("udp socket was not taken into use")
}

// newRequest builds a request of ours outside any dialog, without Via and
// credentials, which each attempt adds (RFC 3261 §8.1.1).
func (e *endpoint) newRequest(method sip.RequestMethod, target, to sip.Uri, callID string, cseq uint32, body []byte) *sip.Request {
	req := sip.NewRequest(method, target)
	from := &sip.FromHeader{DisplayName: e.cfg.Display, Address: e.aor}
	from.Params.Add("tag", token(8))
	id := sip.CallIDHeader(callID)
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: to})
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: method})
	req.AppendHeader(sip.NewHeader("User-Agent", e.cfg.UserAgent))
	req.SetBody(body)
	return req
}

// do sends req, answers one challenge of each kind, and returns the final
// answer and the transport it came by. req's CSeq rises with each attempt.
func (e *endpoint) do(ctx context.Context, req *sip.Request) (*sip.Response, string, error) {
	for challenged := 0; ; challenged++ {
		e.mu.Lock()
		err := e.auth.sign(req, e.cfg.User, e.cfg.Password)
		e.mu.Unlock()
		if err != nil {
			return nil, "", err
		}
		res, transport, err := e.attempt(ctx, req)
		if err != nil {
			return nil, transport, err
		}
		if res.StatusCode != sip.StatusUnauthorized && res.StatusCode != sip.StatusProxyAuthRequired {
			return res, transport, nil
		}
		// A second challenge is answered only if it says that the nonce, not
		// the password, was at fault (RFC 7616 §3.3, stale), and one more for
		// the other kind: a proxy may ask after the registrar did.
		e.mu.Lock()
		again, err := e.auth.learn(res)
		e.mu.Unlock()
		if err != nil || !again || challenged >= 2 {
			return res, transport, err
		}
		req.CSeq().SeqNo++
	}
}

// attempt sends req once, in one transaction, by the transport its size asks
// for.
func (e *endpoint) attempt(ctx context.Context, req *sip.Request) (*sip.Response, string, error) {
	transport := e.cfg.Transport
	if transport == "udp" && len(req.String())+viaAllowance > maxDatagram {
		res, err := e.transact(ctx, req, "tcp")
		// RFC 3261 §18.1.1: if the server does not take the connection, UDP is
		// tried after all.
		var refused *net.OpError
		if !errors.As(err, &refused) {
			return res, "tcp", err
		}
	}
	res, err := e.transact(ctx, req, transport)
	return res, transport, err
}

func (e *endpoint) transact(ctx context.Context, req *sip.Request, transport string) (*sip.Response, error) {
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(transport)}
	via.Params.Add("branch", "z9hG4bK"+token(12))
	via.Params.Add("rport", "")
	req.Laddr = sip.Addr{}
	if transport == "udp" {
		via.Host, via.Port = hostOf(e.contact.Addr()), int(e.contact.Port())
		req.Laddr = sip.Addr{IP: e.contact.Addr().AsSlice(), Port: int(e.contact.Port())}
	}
	req.RemoveHeader("Via")
	req.PrependHeader(via)
	req.SetTransport(strings.ToUpper(transport))
	req.SetDestination(e.server)

	// The request is complete; without an option the library would add to it.
	asBuilt := func(*sipgo.Client, *sip.Request) error { return nil }
	res, err := e.client.Do(ctx, req, asBuilt)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s to %s over %s: %w", req.Method, e.server, transport, err)
	}
	return res, nil
}

// parseURI reads a sip: or sips: URI that holds nothing that could end a header
// field early.
func parseURI(s string) (sip.Uri, error) {
	var u sip.Uri
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' || r == '"' }) {
		return u, fmt.Errorf("%q is not a SIP URI", s)
	}
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || (!strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips")) {
		return u, fmt.Errorf("%q is not a sip: or sips: URI", s)
	}
	if err := sip.ParseUri(s, &u); err != nil {
		return u, fmt.Errorf("%q: %w", s, err)
	}
	if u.Host == "" {
		return u, fmt.Errorf("%q has no host", s)
	}
	return u, nil
}

// hostOf writes an address as the host part of a URI or Via.
func hostOf(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// token returns n random bytes in hexadecimal: tags, branches, Call-IDs.
func token(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// headerSeconds reads a header field that is delta-seconds; negative means there
// is none.
func headerSeconds(res *sip.Response, name string) time.Duration {
	h := res.GetHeader(name)
	if h == nil {
		return -1
	}
	return seconds(h.Value())
}

// seconds reads a delta-seconds value; -1 means there is none.
func seconds(s string) time.Duration {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, " ;("); i >= 0 {
		s = s[:i]
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Second
}
