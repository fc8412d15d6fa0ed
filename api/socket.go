package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxSocketPath is what fits in sun_path of Linux with its closing zero.
const maxSocketPath = 107

// ListenControl opens the control socket for this user alone (mode 0600). A socket on which nobody listens any more
// is replaced; one on which a server answers is an error. Closing the listener removes the socket.
func ListenControl(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another server listens on %s", path)
	}
	// The socket is made in a folder of our own and moved when its mode is right, so that nobody can open it before.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer os.RemoveAll(dir)
	temp := filepath.Join(dir, "s")
	if len(temp) > maxSocketPath || len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: the path is longer than a socket may have; give data_dir a shorter one", path)
	}
	l, err := net.Listen("unix", temp)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("control socket: not a unix listener"), l.Close())
	}
	ul.SetUnlinkOnClose(false) // it would remove the old name
	if err := errors.Join(os.Chmod(temp, 0o600), os.Rename(temp, path)); err != nil {
		return nil, fmt.Errorf("control socket: %w", errors.Join(err, l.Close()))
	}
	return &controlListener{Listener: l, path: path}, nil
}

type controlListener struct {
	net.Listener
	path string
	once sync.Once
}

func (l *controlListener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() {
		if rerr := os.Remove(l.path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	})
	return err
}
