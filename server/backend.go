package server

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rollcall/api"
	"rollcall/config"
	"rollcall/registrar"
	"rollcall/sip"
)

// backend is the server as the HTTP side sees it.
type backend struct{ *Server }

var _ api.Backend = backend{}

// Problems implements api.Backend.
func (b backend) Problems(ctx context.Context) []string {
	var list []string
	if b.bound.Load() == nil {
		list = append(list, "listeners: not open yet")
	}
	if b.draining.Load() {
		list = append(list, "server: stopping")
	}
	if b.store.Ping(ctx) != nil {
		list = append(list, "store: not available")
	} else if away, ok := b.clockAway(ctx); ok && away > maxClockAway {
		list = append(list, "clock: "+away.Round(time.Millisecond).String()+" away from the store's, expiries would be wrong")
	}
	if b.journal.Err() != nil {
		list = append(list, "journal: not writing, messages are refused")
	}
	return list
}

// maxClockAway is how far the clock may be from that of a store that others share:
// expiries are absolute times.
const maxClockAway = 2 * time.Second

// clockAway compares the clock with the store's, if the store has one.
func (b backend) clockAway(ctx context.Context) (away time.Duration, ok bool) {
	clock, ok := b.store.(interface {
		Time(ctx context.Context) (time.Time, error)
	})
	if !ok {
		return 0, false
	}
	now, err := clock.Time(ctx)
	return time.Since(now).Abs(), err == nil
}

// Metrics implements api.Backend.
func (b backend) Metrics() http.Handler {
	return promhttp.HandlerFor(b.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Users implements api.Backend.
func (b backend) Users() api.Users { return users{api.NewUsers(b.directory), b.Server} }

// Registrations implements api.Backend.
func (b backend) Registrations(ctx context.Context, aor string) ([]api.Registration, error) {
	list := []api.Registration{}
	if aor != "" {
		a, err := sip.ParseAORString(aor)
		if err != nil {
			return nil, errors.Join(api.ErrInvalid, err)
		}
		known, err := b.directory.Has(ctx, a)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, api.ErrNotFound
		}
		bindings, err := b.registrar.Lookup(ctx, a)
		return appendRegistrations(list, bindings), err
	}
	for bindings, err := range b.registrar.List(ctx) {
		if err != nil {
			return nil, err
		}
		list = appendRegistrations(list, bindings)
	}
	slices.SortStableFunc(list, func(a, b api.Registration) int { return strings.Compare(a.AOR, b.AOR) })
	return list, nil
}

func appendRegistrations(list []api.Registration, bindings []registrar.Binding) []api.Registration {
	for i := range bindings {
		b := &bindings[i]
		r := api.Registration{
			AOR: b.AOR.String(), Contact: b.Contact, Instance: b.Instance, RegID: int(b.RegID), Q: float64(b.Q) / 1000,
			Expires: b.Expires, Path: b.Path, Flow: b.Flow.String(), UserAgent: b.UserAgent, CallID: b.CallID, CSeq: b.CSeq,
		}
		if v, ok := b.Params.Get("methods"); ok {
			for m := range strings.SplitSeq(sip.Unquote(v), ",") {
				r.Methods = append(r.Methods, strings.TrimSpace(m))
			}
		}
		list = append(list, r)
	}
	return list
}

// Status implements api.Backend.
func (b backend) Status(ctx context.Context) (api.Status, error) {
	cfg := b.cfg.Load()
	st := api.Status{
		PID: os.Getpid(), Started: b.started, Config: cfg.Path, Domains: b.domains, HTTP: b.HTTPAddr(), Problems: b.Problems(ctx),
	}
	for i, a := range b.Addrs() {
		st.Listen = append(st.Listen, api.Address{Transport: cfg.Listen[i].Transport, Address: a.String()})
	}
	return st, nil
}

// Reload implements api.Backend: it reads the file again.
func (b backend) Reload(context.Context) error {
	cfg, err := config.Load(b.cfg.Load().Path)
	if err != nil {
		return err
	}
	return b.Server.Reload(cfg)
}

// Streams implements api.Backend.
func (b backend) Streams() *api.Streams { return &b.streams }
