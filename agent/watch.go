package agent

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

const (
	// retryFirst and retryMost bound the pause before the next try to register
	// after one that failed; it doubles in between.
	retryFirst = time.Second
	retryMost  = 30 * time.Second
	// lookAfter is how often a TCP connection is looked at, and pingAfter how
	// often it is pinged (RFC 5626 §3.5.1) so that a silent loss shows.
	lookAfter = time.Second
	pingAfter = 30 * time.Second
	// leaveWithin bounds the last REGISTER, when the caller is already leaving.
	leaveWithin = 3 * time.Second
	// remembered is how many messages are known again when they are repeated in
	// a new transaction, as a server does that crashed before it had our answer.
	remembered = 1024
)

// allow is what the agent answers.
const allow = "MESSAGE, NOTIFY, OPTIONS"

// Watch registers the address of cfg, keeps the registration fresh and reports
// what arrives until ctx ends; then it removes the registration and returns nil.
// Meanwhile it subscribes to the presence of the presentities, sip: URIs, and
// reports each change; one that the server refuses is reported as [Unwatched] and
// ends nothing else. It returns an error if the configuration is bad or the server refuses the
// account (401 or 407 after the password was given, 403, 404): trying again
// would not help. Anything else, such as a server that is away, is reported once
// as [Unregistered] and tried again.
//
// onEvent is called for one event at a time, in the order of arrival; a message
// is answered when onEvent has returned.
func Watch(ctx context.Context, cfg Config, onEvent func(Event), presentities ...string) error {
	w := &watcher{onEvent: onEvent, seen: make(map[string]bool), turn: make(chan struct{}, 1)}
	var targets []sip.Uri
	for _, p := range presentities {
		to, err := parseURI(p)
		if err != nil {
			return fmt.Errorf("presentity: %w", err)
		}
		targets = append(targets, to)
	}
	e, err := listen(ctx, cfg, w.handle)
	if err != nil {
		return err
	}
	defer e.close()
	w.endpoint = e
	if w.cfg.Instance == "" {
		w.cfg.Instance = "urn:uuid:" + uuid.NewString()
	}
	w.mu.Lock()
	for _, to := range targets {
		w.subs = append(w.subs, w.newSubscription(to))
	}
	w.mu.Unlock()
	var stop context.CancelFunc
	w.leaving, stop = context.WithCancel(ctx)
	defer w.watching.Wait()
	defer stop()
	return w.run(ctx)
}

// watcher is the state of one Watch: run owns the registration, each subscription
// has a goroutine, and these and the request handlers share what is under mu.
type watcher struct {
	*endpoint
	onEvent func(Event)

	leaving  context.Context // of the subscriptions; it ends first
	watching sync.WaitGroup
	started  bool // by run
	// turn is held while a SUBSCRIBE waits for its answer: requests that overtake
	// each other would bring the nonce counts out of order.
	turn chan struct{}

	mu   sync.Mutex
	subs []*subscription // fixed before run
	seen map[string]bool // keys of messages that were reported
	ring []string        // the same keys, oldest first
}

// registration is what the registrar said last.
type registration struct {
	callID  string
	cseq    uint32
	ask     time.Duration // lifetime to ask for; a 423 raises it
	granted time.Duration
}

func (w *watcher) run(ctx context.Context) error {
	reg := registration{callID: token(16), ask: w.cfg.Expires}
	up, first, pause := false, true, retryFirst
	lost := false // the connection that carried the registration
	for {
		status, wait, err := w.register(ctx, &reg, reg.ask)
		switch {
		case ctx.Err() != nil:
			return w.leave(&reg)
		case err == nil && status == sip.StatusIntervalToBrief:
			continue // register has raised reg.ask
		case err == nil && status/100 == 2:
			if !up {
				w.emit(Event{Kind: Registered, Expires: reg.granted})
			}
			if !up || lost {
				w.subscribe()
			}
			up, pause = true, retryFirst
			wait = refreshAfter(reg.granted)
		case err == nil && (status == 401 || status == 403 || status == 404 || status == 407):
			return fmt.Errorf("register %s: server answered %d", w.cfg.AOR, status)
		default:
			if up || first {
				w.emit(Event{Kind: Unregistered, Status: status, Reason: reason(status, err)})
			}
			up = false
			wait = max(wait, pause)
			pause = min(2*pause, retryMost)
		}
		first = false
		var goOn bool
		if goOn, lost = w.hold(ctx, wait, up); !goOn {
			return w.leave(&reg)
		}
	}
}

