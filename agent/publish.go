package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Publication is the final answer to a PUBLISH.
type Publication struct {
	Result
	// ETag names the publication at the server (RFC 3903 §11.3.1).
	ETag string
	// Expires is the lifetime that the server granted.
	Expires time.Duration
}

// defaultPublication is the lifetime that Publish asks for when it is not told
// one.
const defaultPublication = time.Hour

// Publish publishes the presence of the address of cfg for a time, an hour if
// expires is zero, and waits for the final answer (RFC 3903 §4.2). It keeps
// nothing: the publication ends when its time is over, or when the next one takes
// its place. A refusal is a Publication, as with [Send].
func Publish(ctx context.Context, cfg Config, p Presence, expires time.Duration) (Publication, error) {
	if expires == 0 {
		expires = defaultPublication
	}
	if expires < time.Second {
		return Publication{}, fmt.Errorf("expires %s is less than a second", expires)
	}
	e, err := listen(ctx, cfg, nil)
	if err != nil {
		return Publication{}, err
	}
	defer e.close()
	body, err := p.document(e.aor.String())
	if err != nil {
		return Publication{}, err
	}
	pub := Publication{Result: Result{CallID: token(16)}}
	start := time.Now()
	for cseq, again := uint32(1), true; ; again = false {
		req := e.newRequest(sip.PUBLISH, e.aor, e.aor, pub.CallID, cseq, body)
		req.AppendHeader(sip.NewHeader("Event", "presence"))
		req.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(int64(expires/time.Second))))
		req.AppendHeader(sip.NewHeader("Content-Type", typePIDF))
		res, transport, err := e.do(ctx, req)
		pub.Took, pub.Transport = time.Since(start), transport
		if err != nil {
			return pub, err
		}
		pub.answered(res)
		// RFC 3903 §5: after a 423 it may be tried again with the interval that
		// the server names.
		if least := headerSeconds(res, "Min-Expires"); again && res.StatusCode == sip.StatusIntervalToBrief && least > expires {
			expires, cseq = least, req.CSeq().SeqNo+1
			continue
		}
		if res.IsSuccess() {
			if pub.Expires = headerSeconds(res, "Expires"); pub.Expires < 0 {
				pub.Expires = expires
			}
			if h := res.GetHeader("SIP-ETag"); h != nil {
				pub.ETag = h.Value()
			}
		}
		return pub, nil
	}
}
