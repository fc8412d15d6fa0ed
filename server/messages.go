package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/auth"
	"rollcall/sip"
)

// program returns the account of a token and the name of its device: ErrRefused
// when the account may not be used.
func (b backend) program(ctx context.Context, t auth.Token) (auth.Identity, string, error) {
	aor, err := sip.ParseAORString(t.AOR)
	if err != nil {
		return auth.Identity{}, "", fmt.Errorf("%w: the token has no account", api.ErrRefused)
	}
	id, err := b.directory.Vouch(ctx, t, aor)
	if errors.Is(err, auth.ErrNoAccount) {
		err = fmt.Errorf("%w: there is no account %s, or it is disabled", api.ErrRefused, t.AOR)
	}
	return id, "token-" + t.ID, err
}

// SendMessage implements api.Messages.
func (b backend) SendMessage(ctx context.Context, t auth.Token, from netip.AddrPort, n api.NewMessage) (api.SentMessage, error) {
	if b.draining.Load() {
		return api.SentMessage{}, fmt.Errorf("%w: the server stops", api.ErrBusy)
	}
	id, device, err := b.program(ctx, t)
	if err != nil {
		return api.SentMessage{}, err
	}
	m, err := b.compose(id.AOR(), device, from, n)
	if err != nil {
		return api.SentMessage{}, err
	}
	if n.Once == "" {
		return b.send(ctx, id, from, m)
	}
	return b.sendOnce(ctx, t, n, m.CallID(), func(ctx context.Context) (api.SentMessage, error) { return b.send(ctx, id, from, m) })
}

// send sends the message of a program. It is a request over a flow of its own,
// which the relay serves as those that came over the network.
func (b backend) send(ctx context.Context, id auth.Identity, from netip.AddrPort, m *sip.Message) (api.SentMessage, error) {
	b.counters.count(m.Method(), true)
	flow, answer, done := b.programs.call(from)
	defer done()
	admission, fault := b.relay.Admit(m, 0)
	if fault != nil {
		return sentOf(fault.Status, archive.ID{}), nil
	}
	tx, fault := b.tx.Begin(b.tx.KeyOf(m), m, flow, flow, time.Now())
	if fault != nil {
		return sentOf(fault.Status, archive.ID{}), nil
	}
	if tx == nil {
		return api.SentMessage{}, errors.New("the same request runs already") // branches are random
	}
	var record atomic.Pointer[archive.ID]
	b.relay.ServeSIP(tx, id, admission.Tell(func(id archive.ID) { record.Store(&id) }))
	select {
	case status := <-answer:
		b.counters.answered(status)
		if id := record.Load(); id != nil {
			return sentOf(status, *id), nil
		}
		return sentOf(status, archive.ID{}), nil
	case <-ctx.Done(): // the message goes its way
		return api.SentMessage{}, ctx.Err()
	case <-b.ctx.Done():
		return api.SentMessage{}, fmt.Errorf("%w: the server stopped", api.ErrBusy)
	}
}

func sentOf(status int, record archive.ID) api.SentMessage {
	return api.SentMessage{Record: record, Status: status, Reason: sip.StatusText(status)}
}

// maxSubject bounds a subject, in bytes.
const maxSubject = 1000

