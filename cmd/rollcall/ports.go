package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// portFree tries to bind an address and gives it back at once. When it is taken the error says by whom, as far as this
// user may know.
func portFree(network, addr string) error {
	var err error
	if network == "udp" {
		var c net.PacketConn
		if c, err = net.ListenPacket("udp", addr); err == nil {
			return c.Close()
		}
	} else {
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return l.Close()
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		by := portHolder(network, addr)
		if by == "" {
			by = "another program"
		}
		return fmt.Errorf("%s port %s is taken by %s; stop that or choose another address", network, addr, by)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s port %s: %w; ports under 1024 want root or CAP_NET_BIND_SERVICE", network, addr, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s port %s: this machine does not have that address", network, addr)
	}
	return fmt.Errorf("%s port %s: %w", network, addr, err)
}

// portHolder names the process that has a port, "nginx (pid 812)", from /proc. It is empty when it is not known: on
// other systems, and for processes of other users.
func portHolder(network, addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ""
	}
	inodes := map[string]bool{}
	for _, family := range []string{"", "6"} {
		f, err := os.Open("/proc/net/" + network + family)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
			cols := strings.Fields(lines.Text())
			if len(cols) < 10 || network == "tcp" && cols[3] != "0A" { // 0A is LISTEN
				continue
			}
			if held, ok := procAddr(cols[1]); ok && held.Port() == at.Port() && overlap(held.Addr(), at.Addr()) {
				inodes["socket:["+cols[9]+"]"] = true
			}
		}
		f.Close()
	}
	if len(inodes) == 0 {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && inodes[to] {
			pid := strings.Split(fd, "/")[2]
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", cmpOr(strings.TrimSpace(string(comm)), "a process"), pid)
		}
	}
	return ""
}

func overlap(a, b netip.Addr) bool {
	a, b = a.Unmap(), b.Unmap()
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}

// procAddr reads "0100007F:13C4": words of the address in the byte order of the machine, here little-endian, and the
// port.
func procAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := hex.DecodeString(port)
	if err != nil || perr != nil || len(p) != 2 || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(p[0])<<8|uint16(p[1])), ok
}
