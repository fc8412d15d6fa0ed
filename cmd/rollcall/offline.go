package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/server"
	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/redis"
)

// patience is how long a command waits for another one, or for a server that starts or stops, to let go of the store.
const patience = 5 * time.Second

// inUse reports that another process has the embedded store.
func inUse(err error) bool { return errors.Is(err, embedded.ErrInUse) }

// untilFree calls open until the store is free, patience ends or ctx does.
func untilFree(ctx context.Context, open func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := open()
		if !inUse(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reachUsers returns the accounts of the running server, or those of the store when none runs.
func reachUsers(ctx context.Context, cfg *config.Config) (users api.Users, done func() error, err error) {
	err = untilFree(ctx, func() error {
		client, err := api.Dial(ctx, cfg.Socket())
		switch {
		case err == nil:
			users, done = client, client.Close
		case errors.Is(err, api.ErrNoServer):
			users, done, err = openUsers(ctx, cfg)
		}
		return err
	})
	return users, done, err
}

// openUsers opens the store itself, for commands that find no server.
func openUsers(ctx context.Context, cfg *config.Config) (api.Users, func() error, error) {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	d, err := auth.NewDirectory(st, cfg.Domains)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return api.NewUsers(d), func() error {
		d.Close()
		return st.Close()
	}, nil
}

// openStore opens the store, a new one too, and asks it for a sign of life: Redis may be away.
func openStore(ctx context.Context, cfg *config.Config) (store.Store, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	st, err := server.OpenStore(cfg, zap.NewNop())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := st.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), st.Close())
	}
	return st, nil
}

// tryStore opens the store as a start would, but makes none, and says what it found.
func tryStore(ctx context.Context, cfg *config.Config) (string, error) {
	if strings.HasPrefix(cfg.Store.URL, "embedded:") {
		dir := filepath.Join(cfg.DataDir, "store")
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return "embedded, " + dir + " will be made at the first start", nil
		}
	}
	st, err := openStore(ctx, cfg)
	if err != nil {
		return "", err
	}
	text := storeName(cfg) + " opens"
	if db, ok := st.(*redis.DB); ok {
		kept, err := persistence(ctx, db)
		if err != nil {
			return "", errors.Join(err, st.Close())
		}
		text += ", " + kept
	}
	return text, st.Close()
}

// persistence says what a Redis keeps over its own restart. A Redis that throws state away while it runs is an error.
func persistence(ctx context.Context, db *redis.DB) (string, error) {
	f, err := db.Facts(ctx)
	if err != nil {
		return "", err
	}
	if f.Maxmemory != "0" && f.Maxmemory != "" && f.MaxmemoryPolicy != "noeviction" {
		return "", fmt.Errorf("redis with maxmemory-policy %s throws accounts and messages away when its memory is full; set maxmemory-policy noeviction", f.MaxmemoryPolicy)
	}
	kept := "loses accounts and waiting messages at its restart, but for its snapshots: set appendonly yes"
	switch {
	case f.AppendOnly && f.AppendFsync == "always":
		kept = "keeps all it has acknowledged (appendfsync always)"
	case f.AppendOnly && f.AppendFsync == "everysec":
		kept = "may lose a second at a power loss (appendfsync everysec)"
	case f.AppendOnly:
		kept = cmpOr(f.AppendFsync, "unknown")
		kept = "keeps an append-only file, appendfsync " + kept + ": what is not synced is lost at a power loss"
	}
	return fmt.Sprintf("version %s, %s", f.Version, kept), nil
}

func storeName(cfg *config.Config) string {
	name, _, _ := strings.Cut(cfg.Store.URL, ":")
	return name
}
