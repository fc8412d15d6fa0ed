package registrar_test

import (
	"testing"

	"rollcall/registrar"
	"rollcall/sip"
)

// TestContactOfManyHosts: nobody is bound to a whole network.
func TestContactOfManyHosts(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	for _, host := range []string{"224.0.1.75", "255.255.255.255:9", "[ff02::1]", "[::ffff:239.1.1.1]:5060"} {
		p.refused(sip.StatusForbidden, "Contact: <sip:alice@"+host+">")
	}
	p.ok("Contact: <sip:alice@224.example.com>")
	p.ok("Contact: <sip:alice@fe.ff>")
}
