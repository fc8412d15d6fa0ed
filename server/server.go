package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive/export"
	"rollcall/archive/index"
	"rollcall/archive/keys"
	"rollcall/archive/replica"
	"rollcall/archive/retain"
	"rollcall/archive/stream"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/event"
	"rollcall/im"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store"
	"rollcall/xcap"
)

// Server is the whole server. New opens store and journal; Run opens the sockets
// and serves.
type Server struct {
	log      *zap.Logger
	cfg      atomic.Pointer[config.Config]
	ctx      context.Context // of all work; ends when the server has drained
	stop     context.CancelFunc
	work     workers // handlers off the receive loop
	draining atomic.Bool
	started  time.Time
	bound    atomic.Pointer[bound] // nil until Run listens

	traced       tracing
	gruus        *registrar.GRUUs
	peerRoots    map[string]*x509.CertPool // by ca_file
	certificates []*certificate            // of [[listen]], by index; nil for those without TLS

	domains []string
	listens []netip.Addr // addresses our listeners answer at

	store      store.Store
	near       store.Nearer
	local      bool   // the store's hot state is in this process
	node       string // name of this server in the record
	journal    journal
	stream     *stream.Journal // nil: the journal is a folder of this server alone
	ring       *keys.Ring      // of the record's content
	signers    *keys.Signers   // of its checkpoints
	classes    atomic.Pointer[retain.Classes]
	keeper     *retain.Keeper
	index      *index.Index // nil when none is wanted
	tokens     *auth.Tokens
	rules      atomic.Pointer[policy.Rules]
	policy     atomic.Pointer[policyState]
	policyFile fileStamp // before it was read at the start
	barred     barred
	witnesses  *witnesses
	authority  *authority       // nil: none stamps
	replica    *replica.Replica // nil: there is no second copy
	groups     *auth.Groups
	logins     logins
	// publishers tells who may publish for others.
	publishers func(sip.AOR) bool
	// groupsChanged is told of the zero AOR when members of groups changed.
	groupsChanged atomic.Pointer[func(sip.AOR)]
	finished      chan struct{} // the journal has segments that can be compressed
	directory     *auth.Directory
	documents     *xcap.Documents
	authn         *auth.Authenticator
	registrar     *registrar.Registrar
	relay         *im.Relay
	notifier      *event.Notifier
	transport     *transport.Transport
	tx            *transaction.Layer
	counters      *counters
	disk          *disk
	registry      *prometheus.Registry
	streams       api.Streams
	exports       *export.Jobs
	programs      programs

	closers []func() error // what New opened, to be closed in reverse
}

// bound are the addresses that Run got.
type bound struct {
	sip  []net.Addr
	at   []netip.AddrPort // the same as sip
	http string
}

// Run serves until ctx ends, lets running requests end, closes everything and
// returns. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	faults := make(chan error, 2)
	servers, err := s.listen(faults)
	if err == nil {
		s.work.Go(func() { collectWhenQuiet(s.ctx) })
		s.work.Go(func() { s.tend(s.ctx, s.segments) })
		if s.index != nil {
			s.work.Go(func() { s.index.Run(s.ctx) })
		}
		s.work.Go(func() { s.tend(s.ctx, s.purges) })
		s.work.Go(func() { s.tend(s.ctx, s.reconciles) })
		s.work.Go(func() { s.presenceUses(s.ctx) })
		s.work.Go(func() { s.runExports(s.ctx) })
		s.work.Go(func() { s.watchPolicy(s.ctx, s.policyFile) })
		s.work.Go(func() { s.tend(s.ctx, s.witnessed) })
		if s.replica != nil {
			s.work.Go(func() { s.tend(s.ctx, s.replicate) })
		}
		if s.authority != nil {
			s.work.Go(func() { s.tend(s.ctx, s.stamps) })
		}
		s.log.Info("serving", zap.Strings("domains", s.domains), zap.String("data_dir", s.cfg.Load().DataDir))
		select {
		case <-ctx.Done():
		case err = <-faults:
		}
	}
	s.drain()
	for _, srv := range servers {
		_ = srv.Close()
	}
	return errors.Join(err, s.close(), s.finishOutside())
}

