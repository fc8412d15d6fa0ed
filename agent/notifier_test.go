package agent

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// testNotifier adds PUBLISH and SUBSCRIBE to a testRegistrar: the last published
// document of a user goes to everybody who subscribes.
type testNotifier struct {
	*testRegistrar
	documents map[string]string
	dialogs   map[string]*testDialog // by our tag
	expires   int                    // granted to subscriptions
	refuse    int                    // status for SUBSCRIBE, when set
	answers   []int                  // to NOTIFYs
	sending   sync.Mutex             // one NOTIFY after the other
}

type testDialog struct {
	req  *sip.Request // the last SUBSCRIBE
	tag  string
	cseq uint32
}

func startNotifier(t testing.TB, change func(*testNotifier)) *testNotifier {
	n := &testNotifier{documents: map[string]string{}, dialogs: map[string]*testDialog{}, expires: 600}
	if change != nil {
		change(n)
	}
	startRegistrar(t, func(r *testRegistrar) {
		n.testRegistrar = r
		r.more = func(uas *sipgo.Server) {
			uas.OnPublish(n.publish)
			uas.OnSubscribe(n.subscribe)
		}
	})
	return n
}

func (n *testNotifier) publish(req *sip.Request, tx sip.ServerTransaction) {
	n.note(req)
	if !n.authorized(req, tx, 401) {
		return
	}
	if expires := seconds(req.GetHeader("Expires").Value()); expires < time.Minute {
		res := sip.NewResponseFromRequest(req, 423, "Interval Too Brief", nil)
		res.AppendHeader(sip.NewHeader("Min-Expires", "60"))
		tx.Respond(res)
		return
	}
	if req.GetHeader("Event").Value() != "presence" || req.GetHeader("Content-Type").Value() != typePIDF {
		tx.Respond(sip.NewResponseFromRequest(req, 489, "Bad Event", nil))
		return
	}
	user := req.Recipient.User
	n.mu.Lock()
	n.documents[user] = string(req.Body())
	n.mu.Unlock()
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.AppendHeader(sip.NewHeader("SIP-ETag", "tag-1"))
	res.AppendHeader(sip.NewHeader("Expires", req.GetHeader("Expires").Value()))
	tx.Respond(res)
	n.tell(user, "active;expires=600")
}

func (n *testNotifier) subscribe(req *sip.Request, tx sip.ServerTransaction) {
	n.note(req)
	if !n.authorized(req, tx, 401) {
		return
	}
	n.mu.Lock()
	refuse := n.refuse
	tag, within := req.To().Params.Get("tag")
	d := n.dialogs[tag]
	if !within {
		d = &testDialog{tag: token(4)}
		n.dialogs[d.tag] = d
	}
	if d != nil {
		d.req = req
	}
	n.mu.Unlock()
	if refuse != 0 {
		tx.Respond(sip.NewResponseFromRequest(req, refuse, "Refused", nil))
		return
	}
	if d == nil {
		tx.Respond(sip.NewResponseFromRequest(req, 481, "No Dialog", nil))
		return
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.To().Params.Add("tag", d.tag)
	expires := min(n.expires, int(seconds(req.GetHeader("Expires").Value())/time.Second))
	res.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(expires)))
	res.AppendHeader(sip.NewHeader("Contact", fmt.Sprintf("<sip:notifier-%s@%s>", req.To().Address.User, n.addr)))
	tx.Respond(res)
	if expires == 0 {
		n.notify(d, "terminated;reason=timeout", "")
		n.mu.Lock()
		delete(n.dialogs, d.tag)
		n.mu.Unlock()
		return
	}
	n.mu.Lock()
	body := n.documents[req.To().Address.User]
	n.mu.Unlock()
	n.notify(d, fmt.Sprintf("active;expires=%d", expires), body)
}

// tell sends a NOTIFY to all who watch the user.
func (n *testNotifier) tell(user, state string) {
	n.mu.Lock()
	var all []*testDialog
	for _, d := range n.dialogs {
		if d.req.To().Address.User == user {
			all = append(all, d)
		}
	}
	body := n.documents[user]
	n.mu.Unlock()
	for _, d := range all {
		n.notify(d, state, body)
	}
}

func (n *testNotifier) notify(d *testDialog, state, body string) int {
	n.sending.Lock()
	defer n.sending.Unlock()
	n.mu.Lock()
	d.cseq++
	sub, cseq := d.req, d.cseq
	n.mu.Unlock()
	return n.send(sub, d.tag, cseq, state, body)
}

// send sends a NOTIFY in the dialog of a SUBSCRIBE and returns the answer.
func (n *testNotifier) send(sub *sip.Request, tag string, cseq uint32, state, body string, headers ...string) int {
	req := n.request(sip.NOTIFY, "", body, headers...)
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		req.RemoveHeader(name)
	}
	from, to := sub.To().AsFrom(), sub.From().AsTo()
	from.Params.Add("tag", tag)
	id := *sub.CallID()
	req.AppendHeader(&from)
	req.AppendHeader(&to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: sip.NOTIFY})
	if req.GetHeader("Event") == nil {
		req.AppendHeader(sip.NewHeader("Event", "presence"))
	}
	if state != "" {
		req.AppendHeader(sip.NewHeader("Subscription-State", state))
	}
	if body != "" && req.GetHeader("Content-Type") == nil {
		req.AppendHeader(sip.NewHeader("Content-Type", typePIDF))
	}
	req.Recipient = sub.Contact().Address
	req.SetTransport(sub.Transport())
	req.SetDestination(sub.Source())
	if sub.Transport() == "UDP" {
		host, port, _ := sip.ParseAddr(n.addr)
		req.Laddr = sip.Addr{IP: net.ParseIP(host), Port: port}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, err := n.client.Do(ctx, req, sipgo.ClientRequestAddVia)
	if err != nil {
		n.t.Errorf("notify: %v", err)
		return 0
	}
	n.mu.Lock()
	n.answers = append(n.answers, res.StatusCode)
	n.mu.Unlock()
	return res.StatusCode
}

// dialog waits for a subscription to the user.
func (n *testNotifier) dialog(user string) *testDialog {
	n.t.Helper()
	for range 1000 {
		n.mu.Lock()
		for _, d := range n.dialogs {
			if d.req.To().Address.User == user {
				n.mu.Unlock()
				return d
			}
		}
		n.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatalf("nobody watches %s", user)
	return nil
}

// empty waits for the end of all subscriptions: that of the last comes with the
// answer to its last NOTIFY.
func (n *testNotifier) empty() bool {
	for range 200 {
		n.mu.Lock()
		left := len(n.dialogs)
		n.mu.Unlock()
		if left == 0 {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func line(e Event) string { return strings.TrimPrefix(e.String(), e.Time.Format("15:04:05 ")) }
