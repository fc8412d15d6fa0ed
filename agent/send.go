package agent

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/emiago/sipgo/sip"
)

// SendOptions are the parts of a message that most callers leave alone.
type SendOptions struct {
	// ContentType is the body's type; empty means text/plain;charset=utf-8,
	// for which the text must be valid UTF-8.
	ContentType string
	// Expires asks the server to give up delivery after this time (RFC 3428
	// §4); zero leaves it to the server.
	Expires time.Duration
}

// Result is the final answer to a request.
type Result struct {
	// Status and Reason are the status line: 200 means that the recipient's
	// device took the message, 202 that the server keeps it (RFC 3428 §7).
	Status int
	Reason string
	// RetryAfter is how long the server asks to wait, with 503; zero if it
	// does not say.
	RetryAfter time.Duration
	// CallID identifies the request in the server's record.
	CallID string
	// Transport is what the answered request went by: "udp" or "tcp".
	Transport string
	// Took is the time from the first request to the final answer.
	Took time.Duration
}

// Accepted reports a 2xx: the message was delivered or is kept for delivery.
func (r Result) Accepted() bool { return r.Status >= 200 && r.Status < 300 }

// Send sends one MESSAGE (RFC 3428) to the address to, a sip: URI, and waits for
// the final answer. It answers a digest challenge with the password of cfg. A
// refusal by the server is a Result, not an error; an error means that there was
// no answer: bad arguments, no route, 32 s of silence, or the end of ctx.
func Send(ctx context.Context, cfg Config, to, text string, opt SendOptions) (Result, error) {
	target, err := parseURI(to)
	if err != nil {
		return Result{}, fmt.Errorf("recipient: %w", err)
	}
	if opt.ContentType == "" {
		if !utf8.ValidString(text) {
			return Result{}, fmt.Errorf("text is not valid UTF-8")
		}
		opt.ContentType = "text/plain;charset=utf-8"
	}
	e, err := listen(ctx, cfg, nil)
	if err != nil {
		return Result{}, err
	}
	defer e.close()

	r := Result{CallID: token(16)}
	req := e.newRequest(sip.MESSAGE, target, target, r.CallID, 1, []byte(text))
	req.AppendHeader(sip.NewHeader("Content-Type", opt.ContentType))
	req.AppendHeader(sip.NewHeader("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
	if opt.Expires > 0 {
		req.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(int64(opt.Expires/time.Second))))
	}
	start := time.Now()
	res, transport, err := e.do(ctx, req)
	r.Took, r.Transport = time.Since(start), transport
	if err != nil {
		return r, err
	}
	r.answered(res)
	return r, nil
}

// answered takes what a final response says of itself.
func (r *Result) answered(res *sip.Response) {
	r.Status, r.Reason = res.StatusCode, res.Reason
	r.RetryAfter = max(0, headerSeconds(res, "Retry-After"))
}
