package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// target is what a URL says.
type target struct {
	redis.UniversalOptions
	tls bool
}

// parse reads a store URL. It is not net/url's work: a list of hosts with ports
// is no URL authority. Errors never hold the URL, which may hold a password.
func parse(raw string) (t target, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return t, errors.New("store url has no scheme")
	}
	scheme, t.tls = strings.CutPrefix(strings.Replace(scheme, "rediss", "tls:redis", 1), "tls:")
	if strings.ContainsAny(rest, "?#") {
		return t, errors.New("store url has a query, which means nothing here")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		if t.Username, err = url.PathUnescape(user); err == nil {
			t.Password, err = url.PathUnescape(password)
		}
		if err != nil {
			return t, errors.New("store url has a user or password that is not well escaped")
		}
		authority = authority[at+1:]
	}
	port := "6379"
	var parts []string
	if path = strings.TrimSuffix(path, "/"); path != "" {
		parts = strings.Split(path, "/")
	}
	db := ""
	switch scheme {
	case "redis":
		if len(parts) > 1 || strings.Contains(authority, ",") {
			return t, errors.New("store url: want redis://host:port/db")
		}
		if len(parts) == 1 {
			db = parts[0]
		}
	case "redis+sentinel":
		port = "26379"
		if len(parts) == 0 || len(parts) > 2 {
			return t, errors.New("store url: want redis+sentinel://host,host/master")
		}
		if t.MasterName, err = url.PathUnescape(parts[0]); err != nil {
			return t, errors.New("store url has a master name that is not well escaped")
		}
		if len(parts) == 2 {
			db = parts[1]
		}
	case "redis+cluster":
		if len(parts) != 0 {
			return t, errors.New("store url: a cluster has no databases")
		}
		t.IsClusterMode = true
	default:
		return t, fmt.Errorf("store url has the scheme %q, want redis, rediss, redis+sentinel or redis+cluster", scheme)
	}
	if db != "" {
		if t.DB, err = strconv.Atoi(db); err != nil || t.DB < 0 {
			return t, fmt.Errorf("store url has the database %q, want a number", db)
		}
	}
	for _, host := range strings.Split(authority, ",") {
		if t.Addrs, err = appendAddr(t.Addrs, host, port); err != nil {
			return t, err
		}
	}
	return t, nil
}

func appendAddr(addrs []string, host, port string) ([]string, error) {
	name, given, err := net.SplitHostPort(host)
	if err != nil {
		name, given = strings.Trim(host, "[]"), port
	}
	if n, err := strconv.ParseUint(given, 10, 16); err != nil || n == 0 || name == "" {
		return nil, fmt.Errorf("store url has the host %q", host)
	}
	return append(addrs, net.JoinHostPort(name, given)), nil
}

// complete adds what is not in the URL. Nothing is tried again by the client: an
// Apply whose answer is lost may have been done.
func complete(t target, o Options) *redis.UniversalOptions {
	u := &t.UniversalOptions
	if o.Username != "" {
		u.Username = o.Username
	}
	if o.Password != "" {
		u.Password = o.Password
	}
	u.SentinelUsername, u.SentinelPassword = o.SentinelUsername, o.SentinelPassword
	if t.tls {
		u.TLSConfig = o.TLS.Clone()
		if u.TLSConfig == nil {
			u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	u.MaxRetries = -1
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	u.DialerRetries = 1
	u.PoolSize, u.MaxActiveConns, u.PipelinePoolSize = 16, 16, 4
	u.DisableIdentity = true
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return u
}

// clientLogger drops what the client would print: each error reaches a caller.
type clientLogger struct{}

func (clientLogger) Printf(context.Context, string, ...any) {}

var quiet sync.Once
