package server

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"

	"rollcall/auth"
	"rollcall/config"
	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xcap"
)

func deflated(text string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // never fails
	_ = z.Close()
	return b.String()
}

func tuples(n int) string {
	var b strings.Builder
	b.WriteString(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">`)
	for i := range n {
		fmt.Fprintf(&b, `<tuple id="t%d"><status/></tuple>`, i)
	}
	return b.String() + "</presence>"
}

// badDocuments are presence documents that nobody may publish, with the answer.
var badDocuments = []struct {
	name, body string
	status     int
	reason     string // part of the reason phrase
	lines      []string
}{
	{"no XML", "bob is here", 400, "xml line 1", nil},
	{"cut off", pidf("bob", "open", "")[:100], 400, "xml line 1", nil},
	{"two roots", pidf("bob", "open", "") + "<presence/>", 400, "xml line", nil},
	{"another root", `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"/>`, 400, "root is not presence", nil},
	{"entity expansion", `<!DOCTYPE presence [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>` +
		strings.Replace(tuples(1), "<status/>", "<status/><note>&c;</note>", 1), 400, "document type", nil},
	{"an entity that nobody declared", strings.Replace(tuples(1), "<status/>", "<status/><note>&c;</note>", 1), 400, "xml line 1", nil},
	{"external entity", `<!DOCTYPE presence [<!ENTITY x SYSTEM "file:///etc/passwd">]>` +
		strings.Replace(tuples(1), "<status/>", "<status/><note>&x;</note>", 1), 400, "document type", nil},
	{"external document type", `<!DOCTYPE presence SYSTEM "http://203.0.113.1/p.dtd">` + tuples(1), 400, "document type", nil},
	{"another encoding", `<?xml version="1.0" encoding="UTF-16"?>` + tuples(1), 400, "xml line 1", nil},
	{"deep nesting", strings.Replace(tuples(1), "<status/>", "<status/>"+strings.Repeat("<note>", 500)+strings.Repeat("</note>", 500), 1), 400, "too deep", nil},
	{"wrong entity", pidf("alice", "open", "of another"), 400, "entity", nil},
	{"no entity", strings.Replace(tuples(1), ` entity="sip:bob@example.com"`, "", 1), 400, "entity", nil},
	{"1,000 tuples", tuples(1000), 400, "more than 100", nil},
	{"10,000 tuples", tuples(10_000), 513, "", nil},
	{"10,000 tuples, deflated", deflated(tuples(10_000)), 413, "", []string{"Content-Encoding: deflate"}},
	{"5,000 tuples, deflated", deflated(tuples(5000)), 400, "too long", []string{"Content-Encoding: deflate"}},
	{"20 MB of spaces, deflated", deflated(strings.Repeat(" ", 20<<20)), 413, "", []string{"Content-Encoding: deflate"}},
	{"not what Content-Encoding says", pidf("bob", "open", ""), 400, "Content-Encoding", []string{"Content-Encoding: deflate"}},
	{"unknown Content-Encoding", pidf("bob", "open", ""), 415, "", []string{"Content-Encoding: br"}},
}

// TestBadPublications: each is answered with the reason, the publication that is
// there stays as it is, and no watcher hears of it.
func TestBadPublications(t *testing.T) {
	h := start(t)
	h.refuse("mallory")
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	mallory := h.client("mallory", "UDP")
	mallory.want(403, "SUBSCRIBE", bobURI, "", "Event: presence", "Contact: <sip:mallory@"+mallory.conn.LocalAddr().String()+">")
	etag := h.client("bob", "TCP").publish(200, pidf("bob", "open", "as it was"))
	w.sees("as it was")
	before, err := h.notifier.Publications(t.Context(), presence.Name, aor(t, "bob"))
	if err != nil || len(before) != 1 {
		t.Fatal(len(before), err)
	}
	for _, c := range badDocuments {
		for _, match := range []string{"", etag} {
			bob := h.client("bob", "TCP") // one that sends too much is hung up on
			lines := append([]string{"Event: presence", "Content-Type: application/pidf+xml"}, c.lines...)
			if match != "" {
				lines = append(lines, "SIP-If-Match: "+match)
			}
			s := bob.session(bob.ask(bob.request("PUBLISH", bobURI, "", "Event: presence"))) // what is too long gets no challenge
			m := bob.ask(s.request("PUBLISH", bobURI, c.body, lines...))
			if m.Status() != c.status || !strings.Contains(m.Reason(), c.reason) {
				t.Errorf("%s: %d %s, want %d with %q", c.name, m.Status(), m.Reason(), c.status, c.reason)
			}
		}
	}
	after, err := h.notifier.Publications(t.Context(), presence.Name, aor(t, "bob"))
	if err != nil || len(after) != 1 || after[0].ETag != etag || !bytes.Equal(after[0].Body, before[0].Body) {
		t.Errorf("publications %+v, %v", after, err)
	}
	h.client("bob", "TCP").publish(200, pidf("bob", "open", "as it is"), "SIP-If-Match: "+etag)
	if m := w.notify(); !strings.Contains(m.Body(), "as it is") {
		t.Errorf("somebody was told:\n%s", m.Raw())
	}
	if m := mallory.ask(mallory.request("OPTIONS", "sip:example.com", "")); m.IsRequest() {
		t.Errorf("one who was refused was told:\n%s", m.Raw())
	}
}

// refuse adds an account whom bob's rules block.
func (h *house) refuse(user string) {
	h.t.Helper()
	if err := h.directory.Add(h.t.Context(), auth.Account{AOR: aor(h.t, user)}, user); err != nil {
		h.t.Fatal(err)
	}
	rules := `<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:cr="urn:ietf:params:xml:ns:common-policy">` +
		`<cr:rule id="a"><cr:conditions><cr:identity><cr:one id="sip:alice@example.com"/></cr:identity></cr:conditions>` +
		`<cr:actions><sub-handling>allow</sub-handling></cr:actions><cr:transformations><provide-services><all-services/></provide-services>` +
		`<provide-note>true</provide-note></cr:transformations></cr:rule></cr:ruleset>`
	if _, err := h.documents.Put(h.t.Context(), aor(h.t, "bob"), xcap.PresRules, "index", []byte(strings.Replace(rules, "<cr:rule id=",
		`<cr:rule id="b"><cr:conditions><cr:identity><cr:one id="sip:`+user+`@example.com"/></cr:identity></cr:conditions>`+
			`<cr:actions><sub-handling>block</sub-handling></cr:actions></cr:rule><cr:rule id=`, 1))); err != nil {
		h.t.Fatal(err)
	}
}

// TestEntityTagOfAnother: an entity-tag helps nobody but the account that published,
// not even one that may publish for all, and a guess is answered 412.
func TestEntityTagOfAnother(t *testing.T) {
	h := start(t, byPBX)
	w := h.watch("bob", "UDP", bobURI)
	w.notify()
	etag := h.client("bob", "UDP").publish(200, pidf("bob", "open", "mine"))
	w.sees("mine")
	lines := []string{"Event: presence", "Content-Type: application/pidf+xml", "SIP-If-Match: " + etag}
	h.client("alice", "UDP").want(412, "PUBLISH", bobURI, pidf("bob", "closed", "forged"), lines...)
	h.client("alice", "UDP").want(412, "PUBLISH", bobURI, "", lines[0], lines[2], "Expires: 0")
	for _, guess := range []string{"*", "", "1", etag + ", " + etag, etag + "0", etag[:len(etag)-1], strings.ToUpper(etag), `"` + etag + `"`} {
		one := guess != "" && !strings.Contains(guess, ",")
		h.client("bob", "UDP").want(map[bool]int{false: 400, true: 412}[one], "PUBLISH", bobURI, "", lines[0], "SIP-If-Match: "+guess, "Expires: 0")
	}
	h.client("bob", "UDP").publish(200, pidf("bob", "open", "still mine"), lines[2])
	if m := w.notify(); !strings.Contains(m.Body(), "still mine") {
		t.Errorf("somebody was told:\n%s", m.Raw())
	}
}

// TestPublicationsAreBounded: one more than the limit is answered 503.
func TestPublicationsAreBounded(t *testing.T) {
	h := start(t, func(c *config.Config) { c.Presence.Publications = 3 })
	bob := h.client("bob", "UDP")
	for i := range 3 {
		bob.publish(200, strings.Replace(pidf("bob", "open", ""), `id="t1"`, fmt.Sprintf(`id="device%d"`, i), 1))
	}
	m := bob.want(503, "PUBLISH", bobURI, pidf("bob", "open", ""), "Event: presence", "Content-Type: application/pidf+xml")
	if m.Get(sip.HeaderRetryAfter) == "" {
		t.Error("503 without Retry-After")
	}
}

// TestFloodOfSubscriptions: what one account holds is counted, members of lists too,
// and so is what all hold. Who has no password holds nothing.
func TestFloodOfSubscriptions(t *testing.T) {
	h := start(t, func(c *config.Config) { c.Presence.SubscriptionsPerWatcher, c.Presence.Subscriptions = 10, 12 })
	stranger := h.client("alice", "UDP")
	for range 50 {
		if m := stranger.ask(stranger.request("SUBSCRIBE", bobURI, "", "Event: presence", "Contact: <sip:alice@192.0.2.1>")); m.Status() != 401 {
			t.Fatal(m.Status())
		}
	}
	w := h.watch("alice", "UDP", bobURI)
	next := func(user string, lines ...string) int {
		t.Helper()
		w.from, w.callID = fmt.Sprintf("<sip:%s@example.com>;tag=f%d", user, w.cseq), fmt.Sprintf("flood%d", w.cseq)
		w.contact = fmt.Sprintf("<sip:%s@%s;n=%d>", user, w.conn.LocalAddr(), w.cseq)
		m := w.asking(w.subscribe(bobURI, "", lines...))
		if m.Status() == 503 && m.Get(sip.HeaderRetryAfter) == "" {
			t.Error("503 without Retry-After")
		}
		return m.Status()
	}
	for i := 1; i < 10; i++ {
		if status := next("alice"); status != 200 {
			t.Fatalf("subscription %d: %d", i+1, status)
		}
	}
	for range 30 {
		if status := next("alice"); status != 503 {
			t.Fatalf("one too many: %d", status)
		}
	}
	bob := h.client("bob", "TCP")
	lines := []string{"Event: presence", "Contact: <sip:bob@" + bob.conn.LocalAddr().String() + ";transport=tcp>", "Supported: eventlist",
		"Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml", "Content-Disposition: recipient-list"}
	bob.want(503, "SUBSCRIBE", bobURI, adHoc, lines...) // a list of two is three
	if n := h.notifier.Counters.Subscriptions.Load(); n != 10 {
		t.Errorf("%d subscriptions", n)
	}
}

func listOf(n int) string {
	var b strings.Builder
	b.WriteString(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>`)
	for i := range n {
		fmt.Fprintf(&b, `<entry uri="sip:u%d@example.com"/>`, i)
	}
	return b.String() + "</list></resource-lists>"
}

// TestLongLists: a list of more than event.MaxMembers is refused, however it comes,
// and nothing is left of it.
func TestLongLists(t *testing.T) {
	h := start(t)
	nested := listOf(1)
	nested = strings.Replace(nested, "<list>", strings.Repeat("<list>", 40), 1)
	nested = strings.Replace(nested, "</list>", strings.Repeat("</list>", 40), 1)
	for _, c := range []struct { // by what is in them
		in, body string
		status   int
	}{
		{"501 entries", listOf(event.MaxMembers + 1), 403},
		{"2,500 entries", listOf(2500), 400},
		{"10,000 entries", listOf(10_000), 413},
		{"no entries", listOf(0), 404},
		{"40 levels", nested, 400},
		{"entity expansion", `<!DOCTYPE a [<!ENTITY e "<entry/>">]>` + listOf(1), 400},
		{"no list", pidf("bob", "open", ""), 400},
	} {
		alice := h.client("alice", "TCP")
		alice.want(c.status, "SUBSCRIBE", "sip:alice@example.com", deflated(c.body), "Event: presence", "Contact: <sip:alice@192.0.2.1>",
			"Supported: eventlist", "Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml",
			"Content-Disposition: recipient-list", "Content-Encoding: deflate")
	}
	if _, err := h.documents.Put(t.Context(), aor(t, "alice"), xcap.ResourceLists, "index", []byte(listOf(5000))); err != nil {
		t.Fatal(err)
	}
	h.service("long", `<resource-list>https://xcap.example.com/xcap/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list</resource-list>`)
	h.client("alice", "TCP").want(403, "SUBSCRIBE", "sip:long@example.com", "", "Event: presence", "Contact: <sip:alice@192.0.2.1>", "Supported: eventlist")
	if _, err := h.documents.Put(t.Context(), aor(t, "alice"), xcap.ResourceLists, "index", []byte(listOf(10_000))); err == nil {
		t.Error("a list of 10,000 entries is stored")
	}
	if n := h.notifier.Counters.Subscriptions.Load(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// service gives alice a list service of that name.
func (h *house) service(name, list string) {
	h.t.Helper()
	h.put("alice", xcap.RLSServices, "index", `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">`+
		`<service uri="sip:`+name+`@example.com">`+list+`<packages><package>presence</package></packages></service></rls-services>`)
}

func (h *house) put(user, auid, name, body string) {
	h.t.Helper()
	if _, err := h.documents.Put(h.t.Context(), aor(h.t, user), auid, name, []byte(body)); err != nil {
		h.t.Fatal(err)
	}
}

// TestListsThatContainThemselves: each member is there once, and what belongs to
// another user is not read.
func TestListsThatContainThemselves(t *testing.T) {
	h := start(t)
	const at = `https://xcap.example.com/xcap/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22`
	const secret = `https://xcap.example.com/xcap/resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list`
	h.put("bob", xcap.ResourceLists, "index", listOf(3))
	// b holds 60 references to itself and its parts: followed one by one they would be 60 to the power of their depth.
	var again strings.Builder
	for i := range 60 {
		fmt.Fprintf(&again, `<external anchor="%sa%%22%%5d?%d"/>`, at, i)
	}
	h.put("alice", xcap.ResourceLists, "index", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">`+
		`<list name="a"><entry uri="sip:bob@example.com"/><external anchor="`+at+`a%22%5d"/><external anchor="`+at+`b%22%5d"/></list>`+
		`<list name="b"><entry uri="sip:bob@example.com"/><entry uri="sip:alice@example.com"/><external anchor="`+secret+`"/>`+
		`<external anchor="`+at+`a%22%5d"/>`+again.String()+`</list></resource-lists>`)
	h.service("loop", `<resource-list>`+at+`a%22%5d</resource-list>`)
	c := h.client("alice", "TCP")
	c.want(200, "SUBSCRIBE", "sip:loop@example.com", "", "Event: presence", "Supported: eventlist",
		"Contact: <sip:alice@"+c.conn.LocalAddr().String()+";transport=tcp>")
	m := c.answer(200)
	if n := strings.Count(m.Body(), "<resource "); n != 2 || strings.Count(m.Body(), `<resource uri="sip:bob@example.com">`) != 1 || strings.Contains(m.Body(), "sip:u1@") {
		t.Errorf("%d members:\n%s", n, m.Body())
	}
	h.client("bob", "TCP").want(403, "SUBSCRIBE", "sip:loop@example.com", "", "Event: presence", "Supported: eventlist", "Contact: <sip:bob@192.0.2.1>")
}
