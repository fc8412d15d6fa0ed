package server

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/sip"
)

// TestEveryPackage: what holds for each event package of this server, over both stores:
// who is refused hears that and nothing else; who is let in gets the full state at
// once and after each SUBSCRIBE, with a number that grows; the last NOTIFY says that it
// is over.
func TestEveryPackage(t *testing.T) { onBothStores(t, testEveryPackage) }

func testEveryPackage(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	h.refuse("mallory")
	packages := map[string]struct{ allowed, refused string }{
		"presence":        {"alice", "mallory"},
		"presence.winfo":  {"bob", "alice"},
		"dialog":          {"alice", "mallory"},
		"conference":      {"bob", "mallory"},
		"xcap-diff":       {"bob", "alice"},
		"message-summary": {"bob", "alice"},
		"reg":             {"bob", "alice"},
	}
	m := h.client("alice", "UDP").want(489, "SUBSCRIBE", bobURI, "", "Event: unheard-of", "Contact: <sip:alice@192.0.2.1>")
	names := strings.Split(m.Get(sip.HeaderAllowEvents), ", ")
	for _, name := range names {
		who, ok := packages[name]
		if !ok {
			t.Errorf("%s is not tested", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			stranger := h.client(who.refused, "UDP")
			stranger.want(403, "SUBSCRIBE", bobURI, "", "Event: "+name, "Contact: <sip:"+who.refused+"@"+stranger.conn.LocalAddr().String()+">")

			w := h.subscriber(who.allowed, "UDP", bobURI, name, 200)
			first := w.notify()
			number := versionIn(first)
			if state := first.Get(sip.HeaderSubscriptionState); !strings.HasPrefix(state, "active;expires=") || first.Get(sip.HeaderEvent) != name || number > 0 {
				t.Errorf("first NOTIFY:\n%s", first.Raw())
			}
			if number >= 0 && strings.Contains(first.Body(), `state="partial"`) {
				t.Errorf("the first document is partial:\n%s", first.Body())
			}
			to := "<" + bobURI + ">;tag=" + w.tag
			for i := range 3 {
				if m := w.asking(w.subscribeTo(name, bobURI, to)); m.Status() != 200 {
					t.Fatal(m.Status())
				}
				m := w.notify()
				if number >= 0 && versionIn(m) <= number || strings.Contains(m.Body(), `state="partial"`) {
					t.Errorf("refresh %d:\n%s", i+1, m.Raw())
				}
				number = versionIn(m)
			}
			if m := w.asking(strings.Replace(w.subscribeTo(name, bobURI, to), "Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nExpires: 0\r\n", 1)); m.Status() != 200 {
				t.Fatal(m.Status())
			}
			if m := w.notify(); m.Get(sip.HeaderSubscriptionState) != "terminated;reason=timeout" {
				t.Errorf("last NOTIFY:\n%s", m.Raw())
			}
			if m := w.asking(w.subscribeTo(name, bobURI, to)); m.Status() != 481 {
				t.Errorf("afterwards: %d", m.Status())
			}
			if m := stranger.ask(stranger.request("OPTIONS", "sip:example.com", "")); m.IsRequest() {
				t.Errorf("one who was refused was told:\n%s", m.Raw())
			}
		})
	}
	for name := range packages {
		if !slices.Contains(names, name) {
			t.Errorf("there is no package %s", name)
		}
	}
	eventually(t, "without subscriptions", func() bool { return h.notifier.Counters.Subscriptions.Load() == 0 })
}

var numbered = regexp.MustCompile(`^(?:<\?[^>]*\?>\s*)?<[^>]* version="(\d+)"`)

// versionIn is the number of the document in a NOTIFY, -1 if it has none.
func versionIn(m *sip.Message) int {
	found := numbered.FindStringSubmatch(m.Body())
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		return -1
	}
	return n
}
