package integration

import (
	"maps"
	"slices"
	"testing"
)

const greeting = "Grüße — 漢字 😀"

// TestClientsExchangeMessages has every client write to every other through the
// server, both directions, over UDP and TCP.
func TestClientsExchangeMessages(t *testing.T) {
	names := slices.Sorted(maps.Keys(clients))
	for _, transport := range []string{"udp", "tcp"} {
		for i, first := range names {
			for _, second := range names[i:] {
				if !speaks(first, transport) || !speaks(second, transport) {
					continue
				}
				t.Run(transport+"/"+first+"-"+second, func(t *testing.T) {
					t.Parallel()
					s := startServer(t)
					a := clients[first](t, s.addr, transport, alice, bob)
					b := clients[second](t, s.addr, transport, bob, alice)
					exchange(t, a, b)
				})
			}
		}
	}
}

// TestClientsOverDifferentTransports has a client on UDP write to one on TCP.
func TestClientsOverDifferentTransports(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	exchange(t, startLinphone(t, s.addr, "udp", alice, bob), startBaresip(t, s.addr, "tcp", bob, alice))
}

// exchange has alice's client a and bob's client b write to each other.
func exchange(t *testing.T, a, b client) {
	t.Helper()
	for _, c := range []client{a, b} {
		if err := c.Register(); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"hello", greeting} {
		if err := a.Send(bob.AOR(), text); err != nil {
			t.Fatal(err)
		}
		expect(t, b, alice, text)
		if err := b.Send(alice.AOR(), "re: "+text); err != nil {
			t.Fatal(err)
		}
		expect(t, a, bob, "re: "+text)
	}
	a.Close()
	b.Close()
}

// TestClientsGetWhatWasKept has a message wait for a client that comes later,
// and another client send it.
func TestClientsGetWhatWasKept(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for name, start := range clients {
			if !speaks(name, transport) {
				continue
			}
			t.Run(transport+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := startServer(t)
				sender := newPhone(t, s.addr, transport, alice)
				for _, text := range []string{"first", greeting} {
					sender.mustMessage(bob, text, 202)
				}
				s.kill()
				s.start()
				receiver := start(t, s.addr, transport, bob, alice)
				if err := receiver.Register(); err != nil {
					t.Fatal(err)
				}
				expect(t, receiver, alice, "first")
				expect(t, receiver, alice, greeting)
				receiver.Close()
			})
		}
	}
}

// TestClientSendsToAnAbsentAccount has each client write to an account that is
// not there, which then comes.
func TestClientSendsToAnAbsentAccount(t *testing.T) {
	for name, start := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			sender := start(t, s.addr, "udp", alice, bob)
			if err := sender.Register(); err != nil {
				t.Fatal(err)
			}
			if err := sender.Send(bob.AOR(), greeting); err != nil {
				t.Fatal(err)
			}
			s.wantArchived(1)
			receiver := newPhone(t, s.addr, "udp", bob)
			receiver.mustRegister()
			receiver.wantTexts(greeting)
			sender.Close()
		})
	}
}
