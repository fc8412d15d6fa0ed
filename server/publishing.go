package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/event"
	"rollcall/sip"
	"rollcall/xcap"
)

// own returns the account that an application publishes for.
func (b backend) own(ctx context.Context, text string) (auth.Identity, error) {
	aor, err := sip.ParseAORString(text)
	if err != nil {
		return auth.Identity{}, fmt.Errorf("%w: %q is no address of record", api.ErrInvalid, text)
	}
	t := api.TokenOf(ctx)
	if by := viewer(t); !by.IsZero() && by != aor && !b.publishers(by) {
		return auth.Identity{}, fmt.Errorf("%w: the token publishes for %s alone; [presence] publishers names accounts that publish for others", api.ErrForbidden, by)
	}
	id, err := b.directory.Vouch(ctx, t, aor)
	if errors.Is(err, auth.ErrNoAccount) {
		err = fmt.Errorf("%w: %s", api.ErrNotFound, aor)
	}
	return id, err
}

// Publish implements api.Publisher: it is a PUBLISH that the server makes.
func (b backend) Publish(ctx context.Context, actor, text string, p api.Publish) (api.Published, error) {
	id, err := b.own(ctx, text)
	if err != nil {
		return api.Published{}, err
	}
	if strings.ContainsAny(p.Match, "\r\n, \t") {
		return api.Published{}, fmt.Errorf("%w: If-Match must be one entity-tag", api.ErrInvalid)
	}
	life, body := p.Expires, p.Document
	if life == 0 && !p.Remove {
		life = int(time.Hour / time.Second)
	}
	if body == "" && !p.Remove {
		body = p.PIDF(id.AOR().String(), "api")
	}
	var m strings.Builder
	fmt.Fprintf(&m, "PUBLISH %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKapi\r\nMax-Forwards: 1\r\nFrom: <%[1]s>;tag=api\r\nTo: <%[1]s>\r\n"+
		"Call-ID: api\r\nCSeq: 1 PUBLISH\r\nEvent: presence\r\nExpires: %[2]d\r\n", id.AOR(), life)
	if p.Match != "" {
		m.WriteString("SIP-If-Match: " + p.Match + "\r\n")
	}
	if body != "" {
		m.WriteString("Content-Type: application/pidf+xml\r\n")
	}
	m.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	msg := new(sip.Message)
	if err := msg.Parse([]byte(m.String())); err != nil {
		return api.Published{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if fault := msg.Check(); fault != nil {
		return api.Published{}, fmt.Errorf("%w: %s", api.ErrInvalid, fault.Text())
	}
	answer, err := b.notifier.Publish(ctx, event.Request{Message: msg, From: id, Body: body, Now: time.Now()})
	var fault *sip.Error
	if errors.As(err, &fault) {
		if fault.Status == sip.StatusConditionalFailed {
			return api.Published{}, fmt.Errorf("%w: no publication has this entity-tag any more; publish the whole state", api.ErrMoved)
		}
		return api.Published{}, fmt.Errorf("%w: %d %s", api.ErrInvalid, fault.Status, fault.Text())
	}
	if err != nil {
		return api.Published{}, err
	}
	if answer.Then != nil {
		answer.Then()
	}
	var done api.Published
	for _, f := range answer.Fields {
		switch f.Name {
		case "SIP-ETag":
			done.ETag = f.Value
		case "Expires":
			done.Expires, _ = strconv.Atoi(f.Value) // written by the notifier
		}
	}
	return done, nil
}

// actPermanent is the action of the record of who sets what an account shows without a publication.
const actPermanent = "presence-permanent"

// Permanent implements api.Publisher: the state is the user's own document.
func (b backend) Permanent(ctx context.Context, actor, text, document, match string) (etag string, err error) {
	id, err := b.own(ctx, text)
	if err != nil {
		return "", err
	}
	if _, err := b.act(ctx, actor, actPermanent, id.AOR().String(), "", map[string]bool{"removed": document == ""}); err != nil {
		return "", err
	}
	if document == "" {
		err = b.documents.DeleteIf(ctx, id.AOR(), xcap.PIDFManipulation, hardStateName, match)
	} else {
		var doc *xcap.Document
		if doc, err = b.documents.PutIf(ctx, id.AOR(), xcap.PIDFManipulation, hardStateName, []byte(document), match); err == nil {
			etag = doc.ETag
		}
	}
	var conflict *xcap.Conflict
	switch {
	case errors.Is(err, xcap.ErrPrecondition):
		err = fmt.Errorf("%w: the permanent state of %s is not the one that If-Match names", api.ErrMoved, id.AOR())
	case errors.Is(err, xcap.ErrNotFound):
		err = fmt.Errorf("%w: %s has no permanent state", api.ErrNotFound, id.AOR())
	case errors.As(err, &conflict):
		err = fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return etag, err
}
