package sip

import "strconv"

// Error is both a Go error and the answer that the peer must hear.
type Error struct {
	Status  int    // SIP status code
	Reason  string // reason phrase; "" means the standard one
	Headers []Field
	Cause   error // for logs; never sent
}

// Field is one header field to be written.
type Field struct{ Name, Value string }

// NewError makes an answer; reason says what was wrong, in the peer's words.
func NewError(status int, reason string, headers ...Field) *Error {
	return &Error{Status: status, Reason: reason, Headers: headers}
}

// Error implements error.
func (e *Error) Error() string {
	s := strconv.Itoa(e.Status) + " " + e.Text()
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Text returns the reason phrase.
func (e *Error) Text() string {
	if e.Reason != "" {
		return e.Reason
	}
	return StatusText(e.Status)
}

// Status codes that this server sends or looks at (RFC 3261 §21 and the RFC
// named beside each).
const (
	StatusTrying              = 100
	StatusOK                  = 200
	StatusAccepted            = 202 // RFC 3428 §7
	StatusBadRequest          = 400
	StatusUnauthorized        = 401
	StatusForbidden           = 403
	StatusNotFound            = 404
	StatusMethodNotAllowed    = 405
	StatusNotAcceptable       = 406
	StatusProxyAuthRequired   = 407
	StatusRequestTimeout      = 408
	StatusConditionalFailed   = 412 // RFC 3903 §11.2.1
	StatusTooLarge            = 413
	StatusURITooLong          = 414
	StatusUnsupportedMedia    = 415
	StatusUnsupportedScheme   = 416
	StatusBadExtension        = 420
	StatusIntervalTooBrief    = 423
	StatusFlowFailed          = 430 // RFC 5626 §11.5
	StatusTemporarilyUnavail  = 480
	StatusNoDialog            = 481
	StatusLoopDetected        = 482
	StatusTooManyHops         = 483
	StatusBadEvent            = 489 // RFC 6665 §8.3.2
	StatusServerError         = 500
	StatusNotImplemented      = 501
	StatusServiceUnavailable  = 503
	StatusServerTimeout       = 504
	StatusVersionNotSupported = 505
	StatusMessageTooLarge     = 513
	StatusDecline             = 603
	StatusNotAcceptableGlobal = 606
)

var statusText = map[int]string{
	100: "Trying", 200: "OK", 202: "Accepted",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 412: "Conditional Request Failed",
	413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
	420: "Bad Extension", 423: "Interval Too Brief", 430: "Flow Failed", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 486: "Busy Here", 489: "Bad Event",
	500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable", 504: "Server Time-out",
	505: "Version Not Supported", 513: "Message Too Large", 603: "Decline", 606: "Not Acceptable",
}

// StatusText returns the reason phrase of a status code, or its class's.
func StatusText(status int) string {
	if s, ok := statusText[status]; ok {
		return s
	}
	return [...]string{"Unknown", "Trying", "OK", "Redirect", "Request Failure", "Server Failure", "Global Failure"}[min(max(status/100, 0), 6)]
}

func itoa(n int) string { return strconv.Itoa(n) }
