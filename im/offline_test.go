package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/store"
	"rollcall/store/storetest"
)

func TestOfflineInOrderOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var want []string
		var calls []string
		for i := range 10 {
			text := fmt.Sprint("message ", i)
			r := h.send("bob", text)
			r.want(202)
			want, calls = append(want, text), append(calls, r.callID)
		}
		h.waiting("bob", 10)
		h.restart()
		h.waiting("bob", 10)
		first := h.online("bob", "192.0.2.10:5060")
		settle(5 * time.Second)
		first.want(want...)
		if first.last().Get(sip.HeaderDate) == "" {
			t.Error("a message that waited has no Date")
		}
		h.waiting("bob", 0)
		// The first device that takes a message ends its wait.
		second := h.online("bob", "192.0.2.11:5060")
		h.refresh("bob", first)
		settle(5 * time.Second)
		second.want()
		first.want(want...)
		for _, id := range calls {
			h.wantOutcomes(id, "stored 202", "delivered 200")
		}
		if n := h.relay.Counters.Redelivered.Load(); n != 10 {
			t.Errorf("%d counted as redelivered", n)
		}
	})
}

// What is sent to the one device of an account while stored messages are on their
// way to it comes behind them.
func TestFreshMessageDoesNotOvertakeStoredOnes(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for i := range 3 {
			h.send("bob", fmt.Sprint(i)).want(202)
		}
		p := h.wire.phone(t, "192.0.2.10:5060")
		p.answer = func(*sip.Message) (int, time.Duration) { return 200, time.Second }
		h.refresh("bob", p)
		settle(500 * time.Millisecond) // the first is on its way
		fresh := h.send("bob", "fresh")
		settle(10 * time.Second)
		fresh.want(202)
		p.want("0", "1", "2", "fresh")
		h.waiting("bob", 0)
		h.wantOutcomes(fresh.callID, "stored 202", "delivered 200")
		h.send("bob", "afterwards").want(200)
	})
}

// A device that fails stops the queue, so that the order stays; the next
// REGISTER goes on, under a new branch after an answer.
func TestOfflineGoesOnAfterAnAnswer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for i := range 3 {
			h.send("bob", fmt.Sprint(i)).want(202)
		}
		p := h.wire.phone(t, "192.0.2.10:5060")
		p.answers(200, 480, 200)
		h.refresh("bob", p)
		settle(5 * time.Second)
		p.want("0", "1")
		h.waiting("bob", 2)
		h.refresh("bob", p)
		settle(5 * time.Second)
		p.want("0", "1", "1", "2")
		if a, b := p.requests[1].Via().Branch, p.requests[2].Via().Branch; a == b {
			t.Error("the second try would be taken for a retransmission")
		}
		h.waiting("bob", 0)
	})
}

// After silence the device may have the message: the next try is the same
// request.
func TestOfflineGoesOnAfterSilence(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		r := h.send("bob", "hello")
		r.want(202)
		p := h.wire.phone(t, "192.0.2.10:5060")
		deaf := true
		p.answer = func(*sip.Message) (int, time.Duration) { return 200, 0 }
		h.wire.mu.Lock()
		delete(h.wire.phones, p.addr)
		h.wire.mu.Unlock()
		h.refresh("bob", p)
		settle(40 * time.Second)
		if !deaf || len(p.got()) != 0 {
			t.Fatal("a deaf phone heard")
		}
		h.waiting("bob", 1)
		h.wire.mu.Lock()
		h.wire.phones[p.addr] = p
		h.wire.mu.Unlock()
		h.refresh("bob", p)
		settle(5 * time.Second)
		p.want("hello")
		h.waiting("bob", 0)
		branches := map[string]bool{}
		for _, x := range h.wire.messages() {
			branches[x.m.Via().Branch] = true
		}
		if len(branches) != 1 {
			t.Errorf("branches %v, want one", branches)
		}
		h.wantOutcomes(r.callID, "stored 202", "delivered 200")
	})
}

// A device that will never take a message is not asked again, and does not keep
// those behind it waiting.
func TestOfflineRefusedByOneDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.send("bob", "picture", "Content-Type: image/png").want(202)
		h.send("bob", "text").want(202)
		plain := h.wire.phone(t, "192.0.2.10:5060")
		plain.answer = func(m *sip.Message) (int, time.Duration) {
			if m.Get(sip.HeaderContentType) == "image/png" {
				return 415, 0
			}
			return 200, 0
		}
		h.refresh("bob", plain)
		settle(5 * time.Second)
		plain.want("picture", "text")
		h.waiting("bob", 1)
		h.refresh("bob", plain)
		settle(5 * time.Second)
		plain.want("picture", "text")
		rich := h.online("bob", "192.0.2.11:5060")
		settle(5 * time.Second)
		rich.want("picture")
		h.waiting("bob", 0)
	})
}

