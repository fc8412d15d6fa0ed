package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/bench"
)

func (a *app) bench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Put load on this or any other SIP server",
		Long: "The users are numbered (see --user-format), and each has its name as password unless --password-file says\n" +
			"otherwise. `rollcall bench users` prints them as CSV for `rollcall user import`.",
	}
	group(c)
	c.AddCommand(
		a.benchLoad("register", "Register every user, then refresh registrations", bench.Register),
		a.benchLoad("message", "Register every user, then send messages between them", bench.Message),
		a.benchLoad("presence", "Have users watch each other, then publish presence", bench.Presence),
		a.benchUsers(),
	)
	return c
}

func (a *app) benchLoad(name, short string, load func(context.Context, bench.Options) (*bench.Report, error)) *cobra.Command {
	o := bench.DefaultOptions("")
	var (
		passwordFile    string
		asJSON, verbose bool
	)
	c := &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  rollcall bench " + name + " --server 127.0.0.1:5060 --domain example.com --users 1000 --duration 10s",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Server == "" {
				cfg, err := a.load()
				if err != nil {
					return fmt.Errorf("%w; or give --server", err)
				}
				transport := ""
				if c.Flags().Changed("transport") {
					transport = o.Transport
				}
				if o.Server, o.Transport, err = firstListener(c.Context(), cfg, transport); err != nil {
					return err
				}
				if o.Domain == "" {
					o.Domain = cfg.Domains[0]
				}
			} else if _, _, err := net.SplitHostPort(o.Server); err != nil {
				o.Server = net.JoinHostPort(strings.Trim(o.Server, "[]"), "5060")
			}
			if passwordFile != "" {
				password, err := a.givenPassword(passwordFile)
				if err != nil {
					return err
				}
				o.Password = func(string) string { return password }
			}
			if verbose || isTerminal(a.stderr) && !asJSON {
				o.Progress = a.stderr
			}
			report, err := load(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(report)
			}
			return report.Text(a.stdout)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Server, "server", "", "`HOST:PORT` of the server (default: the first listener of the configuration)")
	f.StringVar(&o.Transport, "transport", o.Transport, "udp or tcp")
	f.StringVar(&o.Domain, "domain", "", "`DOMAIN` of the users (default: the first of the configuration, else the host of the server)")
	f.IntVar(&o.Users, "users", o.Users, "number of users")
	f.IntVar(&o.First, "first", o.First, "number of the first user")
	f.StringVar(&o.UserFormat, "user-format", o.UserFormat, "how a number makes a user name")
	f.StringVar(&passwordFile, "password-file", "", "`FILE` with one password for all (default: the user name)")
	f.IntVar(&o.Window, "window", o.Window, "operations under way at once")
	f.Float64Var(&o.Rate, "rate", 0, "begin so many operations a second, whatever the server does (default: as fast as the window allows)")
	f.DurationVar(&o.Duration, "duration", o.Duration, "length of the measured part")
	f.IntVar(&o.Count, "count", 0, "end the measured part after so many operations")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "load before the measured part")
	f.IntVar(&o.Connections, "connections", o.Connections, "TCP connections")
	f.IntVar(&o.Sockets, "sockets", o.Sockets, "UDP sockets")
	f.StringVar(&o.Algorithm, "algorithm", o.Algorithm, "digest: MD5, SHA-256, SHA-512-256 or auto")
	f.BoolVar(&o.Challenge, "challenge", false, "have every operation challenged, no nonce used twice")
	f.DurationVar(&o.Expires, "expires", o.Expires, "lifetime of registrations to ask for")
	f.BoolVar(&o.SetupOnly, "setup-only", false, "register the users and end")
	f.BoolVar(&o.Keep, "keep", false, "leave the registrations in place")
	f.IntSliceVar(&o.ServerPID, "server-pid", nil, "process of the server on this machine, for its CPU time and memory")
	f.Uint64Var(&o.Seed, "seed", 0, "make the choice of users repeatable")
	switch name {
	case "message":
		f.IntVar(&o.BodySize, "body-size", o.BodySize, "bytes of a message")
	case "presence":
		c.Long = presenceLong
		f.IntVar(&o.Presentities, "presentities", 0, "users that are watched and publish (default: all)")
		f.IntVar(&o.Watchers, "watchers", 5, "watchers of each presentity")
		f.IntVar(&o.Hold, "hold", 0, "make so many subscriptions, and print the server's memory for each (with --server-pid)")
		f.IntVar(&o.Storm, "storm", 0, "in place of publishing, refresh so many subscriptions at once")
		f.Float64Var(&o.StormRate, "storm-rate", 1000, "registrations to refresh each second beside --storm")
		for flag, usage := range map[string]string{
			"setup-only": "subscribe and end", "keep": "leave subscriptions and publications in place",
			"expires": "lifetime of subscriptions and publications to ask for",
		} {
			f.Lookup(flag).Usage = usage
		}
	}
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&verbose, "progress", false, "print a line each second (default on a terminal)")
	return c
}

const presenceLong = "Every presentity is watched by --watchers other users. An operation is a PUBLISH, its answer, and a NOTIFY\n" +
	"with the published state, or a newer one, at each watcher; its latency ends with the last of them. Users are not\n" +
	"registered. At the end every watcher must have the last state of its presentity; those that do not are counted\n" +
	"as lost."

func (a *app) benchUsers() *cobra.Command {
	o := bench.DefaultOptions("")
	c := &cobra.Command{
		Use:     "users",
		Short:   "Print the users of a load as CSV for `rollcall user import`",
		Example: "  rollcall bench users --users 1000 --domain example.com | rollcall user import -",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Domain == "" {
				cfg, err := a.load()
				if err != nil {
					return fmt.Errorf("%w; or give --domain", err)
				}
				o.Domain = cfg.Domains[0]
			}
			w := bufio.NewWriter(a.stdout)
			fmt.Fprintln(w, "aor,password,display_name,email,unit,groups")
			for n := o.First; n < o.First+o.Users; n++ {
				user := fmt.Sprintf(o.UserFormat, n)
				fmt.Fprintf(w, "sip:%s@%s,%s,,,,\n", user, o.Domain, user)
			}
			return w.Flush()
		},
	}
	f := c.Flags()
	f.StringVar(&o.Domain, "domain", "", "`DOMAIN` of the users (default: the first of the configuration)")
	f.IntVar(&o.Users, "users", o.Users, "number of users")
	f.IntVar(&o.First, "first", o.First, "number of the first user")
	f.StringVar(&o.UserFormat, "user-format", o.UserFormat, "how a number makes a user name")
	return c
}
