package xcap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/store"
	"rollcall/xmltree"
)

// serviceKind says whose a resource list URI is: an owner for each URI, and one
// item.
var serviceKind = store.NewKind("xcap-service", store.Durable, store.Hot)

// staleClaim is after how long a claim without its document may be taken over. A
// writer that claims stores its document in far less.
const staleClaim = time.Minute

// claims are the URIs that a change takes and gives back.
type claims struct {
	user  sip.AOR
	name  string
	taken []string // by this change
	gone  []string // no more in the document
}

func encodeClaim(user sip.AOR, name string, now time.Time) []byte {
	b := binary.BigEndian.AppendUint64([]byte{valueVersion}, uint64(now.Unix()))
	return append(append(append(b, user.String()...), 0), name...)
}

func decodeClaim(b []byte) (user sip.AOR, name string, since time.Time, err error) {
	if len(b) < 9 || b[0] != valueVersion {
		return user, "", since, errors.New("stored form of a service is not known")
	}
	since = time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0)
	aor, name, _ := strings.Cut(string(b[9:]), "\x00")
	user, err = sip.ParseAORString(aor)
	return user, name, since, err
}

// serviceURIs returns the canonical URIs of the services in a document (RFC 4826
// §5).
func serviceURIs(root *xmltree.Element) ([]string, error) {
	var uris []string
	for s := range root.Children(rlsServicesSpace, "service") {
		v, _ := s.Attr("", "uri")
		aor, err := sip.ParseAORString(strings.TrimSpace(v))
		if err != nil {
			return nil, conflict("constraint-failure", "the URI of a service is not a SIP address")
		}
		uris = append(uris, aor.String())
	}
	return uris, nil
}

// claim takes the URIs of the services in next, nil for none, before it is stored.
func (d *Documents) claim(ctx context.Context, user sip.AOR, u *Usage, name string, old *Document, next *xmltree.Element) (*claims, error) {
	c := &claims{user: user, name: name}
	if u.AUID != RLSServices {
		return c, nil
	}
	keep := map[string]bool{}
	if next != nil {
		uris, err := serviceURIs(next)
		if err != nil {
			return nil, err
		}
		for _, uri := range uris {
			if keep[uri] {
				c.undo(ctx, d)
				return nil, d.taken(ctx, uri)
			}
			keep[uri] = true
			if err := d.claimOne(ctx, c, uri); err != nil {
				c.undo(ctx, d)
				return nil, err
			}
		}
	}
	if old != nil {
		if root, err := old.Tree(); err == nil {
			uris, _ := serviceURIs(root)
			for _, uri := range uris {
				if !keep[uri] {
					c.gone = append(c.gone, uri)
				}
			}
		}
	}
	return c, nil
}

func (d *Documents) claimOne(ctx context.Context, c *claims, uri string) error {
	aor, err := sip.ParseAORString(uri)
	if err != nil || !d.o.Accounts.Serves(aor.Domain()) {
		return conflict("constraint-failure", "the URI of a service is not of a domain of this server")
	}
	if is, err := d.o.Accounts.Has(ctx, aor); err != nil {
		return err
	} else if is {
		return d.taken(ctx, uri)
	}
	key := store.Key{Kind: serviceKind, Owner: uri}
	s, err := d.store.Load(ctx, key)
	if err != nil {
		return fmt.Errorf("load service: %w", err)
	}
	if item, ok := s.Get(""); ok {
		user, name, since, err := decodeClaim(item.Value)
		switch {
		case err == nil && user == c.user && name == c.name:
			return nil
		case err == nil:
			stale := time.Since(since) > staleClaim
			if has, err := d.hasService(ctx, user, name, uri); err != nil || has || !stale {
				if err != nil {
					return err
				}
				return d.taken(ctx, uri)
			}
		}
	}
	_, err = d.store.Apply(ctx, key, s.Version, store.Put(store.Item{Value: encodeClaim(c.user, c.name, time.Now())}))
	if errors.Is(err, store.ErrConflict) {
		return d.taken(ctx, uri)
	}
	if err != nil {
		return fmt.Errorf("claim service: %w", err)
	}
	c.taken = append(c.taken, uri)
	return nil
}

