package event

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
)

// kindPublication holds what is published: the owner is package and resource, an
// item is one publication.
var kindPublication = store.NewKind("publication", store.Soft, store.Hot).WithHints()

func publicationKey(pkg string, aor sip.AOR) store.Key {
	return store.Key{Kind: kindPublication, Owner: pkg + " " + aor.String()}
}

const publicationVersion = 1

var errPublication = errors.New("malformed stored publication")

// stored is a publication with what only the compositor looks at.
type stored struct {
	Publication
	flow transport.Flow
}

func (p *stored) item() store.Item {
	b := make([]byte, 0, 256+len(p.Body))
	lost := byte(0)
	if p.Lost {
		lost = 1
	}
	b = append(b, publicationVersion, lost)
	for _, t := range [...]string{p.ETag, p.Publisher.String(), p.Device, p.Type} {
		b = appendText(b, t)
	}
	b = appendTime(appendTime(b, p.Created), p.Changed)
	flow, _ := p.flow.AppendBinary(nil) // never fails
	b = appendText(b, string(flow))
	b = binary.AppendUvarint(b, uint64(len(p.Body)))
	return store.Item{ID: p.ID, Value: append(b, p.Body...), Expires: p.Expires}
}

func decodePublication(i store.Item) (p stored, err error) {
	if len(i.Value) < 2 || i.Value[0] != publicationVersion {
		return p, errPublication
	}
	r := reader{b: i.Value[2:]}
	p.ID, p.Lost, p.Expires = i.ID, i.Value[1] == 1, i.Expires
	p.ETag, p.Publisher, p.Device, p.Type = r.text(), r.aor(), r.text(), r.text()
	p.Created, p.Changed = r.time(), r.time()
	flow := r.text()
	p.Body = []byte(r.text())
	if r.bad || p.flow.UnmarshalBinary([]byte(flow)) != nil {
		return p, errPublication
	}
	p.Source = sourceOf(p.flow)
	return p, nil
}

// sourceOf tells one socket of a client from others, whichever of ours it is at.
func sourceOf(f transport.Flow) string { return f.Proto.String() + " " + f.Remote.String() }

// load returns the publications of a resource.
func (n *Notifier) load(ctx context.Context, pkg string, aor sip.AOR) ([]stored, store.Version, error) {
	set, err := n.o.Store.Load(ctx, publicationKey(pkg, aor))
	if err != nil {
		return nil, 0, fmt.Errorf("load publications of %s: %w", aor, err)
	}
	list := make([]stored, 0, len(set.Items))
	for _, item := range set.Items {
		p, err := decodePublication(item)
		if err != nil {
			n.o.Log.Warn("stored publication is not readable", zap.String("aor", aor.String()), zap.Error(err))
			continue
		}
		list = append(list, p)
	}
	return list, set.Version, nil
}

// publications returns what is published, parsed. Fresh has by entity-tag what was
// parsed a moment ago.
func (n *Notifier) publications(ctx context.Context, k *pack, aor sip.AOR, fresh map[string]any) ([]Publication, error) {
	if k.publish == nil {
		return nil, nil
	}
	list, _, err := n.load(ctx, k.spec.Name, aor)
	if err != nil {
		return nil, err
	}
	pubs := make([]Publication, 0, len(list))
	for i := range list {
		p := list[i].Publication
		if v, ok := fresh[p.ETag]; ok {
			p.Parsed = v
		} else if p.Parsed, _, _, err = k.publish.Parse(aor, p.Type, p.Body, nil); err != nil {
			n.o.Log.Warn("stored publication is not readable", zap.String("aor", aor.String()), zap.Error(err))
			continue
		}
		pubs = append(pubs, p)
	}
	return pubs, nil
}
