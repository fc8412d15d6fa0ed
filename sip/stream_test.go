package sip_test

import (
	"errors"
	"strings"
	"testing"

	"rollcall/sip"
)

// frames cuts a stream that arrives whole into its messages. The error is that
// of the message that can't be framed.
func frames(b []byte, limit int) (all []string, rest string, err error) {
	for {
		skip, n, err := sip.FrameStream(b, limit)
		b = b[skip:]
		if err != nil || n == 0 {
			return all, string(b), err
		}
		all = append(all, string(b[:n]))
		b = b[n:]
	}
}

func TestFrameStream(t *testing.T) {
	manyLines := replace(t, message, "Content-Length", strings.Repeat("X:\r\n", 1024)+"Content-Length")
	for _, c := range []struct {
		name, in string
		n        int
		rest     string
		status   int
	}{
		{"one", message, 1, "", 0},
		{"two", message + register, 2, "", 0},
		{"keep-alives around", "\r\n\r\n" + message + "\r\n" + register + "\r\n\r\n", 2, "", 0},
		{"keep-alive alone", "\r\n\r\n", 0, "", 0},
		{"half a head", register[:50], 0, register[:50], 0},
		{"half a body", message[:len(message)-3], 0, message[:len(message)-3], 0},
		{"no Content-Length: no body", replace(t, register, "Content-Length: 0\r\n", "") + register, 2, "", 0},
		{"compact and folded", replace(t, message, "Content-Length: 22", "l :\r\n 22"), 1, "", 0},
		{"negative", replace(t, message, ": 22", ": -1"), 0, replace(t, message, ": 22", ": -1"), 400},
		{"doubled", replace(t, message, "Content-Length", "l: 22\r\nContent-Length"), 0, replace(t, message, "Content-Length", "l: 22\r\nContent-Length"), 400},
		{"too large", message + replace(t, message, ": 22", ": 70000"), 1, replace(t, message, ": 22", ": 70000"), 513},
		{"too many lines", manyLines, 0, manyLines, 400},
		{"a head without end", strings.Repeat("x", 70000), 0, strings.Repeat("x", 70000), 513},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, rest, err := frames([]byte(c.in), sip.MaxMessageBytes)
			same(t, "messages", len(all), c.n)
			same(t, "rest", rest, c.rest)
			status := 0
			var fault *sip.Error
			if errors.As(err, &fault) {
				status = fault.Status
			}
			same(t, "status", status, c.status)
		})
	}
}

// TestFrameSplit: wherever the network cuts a stream, the messages are the same.
func TestFrameSplit(t *testing.T) {
	stream := "\r\n\r\n" + message + "\r\n\r\n" + register + message
	want, _, _ := frames([]byte(stream), sip.MaxMessageBytes)
	for cut := range stream {
		same(t, "messages", strings.Join(split(t, stream, cut), "|"), strings.Join(want, "|"))
	}
}

// split feeds a stream in two parts.
func split(t *testing.T, stream string, cut int) []string {
	t.Helper()
	first, rest, err := frames([]byte(stream[:cut]), sip.MaxMessageBytes)
	if err != nil {
		t.Fatalf("cut at %d: %v", cut, err)
	}
	second, _, err := frames([]byte(rest+stream[cut:]), sip.MaxMessageBytes)
	if err != nil {
		t.Fatalf("cut at %d: %v", cut, err)
	}
	return append(first, second...)
}
