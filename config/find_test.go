package config_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"rollcall/config"
)

// The order of the places, each found when the ones before it are not there.
func TestFind(t *testing.T) {
	work, run, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	t.Chdir(work)
	t.Setenv("XDG_RUNTIME_DIR", run)
	t.Setenv(config.EnvFile, "")
	file := func(name string) string {
		path := filepath.Join(elsewhere, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	find := func(given, want string) {
		t.Helper()
		if got, err := config.Find(given); err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	nothing := func() {
		t.Helper()
		if _, err := os.Stat(config.SystemFile); err == nil {
			find("", config.SystemFile)
		} else if _, err := config.Find(""); !errors.Is(err, config.ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
	}
	nothing()

	socket := filepath.Join(elsewhere, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dev := file("dev.toml")
	withdraw, err := config.AnnounceDev(dev, socket)
	if err != nil {
		t.Fatal(err)
	}
	find("", dev)
	// A folder that others can write is not believed.
	dir := filepath.Join(run, filepath.Base(devFolder(t, run)))
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	nothing()
	if _, err := config.AnnounceDev(dev, socket); err == nil {
		t.Error("announced in a folder that others can write")
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile("rollcall.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	find("", "rollcall.toml")
	env := file("env.toml")
	t.Setenv(config.EnvFile, env)
	find("", env)
	given := file("given.toml")
	find(given, given)

	for _, missing := range []string{"--config", config.EnvFile} {
		arg := ""
		if missing == "--config" {
			arg = filepath.Join(elsewhere, "none")
		} else {
			t.Setenv(config.EnvFile, filepath.Join(elsewhere, "none"))
		}
		if _, err := config.Find(arg); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file named by %s: %v", missing, err)
		}
	}
	t.Setenv(config.EnvFile, "")
	if err := os.Remove("rollcall.toml"); err != nil {
		t.Fatal(err)
	}

	// A second dev replaces the note; the first leaves it alone.
	other := file("other.toml")
	withdrawOther, err := config.AnnounceDev(other, socket)
	if err != nil {
		t.Fatal(err)
	}
	withdraw()
	find("", other)
	l.Close() // as after a kill -9: the note stays, the socket is dead
	nothing()
	withdrawOther()
	nothing()
}

func devFolder(t *testing.T, run string) string {
	t.Helper()
	entries, err := os.ReadDir(run)
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	return entries[0].Name()
}
