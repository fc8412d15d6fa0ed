package timestamp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"time"

	"github.com/digitorus/pkcs7"
	ts "github.com/digitorus/timestamp"
)

// maxToken bounds an authority's answer.
const maxToken = 64 << 10

// Request has the authority at url stamp a text, and returns its token and the time in
// it. The token is checked, but for the trust in the authority if roots is nil.
func Request(ctx context.Context, client *http.Client, url string, text []byte, roots *x509.CertPool) (token []byte, at time.Time, err error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, at, err
	}
	query, err := ts.CreateRequest(bytes.NewReader(text), &ts.RequestOptions{Hash: crypto.SHA256, Certificates: true, Nonce: nonce})
	if err != nil {
		return nil, at, fmt.Errorf("make request: %w", err)
	}
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(query))
	if err != nil {
		return nil, at, err
	}
	rq.Header.Set("Content-Type", "application/timestamp-query") // RFC 3161 §3.4
	answer, err := client.Do(rq)
	if err != nil {
		return nil, at, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxToken))
	if err != nil {
		return nil, at, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, at, fmt.Errorf("authority answered %s", answer.Status)
	}
	stamp, err := parseResponse(b)
	if err != nil {
		return nil, at, fmt.Errorf("answer of the authority: %w", err)
	}
	if stamp.Nonce == nil || stamp.Nonce.Cmp(nonce) != 0 { // RFC 3161 §2.4.2: it "MUST be included with the same value"
		return nil, at, errors.New("answer is to another request")
	}
	at, err = Check(text, stamp.RawToken, roots)
	return stamp.RawToken, at, err
}

func parseResponse(b []byte) (stamp *ts.Timestamp, err error) {
	defer contain(&err)
	return ts.ParseResponse(b)
}

// contain makes a panic an error: the reader of BER behind all this trusts lengths that
// strangers wrote.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("malformed token: %v", p)
	}
}

// Check reports when the authority saw the text. With roots its certificate must lead to
// one of them; without, anybody may have made the stamp.
func Check(text, token []byte, roots *x509.CertPool) (at time.Time, err error) {
	defer contain(&err)
	stamp, err := ts.Parse(token) // checks the signature, when a certificate is there
	if err != nil {
		return time.Time{}, err
	}
	sum := sha256.Sum256(text)
	if stamp.HashAlgorithm != crypto.SHA256 || !bytes.Equal(stamp.HashedMessage, sum[:]) {
		return time.Time{}, errors.New("it is of another text")
	}
	p7, err := pkcs7.Parse(token)
	if err != nil {
		return time.Time{}, err
	}
	signer := p7.GetOnlySigner()
	if signer == nil {
		return time.Time{}, errors.New("it has no certificate of its signer")
	}
	if roots == nil {
		return stamp.Time, nil
	}
	between := x509.NewCertPool()
	for _, c := range p7.Certificates {
		between.AddCert(c)
	}
	_, err = signer.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: stamp.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}})
	if err != nil {
		return time.Time{}, fmt.Errorf("authority: %w", err)
	}
	return stamp.Time, nil
}
