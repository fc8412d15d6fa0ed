package integration

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
)

// packet is a SIP message as this package's own client reads and writes it.
type packet struct {
	first  string // request line or status line
	header []field
	body   string
}

type field struct{ name, value string }

var longNames = map[string]string{"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length", "c": "Content-Type"}

// parsePacket reads one message that came whole.
func parsePacket(b []byte) (*packet, error) {
	return readPacket(bufio.NewReader(bytes.NewReader(b)), len(b))
}

// readPacket reads one message off a stream; atMost bounds its body, and stands
// for a Content-Length that is not there.
func readPacket(r *bufio.Reader, atMost int) (*packet, error) {
	t := textproto.NewReader(r)
	p := &packet{}
	for p.first == "" { // line ends between messages are keep-alives
		line, err := t.ReadLine()
		if err != nil {
			return nil, err
		}
		p.first = line
	}
	for {
		line, err := t.ReadContinuedLine()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q", line)
		}
		name = strings.TrimSpace(name)
		if long := longNames[strings.ToLower(name)]; long != "" {
			name = long
		}
		p.header = append(p.header, field{name, strings.TrimSpace(value)})
	}
	size := -1
	if v := p.get("Content-Length"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > atMost {
			return nil, fmt.Errorf("Content-Length %q", v)
		}
		size = n
	}
	if size < 0 {
		body, err := io.ReadAll(r)
		p.body = string(body)
		return p, err
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	p.body = string(body)
	return p, err
}

// get returns the first value of a header, all returns every line's.
func (p *packet) get(name string) string {
	if all := p.all(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (p *packet) all(name string) []string {
	var values []string
	for _, f := range p.header {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// set replaces all lines of a header, in the place of the first.
func (p *packet) set(name, value string) {
	var out []field
	done := false
	for _, f := range p.header {
		if !strings.EqualFold(f.name, name) {
			out = append(out, f)
		} else if !done {
			out, done = append(out, field{name, value}), true
		}
	}
	if !done {
		out = append(out, field{name, value})
	}
	p.header = out
}

func (p *packet) drop(name string) {
	var out []field
	for _, f := range p.header {
		if !strings.EqualFold(f.name, name) {
			out = append(out, f)
		}
	}
	p.header = out
}

// bytes writes the message, with the Content-Length of its body.
func (p *packet) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(p.first + "\r\n")
	for _, f := range p.header {
		if !strings.EqualFold(f.name, "Content-Length") {
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(p.body), p.body)
	return b.Bytes()
}

// status is the code of an answer, 0 for a request.
func (p *packet) status() int {
	if !strings.HasPrefix(p.first, "SIP/2.0 ") || len(p.first) < 11 {
		return 0
	}
	n, _ := strconv.Atoi(p.first[8:11])
	return n
}

func (p *packet) method() string {
	method, _, _ := strings.Cut(p.first, " ")
	return method
}

var branchParameter = regexp.MustCompile(`(?i);\s*branch=([^;,\s]+)`)

// branch is that of the top Via.
func (p *packet) branch() string {
	top, _, _ := strings.Cut(p.get("Via"), ",")
	if m := branchParameter.FindStringSubmatch(top); m != nil {
		return m[1]
	}
	return ""
}

// key is what a request has in common with the copies of it that a proxy
// forwards.
func (p *packet) key() string { return p.get("Call-ID") + " " + p.get("CSeq") }

// answer makes the answer to a request (RFC 3261 §8.2.6).
func (p *packet) answer(status int, reason, tag string) *packet {
	a := &packet{first: fmt.Sprintf("SIP/2.0 %d %s", status, reason)}
	for _, f := range p.header {
		switch strings.ToLower(f.name) {
		case "via", "from", "call-id", "cseq":
			a.header = append(a.header, f)
		case "to":
			if !strings.Contains(f.value, ";tag=") {
				f.value += ";tag=" + tag
			}
			a.header = append(a.header, f)
		}
	}
	return a
}

// challenge is one of a 401 or 407.
type challenge struct {
	proxy                           bool
	realm, nonce, algorithm, opaque string
	stale, qop                      bool
	count                           int
}

var parameter = regexp.MustCompile(`([a-zA-Z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))`)

// challenged returns the first challenge of an answer that this client knows,
// which is the server's preferred one (RFC 8760 §2.3).
func challenged(a *packet) *challenge {
	name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[a.status()]
	for _, value := range a.all(name) {
		c := &challenge{proxy: a.status() == 407, algorithm: "MD5"}
		for _, m := range parameter.FindAllStringSubmatch(value, -1) {
			v := m[2] + m[3]
			switch strings.ToLower(m[1]) {
			case "realm":
				c.realm = v
			case "nonce":
				c.nonce = v
			case "algorithm":
				c.algorithm = strings.ToUpper(v)
			case "opaque":
				c.opaque = v
			case "stale":
				c.stale = strings.EqualFold(v, "true")
			case "qop":
				c.qop = true
			}
		}
		if c.algorithm == "MD5" || c.algorithm == "SHA-256" {
			return c
		}
	}
	return nil
}

// sign puts the credentials into a request (RFC 7616 §3.4).
func (c *challenge) sign(p *packet, user, password string) {
	newHash := md5.New
	if c.algorithm == "SHA-256" {
		newHash = sha256.New
	}
	method, rest, _ := strings.Cut(p.first, " ")
	uri, _, _ := strings.Cut(rest, " ")
	c.count++
	nc, cnonce := fmt.Sprintf("%08x", c.count), token()
	a1, a2 := digest(newHash, user, c.realm, password), digest(newHash, method, uri)
	value := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s`, user, c.realm, c.nonce, uri, c.algorithm)
	if c.qop {
		value += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, nc, cnonce, digest(newHash, a1, c.nonce, nc, cnonce, "auth", a2))
	} else {
		value += fmt.Sprintf(`, response="%s"`, digest(newHash, a1, c.nonce, a2))
	}
	if c.opaque != "" {
		value += fmt.Sprintf(`, opaque="%s"`, c.opaque)
	}
	name := "Authorization"
	if c.proxy {
		name = "Proxy-Authorization"
	}
	p.set(name, value)
}

func digest(newHash func() hash.Hash, parts ...string) string {
	h := newHash()
	io.WriteString(h, strings.Join(parts, ":"))
	return hex.EncodeToString(h.Sum(nil))
}

func token() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}
