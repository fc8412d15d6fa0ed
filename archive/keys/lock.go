package keys

import (
	"fmt"
	"os"
	"syscall"
)

// lockFolder keeps a second process from adding keys to the same files.
func lockFolder(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of data keys: %w", err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("folder of data keys %s is in use by another server: %w", dir, err)
	}
	return d, nil
}
