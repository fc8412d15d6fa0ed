package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"go.etcd.io/bbolt"
)

// image is one bbolt file. Its bucket "rollcall" has the file's format, the
// epoch of the last start, and whether and since when the machine runs that
// wrote it: a process that is killed leaves a good file, a machine that loses
// power may not if the writes were not synced.
type image struct {
	bolt  *bbolt.DB
	path  string
	sync  bool
	epoch uint64
	boot  string // of the last start
	clean bool   // the last one that had it closed it
}

var (
	headBucket = []byte("rollcall")
	keyFormat  = []byte("format")
	keyEpoch   = []byte("epoch")
	keyBoot    = []byte("boot")
	keyClean   = []byte("clean")
	keyPing    = []byte("ping")
)

const imageFormat = 1

// guard runs what reads a file that may be damaged: bbolt panics, or touches
// mapped memory behind the end of the file.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("image is damaged: %v", r)
		}
	}()
	return fn()
}

func closeBroken(b *bbolt.DB) { _ = guard(b.Close) }

func openImage(path string, sync bool) (*image, error) {
	im := &image{path: path, sync: sync}
	err := guard(func() (err error) {
		if im.bolt, err = bbolt.Open(path, 0o600, boltOptions(sync)); err != nil {
			return err
		}
		return im.bolt.View(im.readHead)
	})
	if err != nil {
		if im.bolt != nil {
			closeBroken(im.bolt)
		}
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return im, nil
}

func (im *image) readHead(tx *bbolt.Tx) error {
	info, err := os.Stat(im.path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("file is cut off: %d bytes, want %d", info.Size(), tx.Size())
	}
	head := tx.Bucket(headBucket)
	if head == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return errors.New("not a store of this server")
		}
		im.clean = true
		return nil
	}
	if f := number(head.Get(keyFormat)); f != imageFormat {
		return fmt.Errorf("file format %d is not known to this version", f)
	}
	im.epoch = number(head.Get(keyEpoch))
	im.boot = string(head.Get(keyBoot))
	im.clean = number(head.Get(keyClean)) == 1
	return nil
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func numberBytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// begin marks the file as in use.
func (im *image) begin(epoch uint64) error {
	im.epoch = epoch
	return im.mark(0)
}

// end marks the file as complete and closes it.
func (im *image) end() error {
	return errors.Join(im.mark(1), im.bolt.Close())
}

func (im *image) mark(clean uint64) error {
	err := im.bolt.Update(func(tx *bbolt.Tx) error {
		head, err := tx.CreateBucketIfNotExists(headBucket)
		if err != nil {
			return err
		}
		return errors.Join(
			head.Put(keyFormat, numberBytes(imageFormat)),
			head.Put(keyEpoch, numberBytes(im.epoch)),
			head.Put(keyBoot, []byte(bootID())),
			head.Put(keyClean, numberBytes(clean)))
	})
	if err == nil && !im.sync {
		err = im.bolt.Sync()
	}
	if err != nil {
		return fmt.Errorf("mark %s: %w", im.path, err)
	}
	return nil
}

// bootID names the time since the machine started.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// openSoftImage opens the file whose writes are not synced one by one. If the
// machine went down under it, its free list and its tree may contradict each
// other, so what can be read is written into a new file first.
func openSoftImage(path string) (*image, error) {
	im, err := openImage(path, false)
	if err != nil || im.clean || im.boot != "" && im.boot == bootID() {
		return im, err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		closeBroken(im.bolt)
		return nil, err
	}
	dst, err := bbolt.Open(fresh, 0o600, boltOptions(false))
	if err != nil {
		closeBroken(im.bolt)
		return nil, fmt.Errorf("open %s: %w", fresh, err)
	}
	err = guard(func() error { return errors.Join(bbolt.Compact(dst, im.bolt, compactBytes), dst.View(verify)) })
	closeBroken(im.bolt)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return nil, fmt.Errorf("copy %s: %w", path, errors.Join(err, os.Remove(fresh)))
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, err
	}
	return openImage(path, false)
}

// verify checks all stored forms of a file.
func verify(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if bytes.Equal(name, headBucket) {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if _, err := open(v); err != nil {
				return fmt.Errorf("%s %q: %w", name, k, err)
			}
			return nil
		})
	})
}

// load reads a hot kind into its maps.
func (im *image) load(ks *kindState) error {
	return guard(func() error {
		return im.bolt.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(ks.hotBucket)
			if b == nil {
				return nil
			}
			return b.ForEach(func(k, v []byte) error {
				s, err := decodeState(v, true)
				if err != nil {
					return fmt.Errorf("%s %q in %s: %w", ks.kind, k, im.path, err)
				}
				ks.replace(string(k), s)
				return nil
			})
		})
	})
}
