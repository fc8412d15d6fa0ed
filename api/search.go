package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/archive"
)

// SearchRequest is a search of the record.
type SearchRequest struct {
	Query  string // in the language of archive search
	Reason string // is recorded
	Limit  int    // records; 0 means all
}

// Searched says what a search looks at.
type Searched struct {
	// Index says that the index is searched, else the files are read.
	Index bool
	// Behind is how many of the newest records are not in the index yet, and Age how old the oldest of them is.
	Behind uint64
	Age    time.Duration
}

// Headers of an answer that say what was searched.
const (
	searchedHeader = "Rollcall-Searched"     // index or files
	behindHeader   = "Rollcall-Index-Behind" // records
	ageHeader      = "Rollcall-Index-Age"    // seconds
	lines          = "application/x-ndjson"  // one record a line, for any number of them
)

func (s Searched) write(h http.Header) {
	h.Set(searchedHeader, "files")
	if s.Index {
		h.Set(searchedHeader, "index")
	}
	if s.Behind > 0 {
		h.Set(behindHeader, strconv.FormatUint(s.Behind, 10))
		h.Set(ageHeader, strconv.FormatFloat(s.Age.Seconds(), 'f', 1, 64))
	}
}

func readSearched(h http.Header) (s Searched) {
	s.Index = h.Get(searchedHeader) == "index"
	s.Behind, _ = strconv.ParseUint(h.Get(behindHeader), 10, 64) // 0 when it is not there
	age, _ := strconv.ParseFloat(h.Get(ageHeader), 64)
	s.Age = time.Duration(age * float64(time.Second))
	return s
}

// Conversation is what parties wrote to each other.
type Conversation struct {
	Threads []archive.Thread `json:"threads"`
	// More says that there are further messages, beyond the limit.
	More bool `json:"more,omitempty"`
}

// ConversationQuery returns the search, in the language of archive search, that finds what two or more parties wrote to
// each other, or all messages of a single one, and meets narrow too.
func ConversationQuery(parties []string, narrow string) (string, error) {
	for _, p := range parties {
		if p == "" || strings.ContainsAny(p, "\", \t\r\n") {
			return "", fmt.Errorf("%w: %q is no party: write an address or a user", ErrInvalid, p)
		}
	}
	if len(parties) == 0 {
		return "", fmt.Errorf("%w: a conversation has parties: with=alice,bob", ErrInvalid)
	}
	return strings.TrimSpace(`conversation:"` + strings.Join(parties, ",") + `" ` + narrow), nil
}

const (
	searchDefault = 100
	searchMost    = 10_000
)

// limitOf reads how many records a caller wants.
func limitOf(s string, standard int) (int, error) {
	if s == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > searchMost {
		return 0, fmt.Errorf("%w: limit is 1 to %d", ErrInvalid, searchMost)
	}
	return n, nil
}

func searchRoutes(mux *http.ServeMux, b Record) {
	mux.HandleFunc("GET /api/v1/records", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		req := SearchRequest{Query: q.Get("q"), Reason: q.Get("reason")}
		if r.Header.Get("Accept") == lines {
			searchLines(w, r, b, req, q.Get("limit"))
			return
		}
		var err error
		if req.Limit, err = limitOf(q.Get("limit"), searchDefault); err != nil {
			reply(w, nil, err)
			return
		}
		list, _, err := search(w, r, b, req)
		reply(w, list, err)
	})
	mux.HandleFunc("GET /api/v1/conversations", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		var parties []string
		for _, with := range q["with"] {
			parties = append(parties, strings.Split(with, ",")...)
		}
		gap := archive.ThreadGap
		var err error
		if text := q.Get("gap"); text != "" {
			if gap, err = time.ParseDuration(text); err != nil || gap <= 0 {
				reply(w, nil, fmt.Errorf("%w: gap is a time such as 1h or 30m", ErrInvalid))
				return
			}
		}
		req := SearchRequest{Reason: q.Get("reason")}
		if req.Limit, err = limitOf(q.Get("limit"), searchMost); err == nil {
			req.Query, err = ConversationQuery(parties, q.Get("q"))
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		list, more, err := search(w, r, b, req)
		reply(w, Conversation{Threads: archive.Threads(list, gap), More: more}, err)
	})
}

// search gathers what a search finds, up to its limit, and says whether there is more.
func search(w http.ResponseWriter, r *http.Request, b Record, q SearchRequest) (list []archive.View, more bool, err error) {
	extend(w)
	list = []archive.View{}
	limit := q.Limit
	q.Limit++
	err = b.Search(r.Context(), actorOf(r), q, func(s Searched) { s.write(w.Header()) }, func(v archive.View) error {
		if more = len(list) == limit; !more {
			list = append(list, v)
		}
		return nil
	})
	return list, more, err
}

// searchLines streams what a search finds, all of it if no limit is given.
func searchLines(w http.ResponseWriter, r *http.Request, b Record, q SearchRequest, limit string) {
	if limit != "" {
		var err error
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 1 {
			reply(w, nil, fmt.Errorf("%w: limit is a number of records", ErrInvalid))
			return
		}
	}
	extend(w)
	enc := json.NewEncoder(w)
	started := false
	err := b.Search(r.Context(), actorOf(r), q, func(s Searched) { s.write(w.Header()) }, func(v archive.View) error {
		if !started {
			w.Header().Set("Content-Type", lines)
		}
		started = true
		return enc.Encode(v)
	})
	streamEnd(w, started, err)
}

// Search calls Record.Search as the user who runs this process.
func (c *Client) Search(ctx context.Context, q SearchRequest, begin func(Searched), f func(archive.View) error) error {
	v := url.Values{"q": {q.Query}, "reason": {q.Reason}}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	res, err := c.doAccept(ctx, http.MethodGet, "/api/v1/records?"+v.Encode(), lines, "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	begin(readSearched(res.Header))
	d := json.NewDecoder(bufio.NewReaderSize(res.Body, 64<<10))
	for {
		var v archive.View
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("search: the server ended the answer early: %w", err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
}
