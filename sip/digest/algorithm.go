package digest

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"

	"rollcall/sip"
)

// Algorithm is a hash of RFC 7616 §6.1 as RFC 8760 §2.1 lets SIP use it.
type Algorithm uint8

const (
	MD5 Algorithm = iota // what credentials without an algorithm mean
	SHA256
	SHA512256

	algorithms = 3
)

// maxSize is the length of the longest hash in bytes.
const maxSize = 32

// String returns the name on the wire.
func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	case SHA512256:
		return "SHA-512-256"
	}
	return "unknown"
}

// Size returns the length of the hash in bytes.
func (a Algorithm) Size() int {
	if a == MD5 {
		return md5.Size
	}
	return maxSize
}

// ParseAlgorithm reads the name on the wire, in any case (RFC 3261 §7.3.1).
func ParseAlgorithm(s string) (Algorithm, bool) {
	for a := range Algorithm(algorithms) {
		if sip.EqualFold(s, a.String()) {
			return a, true
		}
	}
	return 0, false
}

// sum hashes b. Its result is of a.Size() bytes, zeros behind them.
func (a Algorithm) sum(b []byte) (h [maxSize]byte) {
	switch a {
	case MD5:
		*(*[md5.Size]byte)(h[:]) = md5.Sum(b)
	case SHA256:
		h = sha256.Sum256(b)
	case SHA512256:
		h = sha512.Sum512_256(b)
	}
	return h
}

// Secrets are the hashes H(username:realm:password) of RFC 7616 §3.4.2 for all
// algorithms. Whoever has one can log in with it: it is kept like a password,
// and prints as nothing.
type Secrets struct {
	MD5       [16]byte
	SHA256    [32]byte
	SHA512256 [32]byte
}

// NewSecrets computes the hashes. The password is used as it is, in the bytes
// the caller has (UTF-8 by RFC 8760 §2.4 and RFC 7616 §4).
func NewSecrets(username, realm, password string) Secrets {
	var buf [256]byte
	b := append(buf[:0], username...)
	b = append(b, ':')
	b = append(b, realm...)
	b = append(b, ':')
	b = append(b, password...)
	s := Secrets{
		MD5:       md5.Sum(b),
		SHA256:    sha256.Sum256(b),
		SHA512256: sha512.Sum512_256(b),
	}
	clear(b)
	return s
}

// get returns the hash for an algorithm, zeros behind it.
func (s *Secrets) get(a Algorithm) (h [maxSize]byte) {
	switch a {
	case MD5:
		copy(h[:], s.MD5[:])
	case SHA256:
		h = s.SHA256
	case SHA512256:
		h = s.SHA512256
	}
	return h
}

// String hides the hashes from logs and errors.
func (Secrets) String() string { return "[hidden]" }

// GoString hides the hashes from %#v.
func (Secrets) GoString() string { return "digest.Secrets{[hidden]}" }

// MarshalText hides the hashes from JSON and its like.
func (Secrets) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }
