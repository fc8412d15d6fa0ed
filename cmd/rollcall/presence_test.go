package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"rollcall/api"
)

// What publish says, watch shows, and presence, subscriptions and explain account for.
func TestPresenceCommands(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.serve()
	for _, name := range []string{"alice", "bob", "carol"} {
		s.write("pw", name)
		s.ok("user", "add", name, "--password-file", "pw")
	}
	watch := s.start("watch", "bob", "alice", "sip:carol@example.com", "alice@example.com") // alice once
	watch.await("sip:alice@example.com is closed")
	watch.await("sip:carol@example.com is closed")
	if out := s.ok("publish", "alice", "busy", "in a meeting"); out != "200 OK\n" {
		t.Errorf("publish printed %q", out)
	}
	watch.await("sip:alice@example.com is busy: in a meeting\n")
	var pub map[string]any
	if err := json.Unmarshal([]byte(s.ok("publish", "alice", "away", "--expires", "5m", "--json")), &pub); err != nil ||
		pub["status"] != 200.0 || pub["expires_s"] != 300.0 || pub["etag"] == "" {
		t.Errorf("publish --json: %v, %v", pub, err)
	}
	watch.await("sip:alice@example.com is away\n")

	// The second publication took the place of the first.
	if got, want := s.ok("presence", "alice", "bob"), "sip:alice@example.com\taway\t\t1\t0\nsip:bob@example.com\topen\t\t0\t1\n"; got != want {
		t.Errorf("presence\n got %q\nwant %q", got, want)
	}
	var list []api.Presence
	if err := json.Unmarshal([]byte(s.ok("presence", "alice", "--json")), &list); err != nil || len(list) != 1 || list[0].Basic != "open" ||
		!strings.Contains(list[0].Document, "away") || len(list[0].Publications) != 1 || list[0].Publications[0].Activities[0] != "away" {
		t.Errorf("presence --json: %+v, %v", list, err)
	}
	var subs []api.Subscription
	if err := json.Unmarshal([]byte(s.ok("subscriptions", "alice", "--json")), &subs); err != nil || len(subs) != 1 ||
		subs[0].Watcher != "sip:bob@example.com" || subs[0].Standing != "active" || subs[0].Event != "presence" || subs[0].Notified < 3 {
		t.Errorf("subscriptions --json: %+v, %v", subs, err)
	}
	if out := s.ok("subscriptions"); strings.Count(out, "\n") != 2 {
		t.Errorf("subscriptions printed %q", out)
	}
	if out := s.ok("explain", "bob", "alice"); !strings.Contains(out, "sees\taway\n") || !strings.Contains(out, "published\taway; ") ||
		!strings.Contains(out, "watches\tactive; ") {
		t.Errorf("explain printed\n%s", out)
	}
	if out := s.ok("explain", "alice", "bob"); !strings.Contains(out, "sees\topen\n") || !strings.Contains(out, "counts as open") ||
		!strings.Contains(out, "watches\tno") {
		t.Errorf("explain of one who does not watch printed\n%s", out)
	}
	if out := s.ok("explain", "alice", "carol"); !strings.Contains(out, "source\tnone") {
		t.Errorf("explain of nothing printed\n%s", out)
	}

	for _, given := range [][]string{
		{"presence"}, {"presence", "alice@example.net"}, {"explain", "bob"}, {"subscriptions", "a", "b"}, {"publish", "alice"},
		{"publish", "alice", "perhaps"}, {"publish", "alice", "open", "--expires", "1ms"}, {"watch"},
	} {
		if r := s.run("", given...); r.code == 0 || r.stderr == "" {
			t.Errorf("rollcall %q: exit code %d, %q", given, r.code, r.stderr)
		}
	}
	for _, given := range [][]string{{"presence", "nobody"}, {"subscriptions", "nobody"}, {"explain", "nobody", "bob"}, {"explain", "bob", "nobody"}} {
		s.fails(1, "no such account", given...)
	}
	s.write("wrong", "wrong")
	s.fails(1, "the password is not that of the account", "publish", "alice", "open", "--password-file", "wrong")

	if code := watch.stop(syscall.SIGINT); code != 0 {
		t.Errorf("watch ended with %d", code)
	}
	await(t, "the end of what watch subscribed to", func() bool { return s.ok("subscriptions") == "" })
}

// TestWatchAGroup: the address of a group of accounts shows its members.
func TestWatchAGroup(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.serve()
	s.write("a.csv", "aor,password,display_name,email,unit,groups\nsip:alice@example.com,alice,Alice,,,Sales\nsip:bob@example.com,bob,,,,\n")
	s.ok("user", "import", "a.csv")
	watch := s.start("watch", "bob", "group-sales")
	watch.await("Alice <sip:alice@example.com> is closed")
	s.ok("publish", "alice", "busy", "in a meeting")
	watch.await("Alice <sip:alice@example.com> is busy: in a meeting\n")
	s.write("b.csv", "aor,password,display_name,email,unit,groups\nsip:carol@example.com,carol,Carol,,,Sales\n")
	s.ok("user", "import", "b.csv")
	watch.await("Carol <sip:carol@example.com> is closed\n")
	if code := watch.stop(syscall.SIGINT); code != 0 {
		t.Errorf("watch ended with %d", code)
	}
}
