package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// EnvFile is the environment variable that names the configuration file.
const EnvFile = "ROLLCALL_CONFIG"

// SystemFile is where an installed server has its configuration.
const SystemFile = "/etc/rollcall/rollcall.toml"

// localFile is the name looked for in the working folder.
const localFile = "rollcall.toml"

// ErrNotFound means that no configuration was named and none is in a known place.
var ErrNotFound = errors.New("no configuration found")

// Find returns the configuration file to use, in this order: the one given with --config, ROLLCALL_CONFIG,
// ./rollcall.toml, that of a running `rollcall dev` of the same user, /etc/rollcall/rollcall.toml. A file that is
// named must exist; the others are taken if they do.
func Find(given string) (string, error) {
	for _, named := range []struct{ by, path string }{{"--config", given}, {EnvFile, os.Getenv(EnvFile)}} {
		if named.path == "" {
			continue
		}
		if _, err := os.Stat(named.path); err != nil {
			return "", fmt.Errorf("configuration named by %s: %w", named.by, err)
		}
		return named.path, nil
	}
	if _, err := os.Stat(localFile); err == nil {
		return localFile, nil
	}
	if dev, ok := findDev(); ok {
		return dev, nil
	}
	if _, err := os.Stat(SystemFile); err == nil {
		return SystemFile, nil
	}
	return "", fmt.Errorf("%w: looked for --config, %s, ./%s, a running `rollcall dev` and %s; start `rollcall dev` or write one with `rollcall init`",
		ErrNotFound, EnvFile, localFile, SystemFile)
}

// devNote is what a running `dev` leaves for commands of the same user.
type devNote struct {
	Config string `json:"config"`
	Socket string `json:"socket"`
}

// devDir is a folder of this user alone. Its name is known in advance, so on a machine with other users somebody
// else may have made it: both sides check its owner and mode.
func devDir() string {
	name := "rollcall-dev-" + strconv.Itoa(os.Getuid())
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if _, err := os.Stat(dir); err == nil {
			return filepath.Join(dir, name)
		}
	}
	return filepath.Join(os.TempDir(), name)
}

func checkDevDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a folder of this user alone", dir)
	}
	return nil
}

// AnnounceDev lets commands of the same user find a running `dev` by its configuration file and control socket.
// The returned function takes the note away, unless another `dev` has replaced it meanwhile.
func AnnounceDev(configPath, socket string) (withdraw func(), err error) {
	dir := devDir()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("announce: %w", err)
	}
	if err := checkDevDir(dir); err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	note, err := json.Marshal(devNote{Config: configPath, Socket: socket})
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	current := filepath.Join(dir, "current")
	temp := current + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(temp, note, 0o600); err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	if err := os.Rename(temp, current); err != nil {
		return nil, fmt.Errorf("announce: %w", errors.Join(err, os.Remove(temp)))
	}
	return func() {
		if now, err := os.ReadFile(current); err == nil && string(now) == string(note) {
			_ = os.Remove(current) // the next reader finds a dead socket and ignores the note
		}
	}, nil
}

// findDev returns the configuration of a running `dev`. A note whose socket does not answer is a leftover of a
// `dev` that was killed.
func findDev() (string, bool) {
	dir := devDir()
	if checkDevDir(dir) != nil {
		return "", false
	}
	data, err := os.ReadFile(filepath.Join(dir, "current"))
	if err != nil {
		return "", false
	}
	var note devNote
	if json.Unmarshal(data, &note) != nil || !filepath.IsAbs(note.Config) || strings.ContainsRune(note.Config, 0) {
		return "", false
	}
	conn, err := net.DialTimeout("unix", note.Socket, time.Second)
	if err != nil {
		return "", false
	}
	conn.Close()
	return note.Config, true
}
