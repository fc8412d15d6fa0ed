package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// Client speaks to a running server over its control socket. It is safe for concurrent use.
type Client struct {
	// As names the person for whom acts on the record are done; it is recorded beside the user of the operating system.
	As   string
	http *http.Client
}

var _ Users = (*Client)(nil)

// ErrNoServer means that no server listens on the socket: there is none, or one was killed and left it behind.
var ErrNoServer = errors.New("no server is running")

// Dial returns a client of the server behind the socket, or ErrNoServer. A socket that this user may not open is
// another error: a server may be there.
func Dial(ctx context.Context, socket string) (*Client, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	}
	conn, err := dial(ctx)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("control socket %s: %w; run it as the user of the server", socket, os.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("%w on %s", ErrNoServer, socket)
	}
	conn.Close()
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}, nil
}

// Close ends idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Status describes the server.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, "/api/v1/status", nil, &s)
}

// Reload has the server read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/api/v1/reload", struct{}{}, nil)
}

// Registrations is Backend.Registrations.
func (c *Client) Registrations(ctx context.Context, aor string) ([]Registration, error) {
	var regs []Registration
	err := c.call(ctx, http.MethodGet, "/api/v1/registrations?aor="+url.QueryEscape(aor), nil, &regs)
	return regs, err
}

// Presence is Backend.Presence.
func (c *Client) Presence(ctx context.Context, aor string) (Presence, error) {
	var p Presence
	err := c.call(ctx, http.MethodGet, "/api/v1/presence/"+url.PathEscape(aor), nil, &p)
	return p, err
}

// Subscriptions is Backend.Subscriptions.
func (c *Client) Subscriptions(ctx context.Context, aor string) ([]Subscription, error) {
	var subs []Subscription
	err := c.call(ctx, http.MethodGet, "/api/v1/subscriptions?aor="+url.QueryEscape(aor), nil, &subs)
	return subs, err
}

// Explain is Backend.Explain.
func (c *Client) Explain(ctx context.Context, watcher, presentity string) (Explanation, error) {
	var x Explanation
	q := url.Values{"watcher": {watcher}, "presentity": {presentity}}
	err := c.call(ctx, http.MethodGet, "/api/v1/explain?"+q.Encode(), nil, &x)
	return x, err
}

// Add is Users.Add.
func (c *Client) Add(ctx context.Context, u User, password string) error {
	return c.call(ctx, http.MethodPost, "/api/v1/users", addUser{User: u, Password: password}, nil)
}

// SetPassword is Users.SetPassword.
func (c *Client) SetPassword(ctx context.Context, aor, password string) error {
	return c.call(ctx, http.MethodPatch, "/api/v1/users/"+url.PathEscape(aor), changeUser{Password: &password}, nil)
}

// SetDisabled is Users.SetDisabled.
func (c *Client) SetDisabled(ctx context.Context, aor string, disabled bool) error {
	return c.call(ctx, http.MethodPatch, "/api/v1/users/"+url.PathEscape(aor), changeUser{Disabled: &disabled}, nil)
}

// Delete is Users.Delete.
func (c *Client) Delete(ctx context.Context, aor, reason string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/users/"+url.PathEscape(aor)+"?"+url.Values{"reason": {reason}}.Encode(), nil, nil)
}

// List is Users.List.
func (c *Client) List(ctx context.Context, each func(User) error) error {
	res, err := c.do(ctx, http.MethodGet, "/api/v1/users", "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(bufio.NewReaderSize(res.Body, 64<<10))
	for {
		var u User
		if err := d.Decode(&u); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		if err := each(u); err != nil {
			return err
		}
	}
}

// Import is Users.Import.
func (c *Client) Import(ctx context.Context, csv io.Reader, progress func(done int)) (Imported, error) {
	res, err := c.do(ctx, http.MethodPost, "/api/v1/users/import", "text/csv", io.NopCloser(csv))
	if err != nil {
		return Imported{}, err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	for {
		var line importLine
		if err := d.Decode(&line); err != nil {
			return Imported{}, fmt.Errorf("import: the server ended the answer early: %w", err)
		}
		switch {
		case line.Failure != nil:
			return Imported{}, line.Failure.err()
		case line.Imported != nil:
			return *line.Imported, nil
		case progress != nil:
			progress(line.Done)
		}
	}
}

// Export is Users.Export.
func (c *Client) Export(ctx context.Context, csv io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, "/api/v1/users/export", "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(csv, res.Body); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// Trace calls each with the SIP messages that q asks for, as they come and go, until ctx ends or each gives an error.
func (c *Client) Trace(ctx context.Context, q TraceQuery, each func(Traced) error) error {
	v := url.Values{"bodies": {strconv.FormatBool(q.Bodies)}}
	for name, value := range map[string]string{"aor": q.AOR, "call_id": q.CallID, "reason": q.Reason} {
		if value != "" {
			v.Set(name, value)
		}
	}
	res, err := c.do(ctx, http.MethodGet, "/api/v1/trace?"+v.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("trace: %w", err)
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		var t Traced
		if err := json.Unmarshal(data, &t); err != nil {
			return fmt.Errorf("trace: %w", err)
		}
		if err := each(t); err != nil {
			return err
		}
	}
}

// call sends v as JSON, if it is not nil, and reads the answer into out, if that is not nil.
func (c *Client) call(ctx context.Context, method, path string, v, out any) error {
	var body io.Reader
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := c.do(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer of the server: %w", err)
	}
	return nil
}

// do sends a request and turns an answer that is not 2xx into the error it stands for.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	return c.doAccept(ctx, method, path, "", contentType, body)
}

// doAccept is do with a type that the answer should have.
func (c *Client) doAccept(ctx context.Context, method, path, accept, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://rollcall"+path, body)
	if err != nil {
		return nil, err
	}
	if c.As != "" {
		req.Header.Set(asHeader, c.As)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the made-up URL
		}
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("ask the server: it answered %s", res.Status)
	}
	return nil, f.err()
}

func (f *failure) err() error {
	for _, k := range kinds {
		if k.kind == f.Kind {
			return &namedError{f.Error, k.err}
		}
	}
	return errors.New(f.Error)
}
