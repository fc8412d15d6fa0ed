package registrar_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
)

// FuzzRegister sends two REGISTERs with any Contact and further lines. Whatever
// they are, a refusal changes nothing, and what a 200 lists is what is stored and
// can be registered again.
func FuzzRegister(f *testing.F) {
	f.Add("<sip:a@192.0.2.1>;q=0.5;expires=60", "*", "Expires: 0")
	f.Add("sip:a@192.0.2.1, \"B, b\" <sips:b@[2001:db8::1]:5061;ob>;reg-id=1"+one, "<sip:c@192.0.2.3>"+one, "Supported: outbound")
	f.Add("<sip:a@192.0.2.1;x=1>,<sip:a@192.0.2.1;x=2>", "<sip:a@192.0.2.1>;a;b=\"\\\"\";methods=\"!X\"", "Path: <sip:192.0.2.7;lr;ob>")
	f.Add("<sip:a@192.0.2.1\r\n ;x>;\r\n y=\"\r\n z\"", "<sip:%61@h>;reg-id=2"+two+",<sip:a@h>;expires=0", "Via: SIP/2.0/TCP 192.0.2.9")
	r := registrar.New(open(f, f.TempDir()), options())
	alice := aor(f, "sip:alice@example.com")
	f.Fuzz(func(t *testing.T, one, two, more string) {
		if _, err := r.Clear(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		var lines []string
		register := func(n byte, contacts string) bool {
			buf := []byte("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n" +
				"To: <sip:alice@example.com>\r\nCall-ID: x\r\nCSeq: " + string('0'+n) + " REGISTER\r\n" + more + "\r\nContact: " + contacts + "\r\nContent-Length: 0\r\n\r\n")
			var m sip.Message
			if m.Parse(buf) != nil || m.Check() != nil {
				return false
			}
			before := lookup(t, r)
			dst, change, err := r.Register(t.Context(), &m, alice, tcp(1), time.Now(), nil)
			for i := range buf {
				buf[i] = '#'
			}
			after := lookup(t, r)
			if err != nil {
				var fault *sip.Error
				if !errors.As(err, &fault) || !change.IsZero() || len(after) != len(before) {
					t.Fatalf("%v: %+v\nbefore %+v\nafter %+v", err, change, before, after)
				}
				return false
			}
			if len(before)+len(change.Added)-len(change.Removed) != len(after) {
				t.Fatalf("%d before, %d after, %+v", len(before), len(after), change)
			}
			lines = nil
			for l := range strings.SplitSeq(strings.TrimSuffix(string(dst), "\r\n"), "\r\n") {
				if c, ok := strings.CutPrefix(l, "Contact: "); ok {
					lines = append(lines, c)
				}
			}
			if len(lines) != len(after) {
				t.Fatalf("%d contacts in\n%s\nbut %+v", len(lines), dst, after)
			}
			for _, b := range after {
				found := false
				for _, l := range lines {
					a, err := sip.ParseAddress(l)
					if err != nil {
						t.Fatalf("%q: %v", l, err)
					}
					found = found || a.URI == b.Contact
				}
				if !found {
					t.Fatalf("%q is not in\n%s", b.Contact, dst)
				}
			}
			return true
		}
		register(1, one)
		if register(2, two) && len(lines) > 0 {
			more = ""
			have := len(lines)
			for i, l := range lines {
				if !register(byte(3+i%6), l) && i < 6 {
					t.Fatalf("its own %q is refused", l)
				}
			}
			if len(lines) > have {
				t.Fatalf("%d contacts, then %d", have, len(lines))
			}
		}
	})
}
