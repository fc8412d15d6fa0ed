package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/config"
	"rollcall/server"
)

func (a *app) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "SIGTERM and SIGINT let running requests end and stop the server, a second one stops it at once. SIGHUP reads\n" +
			"the configuration again; docs/config.md says which keys that applies. Under systemd it notifies readiness,\n" +
			"reloads and the watchdog.",
		Example: "  rollcall serve --config rollcall.toml",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			log, level := newLogger(a.stderr, cfg.Log)
			defer func() { _ = log.Sync() }() // standard error has nothing to sync
			return a.runServer(c.Context(), cfg, log, level, nil)
		},
	}
}

// runServer runs a server until ctx ends and it has drained. up, if it is not nil, is called once the server answers on
// its control socket.
func (a *app) runServer(ctx context.Context, cfg *config.Config, log *zap.Logger, level zap.AtomicLevel, up func(context.Context, *api.Client) error) error {
	if client, err := api.Dial(ctx, cfg.Socket()); err == nil {
		return errors.Join(fmt.Errorf("a server is running on %s already; stop it first or give this one a data_dir of its own", cfg.DataDir), client.Close())
	}
	var s *server.Server
	err := untilFree(ctx, func() (err error) { // of a command that is just done with the store
		s, err = server.New(cfg, log)
		return err
	})
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	notify := newNotifier()
	client, err := awaitServer(ctx, cfg.Socket(), ended)
	if err == nil && client != nil {
		defer client.Close()
		if up != nil {
			err = up(ctx, client)
		}
	}
	if err != nil || client == nil {
		stop()
		return errors.Join(err, <-ended)
	}
	notify.ready()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		notify.watchdog(ctx, func(ctx context.Context) error {
			_, err := client.Status(ctx)
			return err
		})
	}()
	defer func() { stop(); <-watched }()

	draining := ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-draining:
			notify.stopping()
			draining = nil
		case <-hup:
			notify.reloading()
			if err := reload(s, cfg.Path, level); err != nil {
				log.Error("configuration was not reloaded, the old one stays", zap.Error(err))
			}
			notify.ready()
		}
	}
}

// reload reads the file and applies it; a fault changes nothing.
func reload(s *server.Server, path string, level zap.AtomicLevel) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if err := s.Reload(cfg); err != nil {
		return err
	}
	setLevel(level, cfg.Log)
	return nil
}

// awaitServer waits until the server answers. The client is nil when the server ended or ctx did before; the end is
// then still, or again, in ended.
func awaitServer(ctx context.Context, socket string, ended chan error) (*api.Client, error) {
	const patience = time.Minute // a store with a large image takes its time
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		client, err := api.Dial(ctx, socket)
		if err == nil {
			return client, nil
		}
		select {
		case err := <-ended:
			ended <- err
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		case <-timeout.C:
			return nil, fmt.Errorf("the server did not answer on %s within %s", socket, patience)
		case <-tick.C:
		}
	}
}
