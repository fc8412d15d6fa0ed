package api

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// Record is what people do to the record of a running server. Each call is
// recorded with its actor before it takes effect.
type Record interface {
	// RotateKey makes a new key for checkpoints and returns its verifier key. The checkpoints that follow are signed by
	// it and by the one before.
	RotateKey(ctx context.Context, actor string) (string, error)
}

// RotatedKey is the answer to POST /api/v1/record/key.
type RotatedKey struct {
	VerifierKey string `json:"verifier_key"`
}

func controlRecord(mux *http.ServeMux, b Record) {
	mux.HandleFunc("POST /api/v1/record/key", func(w http.ResponseWriter, r *http.Request) {
		key, err := b.RotateKey(r.Context(), actorOf(r))
		reply(w, RotatedKey{key}, err)
	})
}

// RotateKey calls Record.RotateKey as the user who runs this process.
func (c *Client) RotateKey(ctx context.Context) (key RotatedKey, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/record/key", nil, &key)
	return key, err
}

type peerKey struct{}

// withPeer notes who opened a connection of the control socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return ctx
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	name := "uid " + uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	return context.WithValue(ctx, peerKey{}, "os:"+name)
}

// actorOf names who makes a request: the user of the operating system at the
// control socket.
func actorOf(r *http.Request) string {
	if name, ok := r.Context().Value(peerKey{}).(string); ok {
		return name
	}
	return "unknown"
}
