package im_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/sip"
)

// TestMemoryUsedAgain sends many messages to devices that do all that devices do, so
// that the memory of those that were taken at once goes to others while some still
// wait. Each device gets what is for it, each sender the answer to what he sent, and
// each record its own outcomes.
func TestMemoryUsedAgain(t *testing.T) {
	const messages = 480
	kinds := []struct {
		status   int // of the device
		after    time.Duration
		want     int // what the sender is told
		outcomes []string
	}{
		{200, 0, 200, []string{"delivered 200"}},
		{200, 0, 200, []string{"delivered 200"}},
		{486, 0, 202, []string{"stored 202"}},
		{200, 900 * time.Millisecond, 200, []string{"delivered 200"}}, // behind Timer E
		{200, 0, 200, []string{"delivered 200"}},
		{200, 6 * time.Second, 202, []string{"stored 202", "delivered 200"}}, // behind AnswerAfter
		{603, 0, 603, []string{"refused 603"}},
	}
	inHouse(t, func(t *testing.T, h *house) {
		users := []string{"bob", "carol"}
		phones := map[string]*phone{"bob": h.online("bob", "192.0.2.2:5060"), "carol": h.wire.phone(t, "192.0.2.3:5060")}
		h.bind("carol", h.wire.connect(phones["carol"].addr), "<sip:carol@192.0.2.3:5060>") // nothing is sent again over TCP
		for _, p := range phones {
			p.answer = func(m *sip.Message) (int, time.Duration) {
				n, _ := strconv.Atoi(m.Body())
				return kinds[n%len(kinds)].status, kinds[n%len(kinds)].after
			}
		}
		h.journal.set(3*time.Millisecond, false, false)
		var sent []*request
		for n := range messages {
			sent = append(sent, h.send(users[n%2], strconv.Itoa(n)))
			if n%8 == 7 { // let some come to their end, while others go on for long
				settle(time.Duration(n%5) * 60 * time.Millisecond)
			}
		}
		settle(10 * time.Second)
		for n, r := range sent {
			m := r.want(kinds[n%len(kinds)].want)
			if seq, _ := m.CSeq(); m.CallID() != r.callID || int(seq) != n+1 {
				t.Errorf("message %d got the answer to %s", n, m.CallID())
			}
		}
		for user, p := range phones {
			seen := map[string]bool{}
			for _, m := range p.requests {
				n, _ := strconv.Atoi(m.Body())
				if users[n%2] != user || m.CallID() != sent[n].callID || m.ToAOR() != aor(user) || seen[m.Body()] {
					t.Errorf("%s got message %q of %s for %s", user, m.Body(), m.CallID(), m.ToAOR())
				}
				seen[m.Body()] = true
			}
			if len(seen) != messages/2 {
				t.Errorf("%s got %d messages, want %d", user, len(seen), messages/2)
			}
		}
		for i, user := range users {
			stored := 0
			for n := i; n < messages; n += 2 {
				if kinds[n%len(kinds)].status == 486 {
					stored++
				}
			}
			h.waiting(user, stored)
		}
		byCall, outcomes := map[string]*archive.Record{}, map[archive.ID][]string{}
		for _, rec := range h.records() {
			if rec.Type == archive.TypeMessage {
				byCall[rec.CallID] = rec
				continue
			}
			outcomes[rec.Cites] = append(outcomes[rec.Cites], fmt.Sprintf("%s %d", rec.Disposition, rec.Status))
			if p := phones[aorUser(rec.To)]; rec.Disposition == archive.Delivered && rec.Target != fmt.Sprintf("sip:%s@%s", aorUser(rec.To), p.addr) {
				t.Errorf("what was for %s was delivered to %s", rec.To, rec.Target)
			}
		}
		for n, r := range sent {
			rec := byCall[r.callID]
			if rec == nil || string(rec.Body()) != strconv.Itoa(n) || rec.To != aor(users[n%2]).String() {
				t.Fatalf("message %d is recorded as %+v", n, rec)
			}
			if got := outcomes[rec.ID]; !slices.Equal(got, kinds[n%len(kinds)].outcomes) {
				t.Errorf("message %d: outcomes %q, want %q", n, got, kinds[n%len(kinds)].outcomes)
			}
		}
	})
}

func aorUser(s string) string {
	a, _ := sip.ParseAORString(s)
	return a.User()
}
