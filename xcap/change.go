package xcap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"rollcall/sip"
	"rollcall/store"
	"rollcall/xmltree"
)

// edit is what a document is to become; a nil root is none.
type edit struct {
	root *xmltree.Element
	body []byte
}

// whole is a document that came as one.
func (d *Documents) whole(u *Usage, body []byte) (edit, error) {
	limit := d.limit(u)
	if len(body) > limit {
		return edit{}, fault(http.StatusRequestEntityTooLarge, "document is too large")
	}
	root, err := xmltree.Parse(body, limitsFor(limit))
	if err != nil {
		return edit{}, parseFault(err, "not-well-formed")
	}
	return edit{root, bytes.Clone(body)}, nil
}

func (d *Documents) limit(u *Usage) int {
	if u.icon {
		return d.o.IconBytes
	}
	return d.o.Bytes
}

// changeTries bounds the loop over conflicts with other writers.
const changeTries = 100

// change lets decide make the next version of a document from the present one, nil
// for none, and stores it if it is valid. It may ask several times. It returns the
// new document, nil if it was deleted, and whether it was created.
func (d *Documents) change(ctx context.Context, user sip.AOR, u *Usage, name string, decide func(old *Document) (edit, error)) (doc *Document, created bool, err error) {
	key := store.Key{Kind: documentKind, Owner: owner(user, u.AUID)}
	d.beginWrite(key.Owner)
	defer d.endWrite(ctx, key.Owner)
	for range changeTries {
		s, err := d.load(ctx, user, u.AUID)
		if err != nil {
			return nil, false, err
		}
		old := s.get(name)
		e, err := decide(old)
		if err != nil {
			return nil, false, err
		}
		if e.root != nil {
			if err := d.admit(u, s, old, name, &e); err != nil {
				return nil, false, err
			}
			if err := d.keepApart(ctx, user, u, old, e.root); err != nil {
				return nil, false, err
			}
			doc = newDocument(user, u.AUID, name, e.body)
			if old != nil && old.ETag == doc.ETag {
				return doc, false, nil
			}
		}
		claims, err := d.claim(ctx, user, u, name, old, e.root)
		if err != nil {
			return nil, false, err
		}
		change := store.Delete(name)
		if doc != nil {
			change = store.Put(store.Item{ID: name, Value: append([]byte{valueVersion}, e.body...)})
		}
		moment := d.cache.moment()
		version, err := d.store.Apply(ctx, key, s.version, change)
		if err != nil {
			d.cache.drop(key.Owner)
			claims.undo(ctx, d)
			if errors.Is(err, store.ErrConflict) {
				doc = nil
				continue
			}
			return nil, false, fmt.Errorf("store document of %s: %w", user, err)
		}
		d.cache.replace(key.Owner, s.with(version, name, doc), moment, time.Now())
		claims.release(ctx, d)
		d.tell(Change{User: user, AUID: u.AUID, Name: name, Old: old, New: doc})
		return doc, old == nil, nil
	}
	return nil, false, fmt.Errorf("document of %s: %w", user, store.ErrConflict)
}

// admit holds a new version to limits and schema.
func (d *Documents) admit(u *Usage, s *set, old *Document, name string, e *edit) error {
	switch {
	case u.only != "" && name != u.only:
		return conflict("constraint-failure", "the document of this usage is named %s", u.only)
	case len(e.body) > d.limit(u):
		return fault(http.StatusRequestEntityTooLarge, "document is too large")
	case old == nil && len(s.docs) >= d.o.PerUsage:
		return fault(http.StatusInsufficientStorage, "too many documents")
	}
	return u.validate(e.root)
}
