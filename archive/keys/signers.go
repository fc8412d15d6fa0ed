package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"
)

// Signers are the keys that sign the checkpoints of an archive. They lie in a
// file, one a line, the newest first, as golang.org/x/mod/sumdb/note writes
// them. Their methods may be called from any goroutine.
type Signers struct {
	path   string
	origin string
	rotate sync.Mutex // one rotation at a time
	keys   atomic.Pointer[signers]
}

type signers struct {
	list   []note.Signer
	newest string // verifier key
}

// LoadSigners reads the keys from a file, and makes one named origin when
// there is no file.
func LoadSigners(path, origin string) (*Signers, error) {
	s := &Signers{path: path, origin: origin}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.Rotate()
	}
	if err != nil {
		return nil, err
	}
	return s, s.use(strings.Fields(string(text)))
}

func (s *Signers) use(lines []string) error {
	var list []note.Signer
	for _, line := range lines {
		k, err := note.NewSigner(line)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		list = append(list, k)
	}
	if len(list) == 0 {
		return fmt.Errorf("%s is empty: restore it from a backup, or remove it to make a new key", s.path)
	}
	v, err := verifierKey(lines[0])
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.keys.Store(&signers{list, v})
	return nil
}

// List returns the keys that sign, the newest first.
func (s *Signers) List() []note.Signer { return s.keys.Load().list }

// Origin names the archive in its checkpoints: it is the name of the keys.
func (s *Signers) Origin() string { return s.keys.Load().list[0].Name() }

// Newest returns the verifier key of the newest key.
func (s *Signers) Newest() string { return s.keys.Load().newest }

// verifierKey returns the public part of a signing key.
func verifierKey(skey string) (string, error) {
	parts := strings.SplitN(skey, "+", 5) // PRIVATE+KEY+name+hash+key
	if len(parts) != 5 {
		return "", errors.New("malformed signing key")
	}
	b, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(b) != 1+ed25519.SeedSize {
		return "", errors.New("malformed signing key")
	}
	return note.NewEd25519VerifierKey(parts[2], ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey))
}

// Rotate makes a new key. The one before it goes on signing beside it, older
// ones no longer.
func (s *Signers) Rotate() error {
	s.rotate.Lock()
	defer s.rotate.Unlock()
	if k := s.keys.Load(); k != nil {
		s.origin = k.list[0].Name()
	}
	skey, _, err := note.GenerateKey(rand.Reader, s.origin)
	if err != nil {
		return err
	}
	lines := []string{skey}
	if text, err := os.ReadFile(s.path); err == nil {
		lines = append(lines, strings.Fields(string(text))...)
	}
	lines = lines[:min(len(lines), 2)]
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	_ = os.Remove(s.path + ".new") // of a rotation that was interrupted
	if err := create(s.path+".new", []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		return err
	}
	if err := os.Rename(s.path+".new", s.path); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(s.path)); err != nil {
		return err
	}
	return s.use(lines)
}
