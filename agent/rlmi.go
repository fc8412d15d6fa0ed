package agent

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"strings"
)

const (
	typeRLMI = "application/rlmi+xml"
	// maxResources bounds the members of a list that are shown.
	maxResources = 2000
)

// listed is what a list says of one of its members.
type listed struct {
	uri, name string
	state     string // active, pending, terminated; "" when it is not said
	reason    string
	presence  *Presence // nil when there is no document of it
}

// readList reads the state of a resource list (RFC 4662 §5): a multipart/related whose
// first part is the list, and the others the documents that it refers to.
func readList(contentType string, body []byte) ([]listed, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("content type: %w", err)
	}
	parts := map[string][]byte{}
	var meta []byte
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for len(parts) <= maxResources {
		p, err := r.NextRawPart()
		if err != nil {
			break // the end, or what is not to be read
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(p); err != nil {
			return nil, fmt.Errorf("part of a list: %w", err)
		}
		media, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		if id := strings.Trim(p.Header.Get("Content-Id"), "<> "); meta == nil && strings.EqualFold(strings.TrimSpace(media), typeRLMI) {
			meta = b.Bytes()
		} else if id != "" {
			parts[id] = b.Bytes()
		}
	}
	if meta == nil {
		return nil, errors.New("no list in it")
	}
	var doc struct {
		Resources []struct {
			URI       string   `xml:"uri,attr"`
			Names     []string `xml:"name"`
			Instances []struct {
				State  string `xml:"state,attr"`
				Reason string `xml:"reason,attr"`
				CID    string `xml:"cid,attr"`
			} `xml:"instance"`
		} `xml:"resource"`
	}
	if err := xml.Unmarshal(meta, &doc); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var list []listed
	for _, r := range doc.Resources {
		if len(list) == maxResources {
			break
		}
		l := listed{uri: r.URI}
		if len(r.Names) > 0 {
			l.name = strings.TrimSpace(r.Names[0])
		}
		if len(r.Instances) > 0 { // of several the first
			i := r.Instances[0]
			l.state, l.reason = i.State, i.Reason
			if b, ok := parts[i.CID]; ok {
				if p, err := readPIDF(b); err == nil {
					l.presence = &p
				}
			}
		}
		list = append(list, l)
	}
	return list, nil
}

// reportList reports the members of a list. w.mu is held.
func (s *subscription) reportList(list []listed) {
	for _, l := range list {
		e := Event{From: l.uri, Display: l.name}
		switch {
		case l.presence != nil:
			e.Presence, e.Text = *l.presence, l.presence.Word()
			s.report(State, e)
		case l.state == "pending":
			s.report(Pending, e)
		case l.state == "terminated":
			e.Reason = "ended by the server"
			if l.reason != "" {
				e.Reason += ": " + l.reason
			}
			s.report(Unwatched, e)
		}
	}
}
