package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"rollcall/archive"
)

// Master wraps the keys of the stream.
type Master struct {
	// Wrap returns a key encrypted, and Unwrap what Wrap was given, with the same ID.
	Wrap   func(id [16]byte, key []byte) ([]byte, error)
	Unwrap func(id [16]byte, wrapped []byte) ([]byte, error)
}

const (
	keyLife  = time.Hour
	maxKnown = 1024 // keys in memory
)

// ciphers seals and opens contents in the stream. It implements archive.Sealer.
type ciphers struct {
	master Master

	mu    sync.Mutex
	own   *cipherKey
	born  time.Time
	known map[[16]byte]*cipherKey
}

type cipherKey struct {
	id      [16]byte
	wrapped []byte
	aead    cipher.AEAD
}

// current returns the key to seal with.
func (c *ciphers) current() (*cipherKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own != nil && time.Since(c.born) < keyLife {
		return c.own, nil
	}
	k := &cipherKey{}
	var secret [32]byte
	_, _ = rand.Read(k.id[:]) // crypto/rand.Read never returns an error
	_, _ = rand.Read(secret[:])
	var err error
	if k.wrapped, err = c.master.Wrap(k.id, secret[:]); err != nil {
		return nil, fmt.Errorf("wrap key of the stream: %w", err)
	}
	if k.aead, err = newAEAD(secret[:]); err != nil {
		return nil, err
	}
	c.own, c.born = k, time.Now()
	c.keep(k)
	return k, nil
}

// learn makes a key known that came with an entry.
func (c *ciphers) learn(id [16]byte, wrapped []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[id] != nil {
		return nil
	}
	secret, err := c.master.Unwrap(id, wrapped)
	if err != nil {
		return fmt.Errorf("key of the stream: %w", err)
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return err
	}
	c.keep(&cipherKey{id, wrapped, aead})
	return nil
}

// keep remembers a key. c.mu is held.
func (c *ciphers) keep(k *cipherKey) {
	if c.known == nil || len(c.known) >= maxKnown {
		c.known = map[[16]byte]*cipherKey{}
	}
	c.known[k.id] = k
}

// sealing is one key as an archive.Sealer.
type sealing struct {
	*ciphers
	k *cipherKey
}

// Seal implements archive.Sealer. The nonce is of the record's ID, which stands once.
func (s sealing) Seal(dst []byte, _ string, _ time.Time, id archive.ID, plain []byte) ([]byte, error) {
	return s.k.aead.Seal(append(dst, s.k.id[:]...), id[4:], plain, id[:]), nil
}

// Sync implements archive.Sealer: the key is in each entry.
func (sealing) Sync() error { return nil }

// Open implements archive.Opener.
func (c *ciphers) Open(dst []byte, id archive.ID, sealed []byte) ([]byte, error) {
	if len(sealed) < 16 {
		return dst, archive.ErrNoKey
	}
	c.mu.Lock()
	k := c.known[[16]byte(sealed)]
	c.mu.Unlock()
	if k == nil {
		return dst, archive.ErrNoKey
	}
	return k.aead.Open(dst, id[4:], sealed[16:], id[:])
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
