package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"rollcall/archive"
	"rollcall/auth"
)

// Messages carries the messages of programs: of the accounts that their tokens
// name, on the way of every other message.
type Messages interface {
	// SendMessage sends a message from the account of a token, which came from an address, and returns what became of it:
	// ErrInvalid, ErrRefused when the token has no account that may send, ErrBusy; with a key ErrUnderWay and ErrReused too.
	SendMessage(ctx context.Context, t auth.Token, from netip.AddrPort, m NewMessage) (SentMessage, error)
	// ReceiveMessages makes the program a device of the token's account until ctx ends, and calls f with each message for it.
	// When f returns nil the device has taken the message; with confirm, when ConfirmMessage is called. ErrRefused.
	ReceiveMessages(ctx context.Context, t auth.Token, from netip.AddrPort, confirm bool, ready func(), f func(ReceivedMessage) error) error
	// ConfirmMessage takes a message that ReceiveMessages gave: ErrNotFound when it does not wait for that any more.
	ConfirmMessage(t auth.Token, id string) error
}

// NewMessage is a message to send.
type NewMessage struct {
	To          string `json:"to"` // "sip:alice@example.com"
	Text        string `json:"text"`
	ContentType string `json:"content_type,omitempty"` // "" is text/plain;charset=UTF-8
	Subject     string `json:"subject,omitempty"`
	// Once is a key of the program's: what is sent again with it is sent once. "" is none.
	Once string `json:"-"`
}

// SentMessage is what became of a message.
type SentMessage struct {
	Record archive.ID `json:"record,omitzero"` // absent: it was refused before it was recorded
	Status int        `json:"status"`          // of SIP: 200 delivered, 202 kept until a device takes it
	Reason string     `json:"reason"`
}

// ReceivedMessage is a message for a program.
type ReceivedMessage struct {
	// ID is the same when the message comes again after a crash.
	ID          string `json:"id"`
	From        string `json:"from"`
	FromName    string `json:"from_name,omitempty"`
	To          string `json:"to"`
	ContentType string `json:"content_type"`
	Subject     string `json:"subject,omitempty"`
	// Text is the body when it is UTF-8; else Bytes has it, in base 64.
	Text  string `json:"text,omitempty"`
	Bytes []byte `json:"bytes_base64,omitempty"`
	// Sent is when its sender says it was sent, or when the server took it if it waited.
	Sent   *time.Time `json:"sent,omitempty"`
	CallID string     `json:"call_id"`
}

func messageRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("POST /api/v1/messages", func(w http.ResponseWriter, r *http.Request) {
		extend(w)
		t, from, err := programOf(r)
		var m NewMessage
		if err != nil {
			reply(w, nil, err)
			return
		}
		if !decodeMost(w, r, &m, tokenBody) {
			return
		}
		if m.Once, err = idempotencyKey(r.Header); err != nil {
			reply(w, nil, err)
			return
		}
		sent, err := b.SendMessage(r.Context(), t, from, m)
		if err != nil {
			if errors.Is(err, ErrUnderWay) {
				w.Header().Set("Retry-After", "1")
			}
			reply(w, nil, err)
			return
		}
		status := httpStatus(sent.Status)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		answer(w, status, sent)
	})
	mux.HandleFunc("POST /api/v1/messages/{id}/confirm", func(w http.ResponseWriter, r *http.Request) {
		t, _, err := programOf(r)
		if err == nil {
			err = b.ConfirmMessage(t, r.PathValue("id"))
		}
		reply(w, struct{}{}, err)
	})
	mux.HandleFunc("GET /api/v1/messages/stream", func(w http.ResponseWriter, r *http.Request) {
		t, from, err := programOf(r)
		confirm := r.URL.Query().Get("confirm")
		if err == nil && confirm != "" && confirm != "true" && confirm != "false" {
			err = fmt.Errorf("%w: confirm is true or false", ErrInvalid)
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		b.Streams().Serve(w, r, func(ctx context.Context, send func(Event) error, ready func()) error {
			return b.ReceiveMessages(ctx, t, from, confirm == "true", ready, func(m ReceivedMessage) error {
				return send(Event{ID: m.ID, Name: "message", Data: m})
			})
		})
	})
}

// maxIdempotencyKey bounds an Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// idempotencyKey returns the key that a program sends the same message again with, "" for none
// (draft-ietf-httpapi-idempotency-key-header; its quotes are taken as a part of it).
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	visible := !strings.ContainsFunc(key, func(c rune) bool { return c < '!' || c > '~' })
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || !visible {
		return "", fmt.Errorf("%w: Idempotency-Key is one word of up to %d visible ASCII characters", ErrInvalid, maxIdempotencyKey)
	}
	return key, nil
}

// programOf returns the token of a request, which names an account, and where the
// request came from.
func programOf(r *http.Request) (auth.Token, netip.AddrPort, error) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	t, ok := r.Context().Value(tokenKey{}).(auth.Token)
	if !ok || t.AOR == "" {
		return t, from, fmt.Errorf("%w: it takes a token with an account; rollcall token create --role bot --aor makes one", ErrRefused)
	}
	return t, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
}

// httpStatus is what HTTP says for a final answer of SIP: the same where both
// have it, else that the message was refused (409), or that what is behind this
// server failed (502).
func httpStatus(status int) int {
	switch status {
	case 200, 202, 403, 404, 413, 415, 503, 504:
		return status
	}
	switch status / 100 {
	case 2:
		return http.StatusOK
	case 5:
		return http.StatusBadGateway
	}
	return http.StatusConflict
}
