package timestamp

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"rollcall/archive/timestamp/timestamptest"
)

func authority(t *testing.T) (url string, roots *x509.CertPool) {
	t.Helper()
	url, ca := timestamptest.Start(t)
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return url, roots
}

// TestStamp: a stamp of a real authority holds for its text and no other, and with
// another authority's certificate for none.
func TestStamp(t *testing.T) {
	url, roots := authority(t)
	text := []byte("example.com/log\n10\nroot\n\n— key sig\n")
	token, at, err := Request(t.Context(), http.DefaultClient, url, text, roots)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(at); d < -time.Minute || d > time.Minute {
		t.Errorf("stamped at %s", at)
	}
	if again, err := Check(text, token, roots); err != nil || !again.Equal(at) {
		t.Errorf("checked: %s, %v", again, err)
	}
	if _, err := Check(text, token, nil); err != nil {
		t.Errorf("without trust: %v", err)
	}
	if _, err := Check(append(text, 'x'), token, roots); err == nil || !strings.Contains(err.Error(), "another text") {
		t.Errorf("of another text: %v", err)
	}
	_, others := authority(t)
	if _, err := Check(text, token, others); err == nil {
		t.Error("another authority vouches for it")
	}
	for i := 0; i < len(token); i += 1 + len(token)/60 { // nothing in it can be changed unseen but what no signature covers
		b := bytes.Clone(token)
		b[i] ^= 1
		if again, err := Check(text, b, roots); err == nil && !again.Equal(at) {
			t.Errorf("byte %d: another time counts", i)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no")) },
		"nothing":  func(http.ResponseWriter, *http.Request) {},
	} {
		srv := httptest.NewServer(h)
		if _, _, err := Request(t.Context(), http.DefaultClient, srv.URL, []byte("x"), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		srv.Close()
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 2, 1, 1})
	f.Fuzz(func(t *testing.T, token []byte) {
		if _, err := Check([]byte("x"), token, nil); err == nil {
			t.Error("a token was made up")
		}
	})
}
