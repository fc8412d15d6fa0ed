package embedded

import (
	"os"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// trim gives the mapped pages of the file back. They stay in the cache of the
// system; without it every page that was ever touched would count as memory of
// this process, as much again as the working set.
func (im *image) trim() error {
	// While a transaction is open the mapping stays where it is. Readers beside it
	// map the pages they need again.
	return im.bolt.View(func(tx *bbolt.Tx) error {
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, im.bolt.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		if errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
		return nil
	})
}