// listen opens SIP, HTTP and the control socket. HTTP comes up first and says
// that the server is not ready until SIP is.
func (s *Server) listen(faults chan<- error) ([]*http.Server, error) {
	cfg := s.cfg.Load()
	var servers []*http.Server
	serve := func(l net.Listener, h http.Handler) {
		srv := api.NewServer(h)
		servers = append(servers, srv)
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				faults <- fmt.Errorf("serve http: %w", err)
			}
		}()
	}
	b := &bound{}
	if cfg.HTTP.Address != "" {
		l, err := net.Listen("tcp", cfg.HTTP.Address)
		if err != nil {
			return servers, fmt.Errorf("listen for [http]: %w", err)
		}
		b.http = l.Addr().String()
		serve(l, s.public())
	}
	for i, l := range cfg.Listen {
		at, err := s.listenSIP(l, s.certificates[i])
		if err != nil {
			return servers, err
		}
		b.at = append(b.at, at)
		if l.Transport == "udp" {
			b.sip = append(b.sip, net.UDPAddrFromAddrPort(at))
		} else {
			b.sip = append(b.sip, net.TCPAddrFromAddrPort(at))
		}
	}
	s.bound.Store(b)
	s.notifier.Resume()
	l, err := api.ListenControl(cfg.Socket())
	if err != nil {
		return servers, err
	}
	serve(l, s.control())
	return servers, nil
}

// xcapRoot is the path of the XCAP root (RFC 4825 §6.1).
const xcapRoot = "/xcap"

// public is what [http] serves. Paths below the XCAP root are passed on as they
// were sent.
func (s *Server) public() http.Handler {
	documents := xcap.NewHandler(s.documents, s.authn, xcapRoot, s.log)
	rest := api.New(backend{s})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), xcapRoot+"/") {
			documents.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// control is what the control socket serves: the commands, and profiles for who
// may open it.
func (s *Server) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api.Control(backend{s}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // the named ones too: heap, goroutine, mutex
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (s *Server) listenSIP(l config.Listen, c *certificate) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(l.Address)
	if err != nil {
		return addr, fmt.Errorf("[[listen]] address %q: %w", l.Address, err)
	}
	switch l.Transport {
	case "tls":
		return s.transport.ListenTLS(addr, c.config())
	case "tcp":
		return s.transport.ListenTCP(addr)
	case "ws":
		return s.transport.ListenWS(addr, nil)
	case "wss":
		return s.transport.ListenWS(addr, c.config())
	}
	return s.transport.ListenUDP(addr)
}

// localAddrs lists the addresses that the configured listeners answer at.
func localAddrs(listens []config.Listen) []netip.Addr {
	var list []netip.Addr
	for _, l := range listens {
		a, err := netip.ParseAddrPort(l.Address)
		if err != nil {
			continue
		}
		if !a.Addr().IsUnspecified() {
			list = append(list, a.Addr().Unmap())
			continue
		}
		interfaces, err := net.InterfaceAddrs()
		if err != nil {
			continue
		}
		for _, i := range interfaces {
			if n, ok := i.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(n.IP)
				list = append(list, ip.Unmap())
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// drainTime bounds how long running requests may take to end.
const drainTime = 15 * time.Second

// drain refuses new requests and waits for the running ones.
func (s *Server) drain() {
	s.draining.Store(true)
	s.streams.Close() // their readers come back to another server, or to this one later
	s.transport.StopAccepting()
	s.log.Info("draining", zap.Int64("transactions", s.tx.Counters.Active.Load()))
	limit := time.After(drainTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.tx.Counters.Active.Load() > 0 {
		select {
		case <-tick.C:
		case <-limit:
			s.log.Warn("stopping with transactions running", zap.Int64("transactions", s.tx.Counters.Active.Load()))
			return
		}
	}
}

// close ends everything that New opened, last first.
func (s *Server) close() error {
	s.stop()
	s.relay.Close()
	s.notifier.Close()
	_ = s.transport.Close()
	s.work.Wait()
	s.tx.Close()
	var err error
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c())
	}
	s.log.Info("stopped")
	return err
}

// Addrs returns the bound SIP addresses in the order of [[listen]]; nil before
// Run listens.
func (s *Server) Addrs() []net.Addr {
	if b := s.bound.Load(); b != nil {
		return b.sip
	}
	return nil
}

// HTTPAddr returns the bound address of [http], or "".
func (s *Server) HTTPAddr() string {
	if b := s.bound.Load(); b != nil {
		return b.http
	}
	return ""
}
