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
)

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
	return storeName(cfg) + ", opens", st.Close()
}

func storeName(cfg *config.Config) string {
	name, _, _ := strings.Cut(cfg.Store.URL, ":")
	return name
}
