//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse is what Open returns, wrapped, when another process has the folder.
var ErrInUse = errors.New("is in use")

// lockDir takes the directory for this process until the file is closed or the
// process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		owner, _ := io.ReadAll(io.LimitReader(f, 32))
		if pid := strings.TrimSpace(string(owner)); pid != "" {
			return nil, fmt.Errorf("directory %s %w by process %s", dir, ErrInUse, pid)
		}
		return nil, fmt.Errorf("directory %s %w by another process", dir, ErrInUse)
	}
	// The number is for the message above only; the lock is the file's.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}
