package sip

import "time"

// FormatDate writes a Date header value: RFC 1123, always GMT (RFC 3261 §20.17).
func FormatDate(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }

// ParseDate reads one; any other zone than GMT is no SIP-date.
func ParseDate(s string) (time.Time, error) {
	return time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", trim(s))
}