// A REGISTER that comes while the queue is being delivered starts no second
// delivery beside it.
func TestOfflineOneDeliveryAtATime(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 5 {
			h.send("bob", fmt.Sprint(i)).want(202)
			want = append(want, fmt.Sprint(i))
		}
		p := h.wire.phone(t, "192.0.2.10:5060")
		p.answer = func(*sip.Message) (int, time.Duration) { return 200, time.Second }
		for range 4 {
			h.refresh("bob", p)
			settle(700 * time.Millisecond)
		}
		settle(10 * time.Second)
		p.want(want...)
		h.waiting("bob", 0)
	})
}

func TestOfflineLimit(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.settings.OfflineLimit = 3
		h.relay.Reload(h.settings)
		for range 3 {
			h.send("bob", "x").want(202)
		}
		r := h.send("bob", "x")
		r.want(480)
		h.waiting("bob", 3)
		settle(time.Second)
		h.wantOutcomes(r.callID, "refused 480")
		h.send("carol", "x").want(202) // another account has its own
	})
}

func TestExpiry(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		old := time.Now().Add(-10 * time.Minute)
		r := h.send("bob", "now or never", "Expires: 0")
		r.want(480)
		h.send("bob", "over", "Date: "+sip.FormatDate(old), "Expires: 60").want(480)
		h.waiting("bob", 0)
		short := h.send("bob", "short", "Expires: 30")
		short.want(202)
		dated := h.send("bob", "dated", "Date: "+sip.FormatDate(old), "Expires: 660")
		dated.want(202)
		h.send("bob", "odd", "Expires: soon").want(202) // as if it had none
		h.send("bob", "long", "Expires: 4294967295").want(202)
		h.waiting("bob", 4)
		settle(31 * time.Second)
		p := h.online("bob", "192.0.2.10:5060")
		p.answers(480)
		settle(time.Second)
		if slices.Contains(p.got(), "short") {
			t.Error("an expired message was delivered")
		}
		settle(3 * time.Minute) // the sweep
		h.wantOutcomes(short.callID, "stored 202", "expired 0")
		if out := h.outcomesOf(dated.callID); out[len(out)-1] != "expired 0" {
			t.Errorf("outcomes %q", out)
		}
		h.waiting("bob", 2)
		settle(time.Hour) // OfflineLife, which no Expires makes longer
		h.waiting("bob", 0)
		// Expires: 0 is no reason not to deliver now.
		p.answers(200)
		h.refresh("bob", p)
		h.send("bob", "now", "Expires: 0").want(200)
	})
}

func TestIsComposing(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		const body = `<?xml version="1.0"?><isComposing/>`
		const ct = "Content-Type: Application/im-isComposing+xml ;charset=UTF-8"
		r := h.send("bob", body, ct)
		r.want(480)
		h.waiting("bob", 0)
		p := h.online("bob", "192.0.2.10:5060")
		s := h.send("bob", body, ct)
		s.want(200)
		p.want(body)
		for _, id := range []string{r.callID, s.callID} {
			rec := h.recordOf(id)
			if !rec.BodyOmitted || strings.Contains(string(rec.Raw), "<isComposing/>") || !strings.HasSuffix(string(rec.Raw), "\r\n\r\n") {
				t.Errorf("recorded with its body: %q", rec.Raw)
			}
		}
		// Also when every device fails.
		p.answers(480)
		h.send("bob", body, ct).want(480)
		h.waiting("bob", 0)
	})
}

func TestStoreUnavailable(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.store.Down(true)
		r := h.send("bob", "hello")
		if m := r.want(503); m.Get(sip.HeaderRetryAfter) == "" {
			t.Errorf("no Retry-After:\n%s", m.Raw())
		}
		h.store.Down(false)
		h.waiting("bob", 0)
		settle(time.Second)
		h.wantOutcomes(r.callID, "refused 503")
		h.send("bob", "again").want(202)
		h.waiting("bob", 1)
	})
}

// A store that fails now and then leaves nothing half stored: what was answered
// 202 is delivered, and nothing else waits for ever.
func TestStoreFaults(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.store.Set(storetest.Faults{Unavailable: 0.2, LostAnswer: 0.1, Delay: 5 * time.Millisecond})
		accepted := map[string]bool{}
		for i := range 60 {
			text := fmt.Sprint(i)
			r := h.send("bob", text)
			for r.answer() == nil {
				settle(100 * time.Millisecond)
			}
			switch r.answer().Status() {
			case 202:
				accepted[text] = true
			case 503:
			default:
				t.Fatalf("answered %d", r.answer().Status())
			}
		}
		p := h.wire.phone(t, "192.0.2.10:5060")
		for range 40 {
			_ = h.tryBind("bob", p.udp(), "<sip:bob@192.0.2.10:5060>")
			settle(time.Second)
		}
		h.store.Set(storetest.Faults{})
		h.refresh("bob", p)
		settle(5 * time.Second)
		got := p.got()
		for text := range accepted {
			if !slices.Contains(got, text) {
				t.Errorf("%s was answered 202 and not delivered", text)
			}
		}
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("something came twice: %q", got)
		}
		h.waiting("bob", 0)
	})
}

