package bench

import "bytes"

const hexDigits = "0123456789abcdef"

func appendHex32(dst []byte, v uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// readHex32 reads eight hex digits at the start of b.
func readHex32(b []byte) (uint32, bool) {
	if len(b) < 8 {
		return 0, false
	}
	var v uint32
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

func appendInt(dst []byte, v uint32) []byte {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return append(dst, b[i:]...)
		}
	}
}

// equalFold compares with an ASCII word in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// eachHeader calls f with the header fields of a message until f returns
// false, and returns where the body begins (the end of the message if there
// is no empty line).
func eachHeader(msg []byte, f func(name, value []byte) bool) int {
	more := true
	at := bytes.IndexByte(msg, '\n') + 1
	if at == 0 {
		return len(msg)
	}
	for at < len(msg) {
		n := bytes.IndexByte(msg[at:], '\n')
		if n < 0 {
			return len(msg)
		}
		line := msg[at : at+n]
		at += n + 1
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) == 0 {
			return at
		}
		if colon := bytes.IndexByte(line, ':'); more && colon > 0 {
			name := bytes.TrimRight(line[:colon], " \t")
			more = f(name, bytes.TrimSpace(line[colon+1:]))
		}
	}
	return len(msg)
}

// statusOf returns the status code of an answer, 0 if msg is none.
func statusOf(msg []byte) int {
	if len(msg) < 12 || string(msg[:8]) != "SIP/2.0 " {
		return 0
	}
	code := 0
	for _, c := range msg[8:11] {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 699 {
		return 0
	}
	return code
}

var endOfHeaders = []byte("\r\n\r\n")

// frame finds the first message of a stream (RFC 3261 §18.3). It returns how
// many bytes of CRLF precede it and how long it is; size 0 means that more
// bytes are needed.
func frame(b []byte) (skip, size int, err error) {
	for skip < len(b) && (b[skip] == '\r' || b[skip] == '\n') {
		skip++
	}
	b = b[skip:]
	end := bytes.Index(b, endOfHeaders)
	if end < 0 {
		if len(b) > maxMessage {
			return skip, 0, errFrame
		}
		return skip, 0, nil
	}
	length := -1
	eachHeader(b[:end+4], func(name, value []byte) bool {
		if !equalFold(name, "content-length") && !equalFold(name, "l") {
			return true
		}
		length = 0
		for _, c := range value {
			if c < '0' || c > '9' || length > maxMessage {
				length = -1
				break
			}
			length = length*10 + int(c-'0')
		}
		return false
	})
	if length < 0 || length > maxMessage {
		return skip, 0, errFrame
	}
	size = end + 4 + length
	if size > len(b) {
		return skip, 0, nil
	}
	return skip, size, nil
}

// eachFrame calls f for each whole message of a stream and returns the bytes
// that are left.
func eachFrame(b []byte, i int, f func(i int, msg []byte)) ([]byte, error) {
	for len(b) > 0 {
		skip, size, err := frame(b)
		if err != nil {
			return nil, err
		}
		b = b[skip:]
		if size == 0 {
			break
		}
		f(i, b[:size])
		b = b[size:]
	}
	return b, nil
}
