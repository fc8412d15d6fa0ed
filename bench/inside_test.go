package bench

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The examples of RFC 2617 §3.5, RFC 7616 §3.9.1 and RFC 2069 §2.4 (its
// answer as corrected by erratum 749).
func TestDigestVectors(t *testing.T) {
	const rfc7616 = `Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm=`
	const cnonce7616 = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	tests := []struct{ name, challenge, cnonce, password, want string }{
		{"RFC 2617", `Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"0a4f113b", "Circle Of Life", "6629fae49393a05397450978507c4ef1"},
		{"RFC 2069", `Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"`,
			"", "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"},
		{"RFC 7616 MD5", rfc7616 + "MD5", cnonce7616, "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 SHA-256", rfc7616 + "SHA-256", cnonce7616, "Circle of Life", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	}
	for _, test := range tests {
		ch, usable, rest := readChallenge([]byte(test.challenge))
		if !usable || len(rest) != 0 {
			t.Errorf("%s: usable %v, rest %q", test.name, usable, rest)
			continue
		}
		var c credential
		c.accept(ch, "Mufasa", test.password)
		d := digester{cnonce: test.cnonce}
		got := string(d.appendCredentials(nil, &c, "Mufasa", "GET", []byte("/dir/index.html")))
		if !strings.Contains(got, `response="`+test.want+`"`) {
			t.Errorf("%s: %s, want response %s", test.name, got, test.want)
		}
	}
}

func TestNonceCountRises(t *testing.T) {
	ch, _, _ := readChallenge([]byte(`Digest realm="r", nonce="n", qop="auth"`))
	var c credential
	c.accept(ch, "alice", "alice")
	var d digester
	for _, want := range []string{"nc=00000001", "nc=00000002", "nc=00000003"} {
		if got := string(d.appendCredentials(nil, &c, "alice", "REGISTER", []byte("sip:example.com"))); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	c.accept(ch, "alice", "alice")
	if got := string(d.appendCredentials(nil, &c, "alice", "REGISTER", []byte("sip:example.com"))); !strings.Contains(got, "nc=00000001") {
		t.Errorf("a new nonce begins with %s", got)
	}
}

func TestChooseChallenge(t *testing.T) {
	tests := []struct {
		headers, want, nonce string
		stale                bool
	}{
		{"WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", algorithm=SHA-256, qop=\"auth\"\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"b\"\r\n", "auto", "a", false},
		{"WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", algorithm=SHA-256, qop=\"auth\"\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"b\"\r\n", "MD5", "b", false},
		{"proxy-authenticate:Digest realm=\"r\",nonce=\"a\",stale=true,algorithm=MD5\r\n", "auto", "a", true},
		{"WWW-Authenticate: Basic realm=\"x\", Digest realm=\"a, b\", nonce=\"c\", algorithm=\"MD5\"\r\n", "auto", "c", false},
		{"WWW-Authenticate: Negotiate, Digest nonce=\"c\", realm=\"r\\\"q\"\r\n", "auto", "c", false},
		{"WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", algorithm=MD5-sess\r\n", "auto", "", false},
		{"WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", qop=\"auth-int\"\r\n", "auto", "", false},
		{"WWW-Authenticate: Digest\r\n", "auto", "", false},
		{"WWW-Authenticate: Digest realm\r\n", "auto", "", false},
		{"WWW-Authenticate: Digest realm=\"r\", nonce=\"a\"\r\n", "SHA-256", "", false},
		{"Server: Digest nonce=\"a\"\r\n", "auto", "", false},
	}
	for _, test := range tests {
		c, ok := chooseChallenge([]byte("SIP/2.0 401 Unauthorized\r\n"+test.headers+"\r\n"), test.want)
		if ok != (test.nonce != "") || string(c.nonce) != test.nonce || c.stale != test.stale {
			t.Errorf("%q, %s: %v nonce %q stale %v", test.headers, test.want, ok, c.nonce, c.stale)
		}
	}
}

func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 100_000 {
		// From nanoseconds to minutes.
		d := time.Duration(1) << r.IntN(36)
		d += time.Duration(r.Int64N(int64(d)))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.0001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(q*float64(len(all))+0.999999)-1)]
		got := h.quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/subBuckets)+1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.max != all[len(all)-1] || h.quantile(1) != h.max {
		t.Errorf("max %v and %v, want %v", h.max, h.quantile(1), all[len(all)-1])
	}
	var one histogram
	if one.quantile(0.5) != 0 || one.mean() != 0 {
		t.Error("an empty histogram is not zero")
	}
	one.add(-time.Second)
	one.add(1<<63 - 1)
	if one.quantile(0.5) != 0 || one.quantile(0.99) != 1<<63-1 {
		t.Errorf("ends of the range: %v, %v", one.quantile(0.5), one.quantile(0.99))
	}
}

func TestBucketsAreContiguous(t *testing.T) {
	for i := range len(histogram{}.buckets) {
		top := bucketTop(i)
		if bucketOf(top) != i {
			t.Fatalf("the top %d of bucket %d is in bucket %d", top, i, bucketOf(top))
		}
		if i+1 < len(histogram{}.buckets) && bucketOf(top+1) != i+1 {
			t.Fatalf("%d after bucket %d is in bucket %d", top+1, i, bucketOf(top+1))
		}
	}
}

func TestFrameAtAnySplit(t *testing.T) {
	messages := []string{
		"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"MESSAGE sip:a@b SIP/2.0\r\nl : 7\r\nTo: x\r\n\r\n1\r\n\r\n67",
		"SIP/2.0 401 No\r\ncontent-length:3\r\n\r\nabc",
	}
	stream := []byte("\r\n\r\n" + messages[0] + messages[1] + "\r\n" + messages[2])
	for cut := range len(stream) {
		var got []string
		collect := func(i int, msg []byte) { got = append(got, string(msg)) }
		rest, err := eachFrame(stream[:cut:cut], 0, collect)
		if err == nil {
			rest, err = eachFrame(append(rest, stream[cut:]...), 0, collect)
		}
		if err != nil || len(rest) != 0 || !slices.Equal(got, messages) {
			t.Fatalf("cut at %d: %q, rest %q, %v", cut, got, rest, err)
		}
	}
	for _, bad := range []string{
		"SIP/2.0 200 OK\r\n\r\n",
		"SIP/2.0 200 OK\r\nContent-Length: x\r\n\r\n",
		"SIP/2.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		strings.Repeat("x", maxMessage+1),
	} {
		if _, err := eachFrame([]byte(bad), 0, func(int, []byte) {}); err == nil {
			t.Errorf("no error for %.60q", bad)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for msg, want := range map[string]int{
		"SIP/2.0 200 OK\r\n": 200, "SIP/2.0 699 x\r\n": 699, "SIP/2.0 700 x\r\n": 0, "SIP/2.0 099 x\r\n": 0,
		"SIP/2.0 2x0 OK\r\n": 0, "SIP/2.0 200": 0, "MESSAGE sip:a SIP/2.0": 0, "": 0,
	} {
		if got := statusOf([]byte(msg)); got != want {
			t.Errorf("%q: %d, want %d", msg, got, want)
		}
	}
}

func TestServerFigures(t *testing.T) {
	if d, err := CPUTime(nil); d != 0 || err != nil {
		t.Errorf("no processes: %v, %v", d, err)
	}
	// A shell whose child works: only the descendant uses CPU and memory.
	cmd := exec.Command("sh", "-c", "(while :; do :; done) & echo up; wait")
	var out bytes.Buffer
	cmd.Stdout = &out
	setGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		killGroup(cmd)
		_ = cmd.Wait()
	}()
	pids := []int{cmd.Process.Pid}
	var used time.Duration
	for until := time.Now().Add(5 * time.Second); used < 50*time.Millisecond && time.Now().Before(until); {
		time.Sleep(20 * time.Millisecond)
		var err error
		if used, err = CPUTime(pids); err != nil {
			t.Fatal(err)
		}
	}
	if used < 50*time.Millisecond {
		t.Errorf("CPU of the shell and its child: %v", used)
	}
	m, err := Memory(pids)
	if err != nil || m < 10<<10 || m > 100<<20 {
		t.Errorf("memory of the shell and its child: %d, %v", m, err)
	}
	if _, err := Memory([]int{1 << 30}); err == nil {
		t.Error("no error for a process that is not there")
	}
	if own, err := CPUTime([]int{os.Getpid()}); err != nil || own < used {
		t.Errorf("CPU of this process %v is less than its descendant's %v: %v", own, used, err)
	}
}
