package registrar_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
)

// BenchmarkRefresh is the REGISTER of a device that was here before, without
// parsing the message.
func BenchmarkRefresh(b *testing.B) {
	for name, contact := range map[string]string{
		"plain":    "Contact: <sip:alice@192.0.2.10:5062;ob>",
		"instance": "Contact: <sip:alice@192.0.2.10:5062;ob>;expires=600" + one,
	} {
		for _, f := range []string{"udp", "tcp"} {
			b.Run(name+"/"+f, func(b *testing.B) {
				r := registrar.New(open(b, b.TempDir()), options())
				flow := udp
				if f == "tcp" {
					flow = tcp(1)
				}
				const users = 1000
				who := make([]sip.AOR, users)
				raw := make([][]byte, users)
				for i := range who {
					user := fmt.Sprintf("sip:user%d@example.com", i)
					who[i] = aor(b, user)
					m, _ := message(b, "call"+user, 1000000000, "To: <"+user+">", "User-Agent: PJSUA v2.16 Linux-6.1.0/x86_64/glibc-2.36", contact)
					raw[i] = []byte(m.Raw())
				}
				at := bytes.Index(raw[0], []byte("CSeq: ")) + 6
				var m sip.Message
				var dst []byte
				b.ReportAllocs()
				seq := int64(1000000000)
				for i := 0; b.Loop(); i++ {
					u := i % users
					if u == 0 {
						seq++
					}
					cs := bytes.Index(raw[u][at-20:], []byte("CSeq: ")) + at - 20 + 6
					strconv.AppendInt(raw[u][cs:cs:cs+10], seq, 10)
					if err := m.Parse(raw[u]); err != nil {
						b.Fatal(err)
					}
					if fault := m.Check(); fault != nil {
						b.Fatal(fault)
					}
					var err error
					dst, _, err = r.Register(b.Context(), &m, who[u], flow, time.Now(), dst[:0])
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkParse is what BenchmarkRefresh spends besides Register.
func BenchmarkParse(b *testing.B) {
	m, _ := message(b, "callsip:user1@example.com", 1000000000, "User-Agent: PJSUA v2.16 Linux-6.1.0/x86_64/glibc-2.36", "Contact: <sip:alice@192.0.2.10:5062;ob>")
	raw := []byte(m.Raw())
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Parse(raw); err != nil {
			b.Fatal(err)
		}
		if fault := m.Check(); fault != nil {
			b.Fatal(fault)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	r := registrar.New(open(b, b.TempDir()), options())
	p := newPhone(b, r)
	p.ok("Contact: <sip:alice@192.0.2.10:5062;ob>" + one)
	alice := aor(b, "sip:alice@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if all, err := r.Lookup(b.Context(), alice); err != nil || len(all) != 1 {
			b.Fatal(all, err)
		}
	}
}

// BenchmarkMemory is what a registered user takes in memory: its binding, its
// name, and the store's share.
func BenchmarkMemory(b *testing.B) {
	for _, flow := range []string{"udp", "tcp"} {
		b.Run(flow, func(b *testing.B) {
			for b.Loop() {
				const users = 20000
				var before, after runtime.MemStats
				r := registrar.New(open(b, b.TempDir()), options())
				runtime.GC()
				runtime.ReadMemStats(&before)
				for i := range users {
					user := fmt.Sprintf("sip:user%d@example.com", i)
					m, _ := message(b, "843817637684230@998sdasdh09"+user, 1, "To: <"+user+">", "User-Agent: PJSUA v2.16 Linux-6.1.0/x86_64/glibc-2.36",
						"Contact: <"+user+":5062;ob>;expires=600"+one)
					f := udp
					if flow == "tcp" {
						f = tcp(uint64(i))
					}
					if _, _, err := r.Register(b.Context(), m, aor(b, user).Clone(), f, time.Now(), nil); err != nil {
						b.Fatal(err)
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/users, "B/user")
				runtime.KeepAlive(r)
			}
		})
	}
}
