package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/archive"
	"rollcall/archive/retain"
	"rollcall/auth"
)

// Record is what people do to the record of a running server. Each call is
// recorded with its actor before it takes effect.
type Record interface {
	// RotateKey makes a new key for checkpoints and returns its verifier key. The checkpoints that follow are signed by
	// it and by the one before.
	RotateKey(ctx context.Context, actor string) (string, error)
	// Holds lists the holds in force.
	Holds(ctx context.Context) ([]*retain.Hold, error)
	// PlaceHold puts a hold in force: ErrExists, or ErrInvalid.
	PlaceHold(ctx context.Context, actor string, h retain.Hold) (*retain.Hold, error)
	// ReleaseHold asks for the release of a hold, or confirms it when another actor has asked: ErrNotFound, ErrRefused.
	ReleaseHold(ctx context.Context, actor, name, reason string) (Release, error)
	// Erase destroys the keys of what an author wrote in some months. ErrRefused, with the reason, while retention or a
	// hold stands against it.
	Erase(ctx context.Context, actor string, e EraseRequest) (*retain.Erasure, error)
	// Purge takes out of the record what is over its time.
	Purge(ctx context.Context, actor string) ([]retain.Purged, error)
	// Search records the search, says how it is done, and calls f with what the query finds, in order.
	Search(ctx context.Context, actor string, q SearchRequest, begin func(Searched), f func(archive.View) error) error
	// Follow calls f with the records behind one, and with those that come until ctx ends, and records that it does:
	// ErrInvalid.
	Follow(ctx context.Context, actor string, o Follow, f func(archive.View) error) error
	// Show returns a record with what became of it, and records the view: ErrNotFound.
	Show(ctx context.Context, actor string, id archive.ID, reason string) (*archive.Shown, error)
	// Proof returns the proof of a record in the form of C2SP tlog-proof: ErrNotFound, or ErrRefused while no checkpoint is over it.
	Proof(ctx context.Context, id archive.ID) ([]byte, error)
	// Reviews lists what supervision wants to see of the time since then.
	Reviews(ctx context.Context, since time.Time) (Reviews, error)
	// Review records a step of a review: ErrNotFound, ErrInvalid, or ErrRefused when the actor is a party of the message.
	Review(ctx context.Context, actor string, id archive.ID, step ReviewStep) (*archive.Review, error)
	// Act records that somebody reads the record: a search, a view, an export, a stream.
	Act(ctx context.Context, actor string, a Act) (Acted, error)
}

// Release is what became of a hold that was to be released.
type Release struct {
	Hold     *retain.Hold `json:"hold"`
	Released bool         `json:"released"` // false: somebody else must confirm
}

// EraseRequest says what is to be erased.
type EraseRequest struct {
	Author string    `json:"author"` // AOR
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Reason string    `json:"reason"`
}

// Reviews is the queue of supervision.
type Reviews struct {
	Stats archive.ReviewStats `json:"stats"`
	List  []*archive.Review   `json:"reviews"`
}

// ReviewStep is a step of a review.
type ReviewStep struct {
	Step    string `json:"step"` // claim, comment, approve or escalate
	Comment string `json:"comment,omitempty"`
}

