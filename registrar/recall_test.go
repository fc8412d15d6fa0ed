package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/store"
)

// far is a store that another machine could have, for a registrar that asks.
type far struct {
	store.Store
	loads atomic.Int64
}

func (f *far) Local() bool { return false }

func (f *far) Load(ctx context.Context, k store.Key) (store.Set, error) {
	f.loads.Add(1)
	return f.Store.Load(ctx, k)
}

// TestRefreshAsksOnce: a refresh at the same server goes to a far store once, to
// write; whoever was elsewhere meanwhile is seen.
func TestRefreshAsksOnce(t *testing.T) {
	st := &far{Store: open(t, t.TempDir())}
	p := newPhone(t, registrar.New(st, options()))
	loads := func(what string, want int64, f func()) {
		t.Helper()
		before := st.loads.Load()
		f()
		if n := st.loads.Load() - before; n != want {
			t.Errorf("%s: %d loads, want %d", what, n, want)
		}
	}
	const desk, mobile = "Contact: <sip:alice@192.0.2.1>", "Contact: <sip:alice@192.0.2.2>"
	loads("first", 1, func() { p.ok(desk) })
	loads("refresh", 0, func() { p.ok(desk) })
	loads("second device", 0, func() { p.ok(mobile) })
	loads("query", 1, func() { equal(t, "query", strip(p.ok()), []string{"<sip:alice@192.0.2.1>", "<sip:alice@192.0.2.2>"}) })
	loads("refresh after a query", 0, func() { p.ok(desk) })
	loads("out of order", 1, func() {
		p.cseq -= 2
		p.refused(sip.StatusServerError, desk)
		p.cseq += 2
	})
	loads("after a refusal", 1, func() { p.ok(desk) })

	other := newPhone(t, registrar.New(st, options()))
	other.callID = "other"
	other.ok("Contact: <sip:alice@192.0.2.1>;expires=0", "Contact: <sip:alice@192.0.2.3>")
	loads("after another server", 1, func() {
		equal(t, "after another server", strip(p.ok(mobile)), []string{"<sip:alice@192.0.2.2>", "<sip:alice@192.0.2.3>"})
	})
	loads("and once more", 1, func() { p.ok(mobile) })
	loads("then not", 0, func() { p.ok(mobile) })
	loads("all away", 0, func() { p.ok("Contact: *", "Expires: 0") })
	loads("nothing is there", 1, func() { p.ok(desk) })

	long := ";note=" + strings.Repeat("x", 900) // too much to keep in mind
	loads("two long ones", 0, func() { p.ok(desk+long, mobile+long) })
	loads("refresh of long ones", 1, func() { p.ok(desk+long, mobile+long) })
}

// strip leaves the URIs of Contact lines.
func strip(lines []string) (uris []string) {
	for _, l := range lines {
		uri, _, _ := strings.Cut(strings.TrimPrefix(l, "Contact: "), ";")
		uris = append(uris, uri)
	}
	return uris
}

// TestRecallChangesNothing: two servers with one far store answer whatever comes
// as one server with a store of its own does.
func TestRecallChangesNothing(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		st := &far{Store: open(t, t.TempDir())}
		near := registrar.New(open(t, t.TempDir()), options())
		two := []*registrar.Registrar{registrar.New(st, options()), registrar.New(st, options())}
		cseq := map[string]int{}
		now := time.Now()
		for step := range 150 {
			now = now.Add(time.Duration(random.IntN(3)) * time.Second)
			callID := fmt.Sprint("call ", random.IntN(3))
			cseq[callID] += random.IntN(4) - 1 // sometimes not in order
			var lines []string
			switch random.IntN(12) {
			case 0: // a query
			case 1:
				lines = []string{"Contact: *", "Expires: 0"}
			case 2:
				lines = []string{fmt.Sprintf("Contact: <sip:alice@192.0.2.%d>;expires=%d", random.IntN(4), 30*random.IntN(2))} // 0, or too brief
			default:
				for range 1 + random.IntN(2) {
					lines = append(lines, fmt.Sprintf(`Contact: <sip:alice@192.0.2.%d>;+sip.instance="<urn:uuid:%d>";expires=%d`, random.IntN(4), random.IntN(3), 600+random.IntN(600)))
				}
			}
			send := func(r *registrar.Registrar) string {
				m, wipe := message(t, callID, 100+cseq[callID], lines...)
				defer wipe()
				dst, change, err := r.Register(t.Context(), m, aor(t, "sip:alice@example.com"), udp, now, nil)
				var fault *sip.Error
				if err != nil && !errors.As(err, &fault) {
					t.Fatal(err)
				}
				return fmt.Sprint(string(dst), fault, len(change.Added), len(change.Removed), change.NewDevices)
			}
			server := two[random.IntN(4)/3]
			if got, want := send(server), send(near); got != want {
				t.Fatalf("seed %d, step %d, %q:\n got %s\nwant %s", seed, step, lines, got, want)
			}
		}
		if n := st.loads.Load(); n > 120 {
			t.Errorf("seed %d: %d loads for 150 requests", seed, n)
		}
	}
}
