package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/config"
)

// The accounts of dev; the password is the user name.
var devUsers = []struct{ name, display string }{{"alice", "Alice"}, {"bob", "Bob"}, {"carol", "Carol"}}

const devDomain = "localhost"

func (a *app) dev() *cobra.Command {
	var listen, http, level string
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a server to try things on: loopback, three accounts, nothing kept",
		Long: "dev serves the domain " + devDomain + " with the accounts alice, bob and carol, whose passwords are their names. Its data\n" +
			"is in a temporary folder and goes when it ends. Other commands of the same user find it by themselves.",
		Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if a.configFile != "" {
				return usage(c, "dev makes its own configuration; use `rollcall serve --config %s`", shellQuote(a.configFile))
			}
			for _, network := range []string{"udp", "tcp"} {
				if err := portFree(network, listen); err != nil {
					return fmt.Errorf("%w with --listen", err)
				}
			}
			if err := portFree("tcp", http); err != nil {
				if c.Flags().Changed("http") || !c.Flags().Changed("listen") {
					return fmt.Errorf("%w with --http", err)
				}
				http = "127.0.0.1:0" // a second dev, beside the first
			}
			dir, err := os.MkdirTemp("", "rollcall-dev-")
			if err != nil {
				return fmt.Errorf("make a folder for data: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			cfg, err := devConfig(dir, listen, http, level)
			if err != nil {
				return err
			}
			log, atomic := newLogger(a.stderr, cfg.Log)
			withdraw := func() {}
			defer func() { withdraw() }()
			return a.runServer(c.Context(), cfg, log, atomic, func(ctx context.Context, client *api.Client) error {
				for _, u := range devUsers {
					if err := client.Add(ctx, api.User{AOR: "sip:" + u.name + "@" + devDomain, DisplayName: u.display}, u.name); err != nil {
						return err
					}
				}
				if withdraw, err = config.AnnounceDev(cfg.Path, cfg.Socket()); err != nil {
					return err
				}
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				return a.devHints(cfg, status)
			})
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:5060", "`ADDRESS` for SIP over UDP and TCP")
	c.Flags().StringVar(&http, "http", "127.0.0.1:8080", "`ADDRESS` for HTTP")
	c.Flags().StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return c
}

// devConfig writes the configuration of a dev into its folder, where other commands read it, and reads it.
func devConfig(dir, listen, http, level string) (*config.Config, error) {
	cfg := config.Default()
	cfg.Domains = []string{devDomain}
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.KeysDir = filepath.Join(dir, "keys")
	cfg.Listen = []config.Listen{{Address: listen, Transport: "udp"}, {Address: listen, Transport: "tcp"}}
	cfg.HTTP.Address = http
	cfg.Log = config.Log{Level: level, Format: "console"}
	path := filepath.Join(dir, "rollcall.toml")
	if err := errors.Join(os.Mkdir(cfg.DataDir, 0o700), os.WriteFile(path, cfg.TOML(), 0o600)); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return config.Load(path)
}

// devHints says what to try, with the flags that are needed here.
func (a *app) devHints(cfg *config.Config, s api.Status) error {
	self := shellQuote(os.Args[0])
	flags := ""
	if found, err := config.Find(""); err != nil || found != cfg.Path {
		flags = " --config " + shellQuote(cfg.Path) // another configuration comes first here
	}
	var names []string
	for _, u := range devUsers {
		names = append(names, u.name)
	}
	hint := func(command string) string { return "  " + a.color(bold, self+" "+command+flags) }
	lines := []string{
		fmt.Sprintf("rollcall serves %s on %s over UDP and TCP, and http://%s.", a.color(bold, devDomain), a.color(bold, s.Listen[0].Address), s.HTTP),
		"Accounts: " + strings.Join(names, ", ") + "; the password is the user name. Nothing is kept.",
		"",
		"In a second terminal, be bob, who watches alice:",
		hint("watch bob alice"),
		"In a third, be alice, and look at the record:",
		hint(`publish alice busy "in a meeting"`),
		hint(`send alice bob "hello"`),
		hint("registrations"),
		hint("archive search hello"),
		hint("archive verify"),
		"",
		"A softphone: server " + s.Listen[0].Address + ", user alice, domain " + devDomain + ". Ctrl-C ends.",
	}
	return a.say("%s", strings.Join(lines, "\n"))
}
