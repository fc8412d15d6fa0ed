package api

import "net/http"

// counted keeps the status of an answer.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController what it looks for.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// counting tells the backend of each request: the pattern of its route, "" for none, and
// the status of its answer.
func counting(b Checker, patternOf func(*http.Request) string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counted{ResponseWriter: w}
		defer func() { b.CountRequest(patternOf(r), c.status) }()
		h.ServeHTTP(c, r)
	})
}
