package api_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/api"
)

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rollcall.sock")
	if _, err := api.Dial(t.Context(), path); !errors.Is(err, api.ErrNoServer) {
		t.Errorf("dial without a socket: %v", err)
	}
	l, err := api.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := api.ListenControl(path); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second listener: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}

	// What a killed server leaves is replaced.
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if _, err := api.Dial(t.Context(), path); !errors.Is(err, api.ErrNoServer) {
		t.Errorf("dial a dead socket: %v", err)
	}
	l, err = api.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()

	_, err = api.ListenControl(filepath.Join(t.TempDir(), strings.Repeat("x", 120)))
	if err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("long path: %v", err)
	}
}
