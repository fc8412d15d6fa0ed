package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Publisher publishes presence for an application or the connector of a PBX.
type Publisher interface {
	// Publish publishes for an account, as RFC 3903 has it: ErrNotFound, ErrInvalid, or ErrRefused when the entity-tag is
	// not known any more.
	Publish(ctx context.Context, actor, aor string, p Publish) (Published, error)
	// Permanent sets the state that holds without a publication (RFC 4827), or removes it with an empty document, and
	// returns the entity-tag of the new one. Match is an If-Match, "" for none: ErrMoved.
	Permanent(ctx context.Context, actor, aor, document, match string) (etag string, err error)
}

// Publish is a state to publish.
type Publish struct {
	Basic    string `json:"basic,omitempty"`    // open or closed
	Activity string `json:"activity,omitempty"` // of RFC 4480: busy, away …
	Note     string `json:"note,omitempty"`
	// Expires is how long it holds, in seconds; 0 is an hour.
	Expires int `json:"expires,omitempty"`

	Document string `json:"-"` // PIDF, instead of the words above
	Match    string `json:"-"` // entity-tag of the publication that it takes the place of
	Remove   bool   `json:"-"`
}

// Published is a publication that was taken.
type Published struct {
	ETag    string `json:"etag"`
	Expires int    `json:"expires"` // seconds
}

// maxWanted bounds the accounts of one question.
const maxWanted = 1000

func presenceRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("GET /api/v1/presence/{aor}", func(w http.ResponseWriter, r *http.Request) {
		p, err := b.SeePresence(r.Context(), TokenOf(r.Context()), r.PathValue("aor"))
		reply(w, p, err)
	})
	mux.HandleFunc("GET /api/v1/presence", func(w http.ResponseWriter, r *http.Request) {
		aors := r.URL.Query()["aor"]
		if len(aors) == 0 || len(aors) > maxWanted {
			reply(w, nil, fmt.Errorf("%w: name 1 to %d accounts, each as aor=sip:alice@example.com", ErrInvalid, maxWanted))
			return
		}
		list := make([]Presence, 0, len(aors))
		for _, aor := range aors {
			p, err := b.SeePresence(r.Context(), TokenOf(r.Context()), aor)
			if err != nil {
				reply(w, nil, err)
				return
			}
			list = append(list, p)
		}
		reply(w, list, nil)
	})
	mux.HandleFunc("PUT /api/v1/presence/{aor}", func(w http.ResponseWriter, r *http.Request) {
		var p Publish
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/pidf+xml" {
			doc, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				reply(w, nil, fmt.Errorf("%w: body: %w", ErrInvalid, err))
				return
			}
			p.Document = string(doc)
		} else if !decode(w, r, &p) {
			return
		}
		if err := p.check(); err != nil {
			reply(w, nil, err)
			return
		}
		if r.URL.Query().Get("permanent") == "true" {
			doc := p.Document
			if doc == "" {
				doc = p.PIDF(r.PathValue("aor"), "permanent")
			}
			etag, err := b.Permanent(r.Context(), actorOf(r), r.PathValue("aor"), doc, r.Header.Get("If-Match"))
			if err == nil {
				w.Header().Set("ETag", etag)
			}
			reply(w, struct{}{}, err)
			return
		}
		if s := r.URL.Query().Get("expires"); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				reply(w, nil, fmt.Errorf("%w: expires is a number of seconds", ErrInvalid))
				return
			}
			p.Expires = n
		}
		p.Match = strings.Trim(r.Header.Get("If-Match"), `"`)
		done, err := b.Publish(r.Context(), actorOf(r), r.PathValue("aor"), p)
		if err == nil {
			w.Header().Set("ETag", `"`+done.ETag+`"`)
		}
		reply(w, done, err)
	})
	mux.HandleFunc("DELETE /api/v1/presence/{aor}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("permanent") == "true" {
			_, err := b.Permanent(r.Context(), actorOf(r), r.PathValue("aor"), "", r.Header.Get("If-Match"))
			reply(w, struct{}{}, err)
			return
		}
		match := strings.Trim(r.Header.Get("If-Match"), `"`)
		if match == "" {
			reply(w, nil, fmt.Errorf("%w: name the publication with If-Match and the ETag it was answered with", ErrInvalid))
			return
		}
		_, err := b.Publish(r.Context(), actorOf(r), r.PathValue("aor"), Publish{Match: match, Remove: true})
		reply(w, struct{}{}, err)
	})
}

// activity is the name of an element of RFC 4480 §3.2.
var activity = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// check says what is wrong with the words.
func (p *Publish) check() error {
	switch {
	case p.Basic != "" && p.Basic != "open" && p.Basic != "closed":
		return fmt.Errorf("%w: basic is open or closed", ErrInvalid)
	case p.Activity != "" && !activity.MatchString(p.Activity):
		return fmt.Errorf("%w: activity %q is none of RFC 4480", ErrInvalid, p.Activity)
	}
	return nil
}

// PIDF returns the words as a presence document (RFC 3863, RFC 4480).
func (p *Publish) PIDF(entity, tuple string) string {
	basic := p.Basic
	if basic == "" {
		basic = "open"
	}
	s := `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="` + xmlEscape(entity) + `"><tuple id="` + tuple + `"><status><basic>` + xmlEscape(basic) + `</basic></status>` +
		`<timestamp>` + time.Now().UTC().Format(time.RFC3339) + `</timestamp></tuple>`
	if p.Activity != "" || p.Note != "" {
		s += `<dm:person id="p` + tuple + `">`
		if p.Activity != "" {
			s += `<rpid:activities><rpid:` + p.Activity + `/></rpid:activities>`
		}
		if p.Note != "" {
			s += `<dm:note>` + xmlEscape(p.Note) + `</dm:note>`
		}
		s += `</dm:person>`
	}
	return s + `</presence>`
}