// A queue entry that can't be read does not keep the others from leaving.
func TestUnreadableEntry(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.send("bob", "one").want(202)
		h.send("bob", "two").want(202)
		var queue, queued *store.Kind
		for _, k := range store.Kinds() {
			switch k.Name() {
			case "queue":
				queue = k
			case "queued":
				queued = k
			}
		}
		set, err := h.db.Load(t.Context(), store.Key{Kind: queue, Owner: "sip:bob@example.com"})
		if err != nil || len(set.Items) != 2 {
			t.Fatal(set, err)
		}
		first := set.Items[0].ID
		if _, err := h.db.Apply(t.Context(), store.Key{Kind: queued, Owner: first}, store.Any, store.Put(store.Item{Value: []byte("?")})); err != nil {
			t.Fatal(err)
		}
		p := h.online("bob", "192.0.2.10:5060")
		settle(5 * time.Second)
		p.want("two")
		if _, err := h.db.Apply(t.Context(), store.Key{Kind: queue, Owner: "sip:bob@example.com"}, store.Any, store.Put(store.Item{ID: first, Value: []byte("?")})); err != nil {
			t.Fatal(err)
		}
		h.send("bob", "three", "Expires: 1000").want(200)
		p.answers(480, 200)
		h.send("bob", "four").want(202)
		h.refresh("bob", p)
		settle(5 * time.Second)
		p.want("two", "three", "four", "four")
	})
}

// A device that registers while the queue waits for another gets its turn, and
// so does one that registers while a message is on its way into the queue.
func TestDeviceComesMeanwhile(t *testing.T) {
	slow := func(*sip.Message) (int, time.Duration) { return 480, 3 * time.Second }
	t.Run("while it is delivered", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			h.send("bob", "hello").want(202)
			a := h.wire.phone(t, "192.0.2.10:5060")
			a.answer = slow
			h.refresh("bob", a)
			settle(time.Second)
			b := h.online("bob", "192.0.2.11:5060")
			settle(10 * time.Second)
			a.want("hello")
			b.want("hello")
			h.waiting("bob", 0)
		})
	})
	t.Run("while it is queued", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			a := h.online("bob", "192.0.2.10:5060")
			a.answer = slow
			r := h.send("bob", "hello")
			settle(time.Second)
			b := h.online("bob", "192.0.2.11:5060")
			r.want(202)
			settle(10 * time.Second)
			b.want("hello")
			h.waiting("bob", 0)
			h.wantOutcomes(r.callID, "stored 202", "delivered 200")
		})
	})
}

// Each account has its own turn: a device that is silent holds up its own
// account alone.
func TestAccountsDoNotWaitForEachOther(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.send("bob", "to bob").want(202)
		h.send("carol", "to carol").want(202)
		bob := h.wire.phone(t, "192.0.2.10:5060")
		bob.answers(0)
		h.refresh("bob", bob)
		carol := h.online("carol", "192.0.2.11:5060")
		settle(time.Second)
		carol.want("to carol")
		h.waiting("carol", 0)
		h.waiting("bob", 1)
	})
}

// A device that is switched off, and still bound, holds up neither the device
// that has just come nor more than one message of the queue.
func TestOfflineSilentDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 5 {
			h.send("bob", fmt.Sprint(i)).want(202)
			want = append(want, fmt.Sprint(i))
		}
		off := h.wire.phone(t, "192.0.2.10:5060")
		off.answers(0)
		h.refresh("bob", off)
		settle(40 * time.Second) // it was tried in vain
		h.waiting("bob", 5)
		p := h.online("bob", "192.0.2.11:5060")
		settle(time.Second)
		p.want(want...)
		h.waiting("bob", 0)
		// Now it is the one that was heard of last.
		p.answers(480)
		for i := range 5 {
			h.send("bob", fmt.Sprint(i)).want(202)
		}
		settle(time.Minute)
		p.answers(200)
		h.refresh("bob", off)
		settle(33 * time.Second) // once for all five
		h.waiting("bob", 0)
	})
}

func TestObserveWaiting(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var told []int
		h.relay.Observe(func(a sip.AOR) {
			n, err := h.relay.Waiting(t.Context(), a)
			if err != nil || a != aor("bob") {
				t.Errorf("%v: %v", a, err)
			}
			told = append(told, n)
		})
		h.send("bob", "one").want(202)
		h.send("bob", "two").want(202)
		h.online("bob", "192.0.2.10:5060")
		settle(5 * time.Second)
		if !slices.Equal(told, []int{1, 2, 1, 0}) {
			t.Error(told)
		}
	})
}