// hasService reports whether a document holds a service of the URI.
func (d *Documents) hasService(ctx context.Context, user sip.AOR, name, uri string) (bool, error) {
	e, err := d.serviceIn(ctx, user, name, uri)
	return e != nil, err
}

func (d *Documents) serviceIn(ctx context.Context, user sip.AOR, name, uri string) (*xmltree.Element, error) {
	doc, err := d.Get(ctx, user, RLSServices, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := doc.Tree()
	if err != nil {
		return nil, err
	}
	for s := range root.Children(rlsServicesSpace, "service") {
		v, _ := s.Attr("", "uri")
		if aor, err := sip.ParseAORString(strings.TrimSpace(v)); err == nil && aor.String() == uri {
			return s, nil
		}
	}
	return nil, nil
}

// taken is the conflict for a URI that is in use, with three that are free.
func (d *Documents) taken(ctx context.Context, uri string) error {
	x := Exists{Field: escapeSelector(`rls-services/service[@uri="` + uri + `"]/@uri`)}
	user, domain, _ := strings.Cut(uri, "@")
	for n := 2; n < 12 && len(x.Alt) < 3; n++ {
		alt := user + "-" + strconv.Itoa(n) + "@" + domain
		aor, err := sip.ParseAORString(alt)
		if err != nil {
			break
		}
		is, err := d.o.Accounts.Has(ctx, aor)
		if err != nil || is {
			continue
		}
		if s, err := d.store.Load(ctx, store.Key{Kind: serviceKind, Owner: alt}); err == nil && len(s.Items) == 0 {
			x.Alt = append(x.Alt, alt)
		}
	}
	return &Conflict{Condition: "uniqueness-failure", Exists: []Exists{x}}
}

func (c *claims) undo(ctx context.Context, d *Documents) { c.giveBack(ctx, d, c.taken) }

func (c *claims) release(ctx context.Context, d *Documents) { c.giveBack(ctx, d, c.gone) }

// giveBack removes claims that are still ours. One that stays for a fault is stale
// and does no harm.
func (c *claims) giveBack(ctx context.Context, d *Documents, uris []string) {
	for _, uri := range uris {
		key := store.Key{Kind: serviceKind, Owner: uri}
		s, err := d.store.Load(ctx, key)
		if err == nil {
			item, ok := s.Get("")
			user, name, _, bad := decodeClaim(item.Value)
			if !ok || bad != nil || user != c.user || name != c.name {
				continue
			}
			_, err = d.store.Apply(ctx, key, s.Version, store.Delete(""))
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			d.log.Warn("claim on a list URI stays", zap.Error(err))
		}
	}
}

// Service returns whose resource list the URI is, and its service element (RFC 4826
// §4.5), which must not be changed; or ErrNotFound.
func (d *Documents) Service(ctx context.Context, uri sip.AOR) (sip.AOR, *xmltree.Element, error) {
	s, err := d.store.Load(ctx, store.Key{Kind: serviceKind, Owner: uri.String()})
	if err != nil {
		return sip.AOR{}, nil, fmt.Errorf("load service: %w", err)
	}
	item, ok := s.Get("")
	if !ok {
		return sip.AOR{}, nil, ErrNotFound
	}
	user, name, _, err := decodeClaim(item.Value)
	if err != nil {
		return sip.AOR{}, nil, err
	}
	e, err := d.serviceIn(ctx, user, name, uri.String())
	if err == nil && e == nil {
		err = ErrNotFound
	}
	return user, e, err
}

// globalServices is the index of all services of all users (RFC 4826 §4.4.8).
func (d *Documents) globalServices(ctx context.Context) ([]byte, error) {
	root := xmltree.New(rlsServicesSpace, "", "rls-services")
	bytes := 0
	for uri, err := range d.store.Keys(ctx, serviceKind) {
		if err != nil {
			return nil, fmt.Errorf("list services: %w", err)
		}
		aor, err := sip.ParseAORString(uri)
		if err != nil {
			continue
		}
		_, e, err := d.Service(ctx, aor)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		bytes += len(e.AppendTo(nil))
		if bytes > d.o.GlobalBytes {
			return nil, fault(http.StatusServiceUnavailable, "too many services for one document")
		}
		root.Append(e.Clone())
	}
	return root.Document(), nil
}
