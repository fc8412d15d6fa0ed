package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/agent"
	"rollcall/api"
	"rollcall/config"
	"rollcall/sip"
)

// agentFlags are the flags of the commands that are a user agent.
type agentFlags struct {
	server, transport, passwordFile string
}

func (f *agentFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.server, "server", "", "`HOST:PORT` of the server (default: the first listener of the configuration)")
	c.Flags().StringVar(&f.transport, "transport", "", "udp or tcp (default: that of the listener, else udp)")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "`FILE` whose first line is the password, - for standard input (default: "+envPassword+", else the user name)")
}

// agent makes the settings of a user agent for the account from. The configuration is asked for what the flags leave
// open; without one, --server and a whole address are needed.
func (a *app) agent(c *cobra.Command, f agentFlags, from string) (agent.Config, *config.Config, error) {
	var out agent.Config
	if f.transport != "" && f.transport != "udp" && f.transport != "tcp" {
		return out, nil, usage(c, "transport %q is not udp or tcp", f.transport)
	}
	cfg, err := a.load()
	if errors.Is(err, config.ErrNotFound) && f.server != "" {
		cfg, err = nil, nil
	}
	if err != nil {
		return out, nil, err
	}
	aor, err := parseAOR(c, cfg, from)
	if err != nil {
		return out, nil, err
	}
	out.AOR = aor.String()
	if out.Password, err = a.givenPassword(f.passwordFile); errors.Is(err, errNoPassword) {
		out.Password, err = userName(aor), nil
	}
	if err != nil {
		return out, nil, err
	}
	out.Server, out.Transport = f.server, f.transport
	if f.server == "" {
		out.Server, out.Transport, err = firstListener(c.Context(), cfg, f.transport)
		if err != nil {
			return out, nil, err
		}
	} else if _, _, err := net.SplitHostPort(f.server); err != nil {
		out.Server = net.JoinHostPort(strings.Trim(f.server, "[]"), "5060")
	}
	return out, cfg, nil
}

// userName is the user part of an address as a person types it, which is what a default password is made of.
func userName(aor sip.AOR) string { return aor.User() }

// firstListener returns where the first listener, or the first of the given transport, can be reached from here. The
// running server is asked for its bound addresses, since the configuration may leave ports open. When none runs that is
// said at once: over UDP it would take half a minute to notice (RFC 3261 §17.1.2.2, Timer F).
func firstListener(ctx context.Context, cfg *config.Config, transport string) (addr, via string, err error) {
	var listeners []api.Address
	for _, l := range cfg.Listen {
		listeners = append(listeners, api.Address{Transport: l.Transport, Address: l.Address})
	}
	client, err := api.Dial(ctx, cfg.Socket())
	switch {
	case errors.Is(err, api.ErrNoServer):
		return "", "", fmt.Errorf("%w; start it with `rollcall serve`, or name another with --server", err)
	case err == nil:
		defer client.Close()
		s, err := client.Status(ctx)
		if err != nil {
			return "", "", err
		}
		listeners = s.Listen
	}
	for _, l := range listeners {
		if l.Transport == transport || transport == "" && (l.Transport == "udp" || l.Transport == "tcp") {
			return reachable(l.Address), l.Transport, nil
		}
	}
	if transport == "" {
		transport = "udp or tcp"
	}
	return "", "", fmt.Errorf("the server does not listen over %s; it has %s", transport, listenText(listeners))
}

func listenText(listeners []api.Address) string {
	var parts []string
	for _, l := range listeners {
		parts = append(parts, l.Transport+" "+l.Address)
	}
	return strings.Join(parts, ", ")
}

// reachable turns an address that stands for all of the machine's into loopback.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		host = "127.0.0.1"
	case err != nil || !ip.IsUnspecified():
	case ip.Is4():
		host = "127.0.0.1"
	default:
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