// Act is what somebody does with the record.
type Act struct {
	Action string `json:"action"` // "search", "view", "export" or "stream"
	Object string `json:"object"` // the query, or the ID of a record
	Reason string `json:"reason,omitempty"`
	// Detail is what else is to be known of it.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Acted is the record of an act.
type Acted struct {
	ID archive.ID `json:"id"`
}

// releaseHold is the body of POST /api/v1/holds/{name}/release.
type releaseHold struct {
	Reason string `json:"reason"`
}

// RotatedKey is the answer to POST /api/v1/record/key.
type RotatedKey struct {
	VerifierKey string `json:"verifier_key"`
}

func recordRoutes(mux *http.ServeMux, b Record) {
	mux.HandleFunc("POST /api/v1/record/key", func(w http.ResponseWriter, r *http.Request) {
		key, err := b.RotateKey(r.Context(), actorOf(r))
		reply(w, RotatedKey{key}, err)
	})
	mux.HandleFunc("GET /api/v1/holds", func(w http.ResponseWriter, r *http.Request) {
		list, err := b.Holds(r.Context())
		if list == nil {
			list = []*retain.Hold{}
		}
		reply(w, list, err)
	})
	mux.HandleFunc("POST /api/v1/holds", func(w http.ResponseWriter, r *http.Request) {
		var h retain.Hold
		if decode(w, r, &h) {
			placed, err := b.PlaceHold(r.Context(), actorOf(r), h)
			reply(w, placed, err)
		}
	})
	mux.HandleFunc("POST /api/v1/holds/{name}/release", func(w http.ResponseWriter, r *http.Request) {
		var rel releaseHold
		if decode(w, r, &rel) {
			release, err := b.ReleaseHold(r.Context(), actorOf(r), r.PathValue("name"), rel.Reason)
			reply(w, release, err)
		}
	})
	mux.HandleFunc("POST /api/v1/record/erase", func(w http.ResponseWriter, r *http.Request) {
		var e EraseRequest
		if decode(w, r, &e) {
			erased, err := b.Erase(r.Context(), actorOf(r), e)
			reply(w, erased, err)
		}
	})
	mux.HandleFunc("POST /api/v1/record/purge", func(w http.ResponseWriter, r *http.Request) {
		extend(w)
		done, err := b.Purge(r.Context(), actorOf(r))
		if done == nil {
			done = []retain.Purged{}
		}
		reply(w, done, err)
	})
	searchRoutes(mux, b)
	mux.HandleFunc("GET /api/v1/records/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := archive.ParseID(r.PathValue("id"))
		if err != nil {
			reply(w, nil, fmt.Errorf("%w: %w", ErrInvalid, err))
			return
		}
		shown, err := b.Show(r.Context(), actorOf(r), id, r.URL.Query().Get("reason"))
		reply(w, shown, err)
	})
	mux.HandleFunc("GET /api/v1/records/{id}/proof", func(w http.ResponseWriter, r *http.Request) {
		id, err := archive.ParseID(r.PathValue("id"))
		if err != nil {
			reply(w, nil, fmt.Errorf("%w: %w", ErrInvalid, err))
			return
		}
		proof, err := b.Proof(r.Context(), id)
		if err != nil {
			reply(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(proof) // a reader that went away needs no answer
	})
	mux.HandleFunc("GET /api/v1/reviews", func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
		if err != nil {
			reply(w, nil, fmt.Errorf("%w: since is no time", ErrInvalid))
			return
		}
		list, err := b.Reviews(r.Context(), since)
		reply(w, list, err)
	})
	mux.HandleFunc("POST /api/v1/reviews/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := archive.ParseID(r.PathValue("id"))
		if err != nil {
			reply(w, nil, fmt.Errorf("%w: %w", ErrInvalid, err))
			return
		}
		var step ReviewStep
		if decode(w, r, &step) {
			rev, err := b.Review(r.Context(), actorOf(r), id, step)
			reply(w, rev, err)
		}
	})
	mux.HandleFunc("POST /api/v1/record/acts", func(w http.ResponseWriter, r *http.Request) {
		var a Act
		if decode(w, r, &a) {
			acted, err := b.Act(r.Context(), actorOf(r), a)
			reply(w, acted, err)
		}
	})
}

// Holds calls Record.Holds.
func (c *Client) Holds(ctx context.Context) (list []*retain.Hold, err error) {
	err = c.call(ctx, http.MethodGet, "/api/v1/holds", nil, &list)
	return list, err
}

// PlaceHold calls Record.PlaceHold.
func (c *Client) PlaceHold(ctx context.Context, h retain.Hold) (placed *retain.Hold, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/holds", h, &placed)
	return placed, err
}

// ReleaseHold calls Record.ReleaseHold.
func (c *Client) ReleaseHold(ctx context.Context, name, reason string) (rel Release, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/holds/"+url.PathEscape(name)+"/release", releaseHold{reason}, &rel)
	return rel, err
}

// Erase calls Record.Erase.
func (c *Client) Erase(ctx context.Context, e EraseRequest) (erased *retain.Erasure, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/record/erase", e, &erased)
	return erased, err
}

// Purge calls Record.Purge.
func (c *Client) Purge(ctx context.Context) (done []retain.Purged, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/record/purge", struct{}{}, &done)
	return done, err
}

// Reviews calls Record.Reviews.
func (c *Client) Reviews(ctx context.Context, since time.Time) (list Reviews, err error) {
	err = c.call(ctx, http.MethodGet, "/api/v1/reviews?since="+url.QueryEscape(since.UTC().Format(time.RFC3339)), nil, &list)
	return list, err
}

// Review calls Record.Review.
func (c *Client) Review(ctx context.Context, id archive.ID, step ReviewStep) (rev *archive.Review, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/reviews/"+id.String(), step, &rev)
	return rev, err
}

// Act calls Record.Act.
func (c *Client) Act(ctx context.Context, a Act) (acted Acted, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/record/acts", a, &acted)
	return acted, err
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

// asHeader has the person for whom an administrator acts at the control socket.
const asHeader = "Rollcall-As"

// actorOf names who makes a request: the holder of a token or, at the control
// socket, the user of the operating system and the person whom he names.
func actorOf(r *http.Request) string {
	if t, ok := r.Context().Value(tokenKey{}).(auth.Token); ok {
		return "token:" + t.ID + " " + t.Name
	}
	name, ok := r.Context().Value(peerKey{}).(string)
	if !ok {
		name = "unknown"
	}
	if as := r.Header.Get(asHeader); as != "" && len(as) <= 320 {
		name += " as " + as
	}
	return name
}

type actorKey struct{}

// WithActor notes for whom something is done.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// Actor returns for whom something is done, "unknown" when nobody said.
func Actor(ctx context.Context) string {
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		return actor
	}
	return "unknown"
}