// subscribe starts the subscriptions or, when they run, has them tell the server
// where its NOTIFYs reach us now.
func (w *watcher) subscribe() {
	for _, s := range w.subs {
		if !w.started {
			w.watching.Go(func() { s.run(w.leaving) })
			continue
		}
		select {
		case s.back <- struct{}{}:
		default:
		}
	}
	w.started = true
}

// register sends one REGISTER (RFC 3261 §10.2). It returns the status and, with
// a refusal, how long the server asks to wait.
func (w *watcher) register(ctx context.Context, reg *registration, expires time.Duration) (int, time.Duration, error) {
	registrar := w.aor
	registrar.User, registrar.Password = "", ""
	reg.cseq++
	req := w.newRequest(sip.REGISTER, registrar, w.aor, reg.callID, reg.cseq, nil)
	req.AppendHeader(sip.NewHeader("Contact", w.ownContact()+`;methods="MESSAGE,OPTIONS"`))
	req.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(int64(expires/time.Second))))
	req.AppendHeader(sip.NewHeader("Allow", allow))
	res, _, err := w.do(ctx, req)
	reg.cseq = req.CSeq().SeqNo
	if err != nil {
		return 0, 0, err
	}
	wait := min(max(0, headerSeconds(res, "Retry-After")), retryMost)
	switch {
	case res.IsSuccess():
		reg.granted = granted(res, w.endpoint, expires)
	case res.StatusCode == sip.StatusIntervalToBrief:
		// RFC 3261 §10.2.8: try again with the interval in Min-Expires. One that
		// is not longer would loop.
		least := headerSeconds(res, "Min-Expires")
		if least <= reg.ask {
			return 0, 0, fmt.Errorf("server finds %s too brief and names no longer time", reg.ask)
		}
		reg.ask = least
	}
	return res.StatusCode, wait, nil
}

// ownContact is where requests reach this device.
func (w *watcher) ownContact() string {
	return fmt.Sprintf(`<sip:%s@%s;transport=%s>;+sip.instance="<%s>"`, w.aor.User, hostPort(w.endpoint), w.cfg.Transport, w.cfg.Instance)
}

// granted is the lifetime of our own contact in a 2xx (RFC 3261 §10.2.4): the
// contact's expires parameter, else the Expires header, else what was asked.
func granted(res *sip.Response, e *endpoint, asked time.Duration) time.Duration {
	for _, h := range res.GetHeaders("Contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.Host != e.contact.Addr().String() && c.Address.Host != hostOf(e.contact.Addr()) ||
			c.Address.Port != int(e.contact.Port()) {
			continue
		}
		if v, ok := c.Params.Get("expires"); ok {
			if d := seconds(v); d >= 0 {
				return d
			}
		}
	}
	if d := headerSeconds(res, "Expires"); d >= 0 {
		return d
	}
	return asked
}

// refreshAfter leaves time for a refresh that has to be retransmitted or
// challenged.
func refreshAfter(granted time.Duration) time.Duration {
	return max(min(granted*4/5, granted-32*time.Second), granted/2, time.Second)
}

