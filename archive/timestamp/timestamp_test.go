package timestamp

import (
	"bytes"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a time-stamp authority: openssl behind an HTTP server.
func authority(t *testing.T) (url string, roots *x509.CertPool) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is needed: apt-get install openssl")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(openssl, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("openssl %q: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tsa.cnf", "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = tsa.pem\ncerts = ca.pem\nsigner_key = tsa.key\nsigner_digest = sha256\n"+
		"default_policy = 1.2.3.4\ndigests = sha256\nordering = no\ntsa_name = no\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n")
	write("serial", "01\n")
	write("ext.cnf", "extendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\n")
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
	run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test TSA")
	run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "2", "-extfile", "ext.cnf")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/timestamp-query" {
			http.Error(w, "not a query", http.StatusUnsupportedMediaType)
			return
		}
		query, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		write("q.tsq", string(query))
		run("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q.tsq", "-out", "r.tsr")
		b, err := os.ReadFile(filepath.Join(dir, "r.tsr"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(b)
	}))
	t.Cleanup(srv.Close)
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return srv.URL, roots
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
