package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rollcall/archive/keys"
)

// keyBytes is the size of the keys that the server makes for itself.
const keyBytes = 32

// loadKey reads a key from keys_dir, or makes it. A key is never in the store.
func loadKey(dir, name string) ([]byte, error) {
	text, err := loadOrMake(dir, name+".key", keyBytes)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) < 16 {
		return nil, fmt.Errorf("key file %s: want at least 32 hex digits", filepath.Join(dir, name+".key"))
	}
	return key, nil
}

// masterKey is the file in keys_dir that wraps the keys of the record's content,
// and contentKeys the folder there in which those lie.
const (
	masterKey   = "master.key"
	contentKeys = "content"
	// checkpointKey is the file with the keys that sign checkpoints.
	checkpointKey = "checkpoint.key"
)

// openRing opens the keys that seal the content of the record.
func openRing(dir string) (*keys.Ring, error) {
	master, err := keys.LoadFile(filepath.Join(dir, masterKey), true)
	if err != nil {
		return nil, err
	}
	return keys.Open(filepath.Join(dir, contentKeys), master)
}

// ContentKeys returns what opens the content of a record, for a command that
// reads files, beside a server or without one. The error tells why it has no key.
func ContentKeys(keysDir string) (*keys.Ring, error) {
	master, err := keys.LoadFile(filepath.Join(keysDir, masterKey), false)
	if err != nil {
		return nil, err
	}
	return keys.OpenForReading(filepath.Join(keysDir, contentKeys), master), nil
}

// loadNode reads the name of this node from data_dir, or makes one.
func loadNode(dir string) (string, error) { return loadOrMake(dir, "node", 4) }

// loadOrMake reads a line from a file, or fills it with random hex digits.
func loadOrMake(dir, name string, size int) (string, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err == nil {
		if s := strings.TrimSpace(string(b)); s != "" {
			return s, nil
		}
		return "", fmt.Errorf("%s is empty: restore it from a backup, or remove it to make a new one", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	raw := make([]byte, size)
	_, _ = rand.Read(raw) // never fails
	text := hex.EncodeToString(raw)
	return text, writeDurable(path, text+"\n")
}

// writeDurable writes a small file whole or not at all.
func writeDurable(path, text string) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
