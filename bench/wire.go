package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	maxMessage  = 128 << 10
	socketSpace = 4 << 20 // receive buffer asked of the system, in bytes
)

var (
	errFrame   = errors.New("bench: the server's stream is not SIP")
	errRefused = errors.New("bench: nobody listens at the server's address")
)

// wire carries messages over the generator's sockets (or connections), which
// are numbered from 0. One goroutine uses it.
type wire interface {
	// local is the address of socket i.
	local(i int) netip.AddrPort
	// send queues a message. Its bytes must stay as they are until flush
	// returns.
	send(i int, msg []byte)
	// flush hands to the system what was queued, as far as it takes it.
	flush() error
	// wait returns when a socket can be read or after d.
	wait(d time.Duration) error
	// drain calls f for messages that arrived. The bytes are the wire's again
	// when f returns. errRefused says that a packet found no listener, and
	// leaves the wire as good as before.
	drain(f func(i int, msg []byte)) error
	close()
}

// resolve finds the server's address. A name with several is taken at its
// first.
func resolve(server string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(server); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	u, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("bench: address of the server: %w", err)
	}
	a := u.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

func dial(o *Options) (wire, error) {
	server, err := resolve(o.Server)
	if err != nil {
		return nil, err
	}
	if o.Transport == "tcp" {
		return dialTCP(server, o.Connections)
	}
	return dialUDP(server, o.Sockets, o.BodySize+8<<10)
}