// compose writes the request: ErrInvalid.
func (b backend) compose(from sip.AOR, device string, source netip.AddrPort, n api.NewMessage) (*sip.Message, error) {
	to, err := sip.ParseAORString(n.To)
	if err != nil {
		return nil, fmt.Errorf("%w: to: %w", api.ErrInvalid, err)
	}
	kind := n.ContentType
	if kind == "" {
		kind = "text/plain;charset=UTF-8"
	}
	if media, _, err := mime.ParseMediaType(kind); err != nil || !strings.Contains(media, "/") || !line(kind) {
		return nil, fmt.Errorf("%w: content_type %q", api.ErrInvalid, n.ContentType)
	}
	if n.Text == "" {
		return nil, fmt.Errorf("%w: text is empty", api.ErrInvalid)
	}
	if len(n.Subject) > maxSubject || !line(n.Subject) {
		return nil, fmt.Errorf("%w: subject is one line of up to %d bytes", api.ErrInvalid, maxSubject)
	}
	call, branch, tag := rand.Text(), rand.Text(), rand.Text()[:10]
	raw := fmt.Appendf(nil, "MESSAGE %[1]s SIP/2.0\r\nVia: SIP/2.0/PROGRAM %[3]s;branch=%[4]s%[5]s\r\nMax-Forwards: 70\r\nFrom: <%[2]s>;tag=%[6]s\r\nTo: <%[1]s>\r\n"+
		"Call-ID: %[7]s\r\nCSeq: 1 MESSAGE\r\nContact: <sip:%[8]s@%[3]s>;+sip.instance=\"<%[8]s>\"\r\nUser-Agent: rollcall API\r\nDate: %[9]s\r\n",
		to, from, source, sip.MagicCookie, branch, tag, call, device, sip.FormatDate(time.Now()))
	if n.Subject != "" {
		raw = fmt.Appendf(raw, "Subject: %s\r\n", n.Subject)
	}
	raw = fmt.Appendf(raw, "Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(n.Text), n.Text)
	limits := limitsOf(b.cfg.Load())
	if len(raw) > limits.MessageBytes {
		return nil, fmt.Errorf("%w: the message has %d bytes, [limits] message_bytes is %d", api.ErrInvalid, len(raw), limits.MessageBytes)
	}
	m := new(sip.Message)
	if err := m.ParseLimited(raw, &limits); err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if fault := m.Check(); fault != nil {
		return nil, fmt.Errorf("%w: %s", api.ErrInvalid, fault.Text())
	}
	return m, nil
}

// line reports text that may stand in a header line.
func line(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// lookAgain is how often it is looked for messages that another server on the
// same store has kept for the account of a program.
const lookAgain = 15 * time.Second

// ReceiveMessages implements api.Messages.
func (b backend) ReceiveMessages(ctx context.Context, t auth.Token, from netip.AddrPort, confirm bool, ready func(), f func(api.ReceivedMessage) error) error {
	id, device, err := b.program(ctx, t)
	if err != nil {
		return err
	}
	outer := ctx
	ctx, end := context.WithCancel(ctx)
	defer end()
	d := b.programs.join(id.AOR().Clone(), device, from, end)
	defer b.tx.FlowClosed(d.flow) // what it has not taken goes to other devices, or waits
	defer b.programs.leave(d)
	ready()
	b.relay.Present(ctx, d.aor)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case m := <-d.in:
			key := m.Via().Branch
			if confirm && !b.programs.await(d, key, m) {
				b.took(m, d, sip.StatusTemporarilyUnavail)
				continue
			}
			if err := f(received(m, key)); err != nil {
				return err
			}
			if !confirm {
				b.took(m, d, sip.StatusOK)
			}
		case <-tick.C:
			if _, _, err := b.program(ctx, t); err != nil {
				return err
			}
			b.relay.Present(ctx, d.aor)
		case <-ctx.Done():
			if outer.Err() == nil {
				return fmt.Errorf("%w: another stream was opened with this token", api.ErrRefused)
			}
			return ctx.Err()
		}
	}
}

// took answers a message as the device that it was given to.
func (b backend) took(m *sip.Message, d *program, status int) { b.answerAs(m, d.flow.Local, status) }

func (b backend) answerAs(m *sip.Message, local netip.AddrPort, status int) {
	answer := new(sip.Message)
	if err := answer.Parse(m.AppendReply(nil, local, &sip.Reply{Status: status, ToTag: rand.Text()[:10]})); err == nil && answer.Check() == nil {
		b.tx.Response(answer)
	}
}

// ConfirmMessage implements api.Messages.
func (b backend) ConfirmMessage(t auth.Token, id string) error {
	aor, err := sip.ParseAORString(t.AOR)
	if err != nil {
		return fmt.Errorf("%w: the token has no account", api.ErrRefused)
	}
	m, flow, ok := b.programs.confirmed(aor, "token-"+t.ID, id)
	if !ok {
		return api.NotFound(fmt.Sprintf("message %q does not wait for that; it comes again if it was not taken", id))
	}
	b.answerAs(m, flow.Local, sip.StatusOK)
	return nil
}

// received is a message as a program sees it.
func received(m *sip.Message, id string) api.ReceivedMessage {
	r := api.ReceivedMessage{
		ID: id, To: m.ToAOR().String(), ContentType: m.Get(sip.HeaderContentType), Subject: m.Get(sip.HeaderSubject), CallID: m.CallID(),
	}
	if from, err := m.From(); err == nil {
		r.From, r.FromName = from.URI, from.DisplayName()
	}
	if at, err := sip.ParseDate(m.Get(sip.HeaderDate)); err == nil {
		r.Sent = &at
	}
	if body := m.Body(); utf8.ValidString(body) {
		r.Text = body
	} else {
		r.Bytes = []byte(body)
	}
	return r
}
