package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"rollcall/archive"
)

// Open reads the URL of a place: file:/path, http: or https:, syslog://host:port (UDP),
// syslog+tcp://host:port, or syslog:/dev/log. Key is the verifier key of a witness that
// signs, or "".
func Open(text, key string, folder archive.Folder) (Place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	path := u.Path
	if path == "" {
		path = u.Opaque
	}
	switch {
	case key != "" && u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("witness: only one over http signs and has a key")
	case u.Scheme == "file" && strings.HasPrefix(path, "/"):
		return file(path), nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return newServer(text, key, folder)
	case u.Scheme == "syslog" && u.Host == "" && strings.HasPrefix(path, "/"):
		return syslog{text, "unixgram", path}, nil
	case (u.Scheme == "syslog" || u.Scheme == "syslog+tcp") && u.Port() != "":
		network := "udp"
		if u.Scheme == "syslog+tcp" {
			network = "tcp"
		}
		return syslog{text, network, u.Host}, nil
	}
	return nil, fmt.Errorf("witness %q: write file:/path, https://host/path, syslog://host:514, syslog+tcp://host:601 or syslog:/dev/log", text)
}

// file is a file that checkpoints are appended to, each with an empty line behind it. It
// should lie on another machine, or on a medium that is written once.
type file string

func (f file) String() string { return "file:" + string(f) }

// Take implements Place.
func (f file) Take(_ context.Context, signed []byte) ([]byte, error) {
	out, err := os.OpenFile(string(f), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	entry := append(bytes.Clone(signed), '\n')
	if torn(out) { // what was cut off stays a part by itself
		entry = append([]byte("\n\n"), entry...)
	}
	_, err = out.Write(entry)
	return nil, errors.Join(err, out.Sync(), out.Close())
}

// torn reports a file whose last entry does not end with its empty line.
func torn(f *os.File) bool {
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return false
	}
	var end [2]byte
	n, _ := f.ReadAt(end[:], max(fi.Size()-2, 0)) // what can't be read does not end well
	return string(end[:n]) != "\n\n"
}

// syslog is a syslog server; the checkpoint is the message, in base 64.
type syslog struct{ name, network, address string }

func (s syslog) String() string { return s.name }

// priority is facility 13, log audit, severity 5, notice (RFC 5424 §6.2.1).
const priority = 13*8 + 5

// Take implements Place.
func (s syslog) Take(ctx context.Context, signed []byte) ([]byte, error) {
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, s.network, s.address)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	m := fmt.Sprintf("<%d>1 %s %s rollcall %d checkpoint - %s %d %s %s", priority, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), host, os.Getpid(),
		cp.Origin, cp.Size, cp.Root, base64.StdEncoding.EncodeToString(signed))
	if s.network == "tcp" { // octet counting of syslog over TCP
		m = strconv.Itoa(len(m)) + " " + m
	}
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at)
	}
	_, err = c.Write([]byte(m))
	return nil, errors.Join(err, c.Close())
}