// hold waits for d. It ends early if the TCP connection that carries the
// registration is lost: the server dropped the binding with it. goOn is false when
// ctx ends.
func (w *watcher) hold(ctx context.Context, d time.Duration, up bool) (goOn, lost bool) {
	end := time.NewTimer(d)
	defer end.Stop()
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	pinged := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false, false
		case <-end.C:
			return true, false
		case <-look.C:
			if w.cfg.Transport != "tcp" || !up {
				continue
			}
			c, err := w.ua.TransportLayer().GetConnection("tcp", w.server)
			if err != nil || c == nil {
				w.log.Debug("connection lost", zap.String("peer", w.server))
				return true, true
			}
			if conn, ok := c.(*sip.TCPConnection); ok && time.Since(pinged) >= pingAfter {
				pinged = time.Now()
				if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
					w.log.Debug("ping", zap.Error(err))
				}
			}
			if _, err := c.TryClose(); err != nil {
				w.log.Debug("release connection", zap.Error(err))
			}
		}
	}
}

// leave removes the registration, after the subscriptions have ended. The caller
// is going: a server that does not answer is not waited for.
func (w *watcher) leave(reg *registration) error {
	w.watching.Wait()
	if reg.granted == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if _, _, err := w.register(ctx, reg, 0); err != nil {
		w.log.Info("registration not removed", zap.String("aor", w.cfg.AOR), zap.Error(err))
		return nil
	}
	w.emit(Event{Kind: Unregistered})
	return nil
}

// handle says what is answered: MESSAGE, NOTIFY and OPTIONS, the rest with 405.
func (w *watcher) handle(s *sipgo.Server) {
	s.OnMessage(w.message)
	s.OnNotify(w.notify)
	s.OnOptions(func(req *sip.Request, tx sip.ServerTransaction) { w.respond(req, tx, 200, "OK") })
	s.OnNoRoute(func(req *sip.Request, tx sip.ServerTransaction) {
		if !req.IsAck() {
			w.respond(req, tx, 405, "Method Not Allowed")
		}
	})
}

// message takes a MESSAGE as a user agent server does (RFC 3428 §7).
func (w *watcher) message(req *sip.Request, tx sip.ServerTransaction) {
	if h := req.GetHeader("Require"); h != nil {
		w.respond(req, tx, 420, "Bad Extension", sip.NewHeader("Unsupported", h.Value()))
		return
	}
	if req.From() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil {
		w.respond(req, tx, 400, "Bad Request")
		return
	}
	w.mu.Lock()
	if key := identity(req); !w.seen[key] {
		w.remember(key)
		w.onEvent(messageEvent(req, time.Now()))
	}
	w.mu.Unlock()
	w.respond(req, tx, 200, "OK")
}

// identity is what a repeat of the same request keeps.
func identity(req *sip.Request) string {
	branch, _ := req.Via().Params.Get("branch")
	tag, _ := req.From().Params.Get("tag")
	return strings.Join([]string{branch, string(*req.CallID()), fmt.Sprint(req.CSeq().SeqNo), tag}, "\x00")
}

// remember keeps key, and drops the oldest when there are too many. w.mu is
// held.
func (w *watcher) remember(key string) {
	if len(w.ring) == remembered {
		delete(w.seen, w.ring[0])
		w.ring = w.ring[1:]
	}
	w.seen[key] = true
	w.ring = append(w.ring, key)
}

func (w *watcher) respond(req *sip.Request, tx sip.ServerTransaction, status int, text string, more ...sip.Header) {
	res := sip.NewResponseFromRequest(req, status, text, nil)
	for _, h := range more {
		res.AppendHeader(h)
	}
	if status == 405 || req.Method == sip.OPTIONS {
		res.AppendHeader(sip.NewHeader("Allow", allow))
	}
	if req.Method == sip.OPTIONS {
		res.AppendHeader(sip.NewHeader("Accept", "*/*"))
	}
	if err := tx.Respond(res); err != nil {
		w.log.Debug("answer", zap.String("method", req.Method.String()), zap.Error(err))
	}
}

// emit reports an event that no message caused.
func (w *watcher) emit(e Event) {
	e.Time = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onEvent(e)
}

func reason(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("server answered %d", status)
}

func hostPort(e *endpoint) string {
	return net.JoinHostPort(e.contact.Addr().String(), fmt.Sprint(e.contact.Port()))
}
