package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Master wraps data keys. Its methods may be called from any goroutine. A key
// management system may stand behind it: Wrap is called once for each person
// and month, Unwrap once for each key that is not in memory.
type Master interface {
	// Wrap returns key encrypted and bound to id, at most 184 bytes.
	Wrap(id ID, key []byte) ([]byte, error)
	// Unwrap returns what Wrap was given with the same id.
	Unwrap(id ID, wrapped []byte) ([]byte, error)
}

// keyBytes is the size of data keys and of the master key of File: AES-256.
const keyBytes = 32

// File is a Master whose key lies in a file.
type File struct{ aead cipher.AEAD }

// LoadFile reads the master key, 64 hex digits, and makes it when the file is
// not there and missing is set. A file that others than its owner can read is refused.
func LoadFile(path string, missing bool) (*File, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && missing {
		var key [keyBytes]byte
		_, _ = rand.Read(key[:]) // crypto/rand.Read never returns an error
		text = hex.AppendEncode(nil, key[:])
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = create(path, append(text, '\n'))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if fi, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	} else if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: others can read the master key; chmod 600 it", path)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s: a master key is %d hex digits; without it no content of the record can be read, so restore it from its backup", path, 2*keyBytes)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return &File{aead}, nil
}

// create writes a new file, durable with its name.
func create(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Wrap implements Master. The nonce is a part of the id, which is random.
func (f *File) Wrap(id ID, key []byte) ([]byte, error) {
	return f.aead.Seal(nil, id[4:], key, id[:]), nil
}

// Unwrap implements Master.
func (f *File) Unwrap(id ID, wrapped []byte) ([]byte, error) {
	key, err := f.aead.Open(nil, id[4:], wrapped, id[:])
	if err != nil {
		return nil, fmt.Errorf("data key %x is not wrapped by this master key, or damaged", id[:])
	}
	return key, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
