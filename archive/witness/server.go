package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"rollcall/archive"
)

// server takes checkpoints by POST. One with a key is a witness as C2SP tlog-witness
// states it: it is told how the tree grew, and signs (C2SP tlog-cosignature).
type server struct {
	url    string
	key    note.Verifier // nil: it does not sign
	folder archive.Folder
	client *http.Client
	seen   int64 // the size that it has, as far as is known
}

func newServer(url, key string, folder archive.Folder) (*server, error) {
	s := &server{url: url, folder: folder, client: &http.Client{}}
	if key != "" {
		v, err := newCosigner(key)
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", url, err)
		}
		s.key = v
	}
	return s, nil
}

func (s *server) String() string { return s.url }

// maxAnswer bounds what a witness answers.
const maxAnswer = 16 << 10

// Take implements Place.
func (s *server) Take(ctx context.Context, signed []byte) ([]byte, error) {
	if s.key == nil {
		_, _, err := s.post(ctx, signed)
		return nil, err
	}
	for range 2 {
		body, err := s.addition(signed)
		if err != nil {
			return nil, err
		}
		answer, status, err := s.post(ctx, body)
		if status == http.StatusConflict { // it has another size than we thought
			size, bad := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
			if bad == nil && size >= 0 && size != s.seen {
				s.seen = size
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		return s.accept(signed, answer)
	}
	return nil, errors.New("witness does not say what it has")
}

// addition is the body of add-checkpoint.
func (s *server) addition(signed []byte) ([]byte, error) {
	p, err := s.folder.ProverOf(signed)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", s.seen)
	switch {
	case s.seen > p.Checkpoint.Size:
		return nil, fmt.Errorf("witness has a tree of %d records, the archive has %d: it was cut, or is another", s.seen, p.Checkpoint.Size)
	case s.seen > 0 && s.seen < p.Checkpoint.Size:
		hashes, err := p.Consistency(s.seen)
		if err != nil {
			return nil, err
		}
		for _, h := range hashes {
			fmt.Fprintln(&b, h)
		}
	}
	b.WriteByte('\n')
	b.Write(signed)
	return b.Bytes(), nil
}

// accept checks the signatures that the witness made.
func (s *server) accept(signed, lines []byte) ([]byte, error) {
	n, err := note.Open(append(bytes.Clone(signed), lines...), note.VerifierList(s.key))
	if err != nil || len(n.Sigs) == 0 {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	s.seen = cp.Size
	return append(bytes.Clone(signed), lines...), nil
}

func (s *server) post(ctx context.Context, body []byte) (answer []byte, status int, err error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	rq.Header.Set("Content-Type", "text/plain; charset=utf-8")
	rs, err := s.client.Do(rq)
	if err != nil {
		return nil, 0, err
	}
	defer rs.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(rs.Body, maxAnswer)); err != nil {
		return nil, rs.StatusCode, err
	}
	if rs.StatusCode/100 != 2 {
		return answer, rs.StatusCode, fmt.Errorf("it answered %s", rs.Status)
	}
	return answer, rs.StatusCode, nil
}

// cosigner verifies signatures of cosignature/v1: over the time at which the witness saw
// the checkpoint, and its text.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// algCosignature is the type of such keys in C2SP signed-note.
const algCosignature = 4

// newCosigner reads a verifier key, of a witness, or an ordinary Ed25519 one.
func newCosigner(text string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(text, "+")
	hashText, keyText, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(keyText)
	hash, bad := strconv.ParseUint(hashText, 16, 32)
	if err != nil || bad != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != algCosignature {
		return note.NewVerifier(text)
	}
	return cosigner{name, uint32(hash), key[1:]}, nil
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

// Verify implements note.Verifier.
func (c cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	m := fmt.Appendf(nil, "cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(c.key, append(m, text...), sig[8:])
}
