package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"rollcall/archive"
	"rollcall/auth"
)

// AuditQuery says which acts are wanted.
type AuditQuery struct {
	Actor         string   // part of the actor's name, in any case of letters; "" is all
	Actions       []string // one of these; none is all
	After, Before string   // a day in the time zone of reports, or RFC 3339; "" is open
	From          uint64   // seq of the record that a page begins with; 0 is the first
	Limit         int
	Reason        string
	// Contents says that the reader may read what people say of messages.
	Contents bool
}

// AuditPage is a part of the acts.
type AuditPage struct {
	Acts []Audited `json:"acts"`
	// Next is where the next page begins, to be given as from=; absent on the last one.
	Next uint64 `json:"next,omitempty"`
}

// Audited is what somebody did, or the server by itself.
type Audited struct {
	Seq    uint64     `json:"seq"`
	ID     archive.ID `json:"id"`
	At     time.Time  `json:"at"`
	Actor  string     `json:"actor"`
	Action string     `json:"action"`
	Object string     `json:"object,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// Cites is the record that it is about, of a review.
	Cites *archive.ID `json:"cites,omitempty"`
	Rule  string      `json:"rule,omitempty"`
}

func auditQuery(r *http.Request) (AuditQuery, error) {
	v := r.URL.Query()
	q := AuditQuery{Actor: v.Get("actor"), Actions: v["action"], After: v.Get("after"), Before: v.Get("before"), Reason: v.Get("reason")}
	t, token := r.Context().Value(tokenKey{}).(auth.Token)
	q.Contents = !token || t.Role != "admin"
	var err error
	if q.Limit, err = limitOf(v.Get("limit"), searchDefault); err != nil {
		return q, err
	}
	if from := v.Get("from"); from != "" {
		if q.From, err = strconv.ParseUint(from, 10, 64); err != nil {
			return q, fmt.Errorf("%w: from is the next of the page before", ErrInvalid)
		}
	}
	if len(q.Actions) > maxWanted {
		return q, fmt.Errorf("%w: up to %d actions", ErrInvalid, maxWanted)
	}
	return q, nil
}

// PolicyState is the policy that messages and subscriptions are judged by.
type PolicyState struct {
	// Version is what records name; "" without a policy file.
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	File    string    `json:"file,omitempty"`
	// Rules is the text of the rules in force, TOML, which may not be that of the file now.
	Rules string `json:"rules"`
	// Fault is why the file, as it was last read, is not in force; absent when it is.
	Fault *PolicyFault `json:"fault,omitempty"`
}

// PolicyFault says what was wrong with a policy file.
type PolicyFault struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"` // with file and line, one fault a line
}
