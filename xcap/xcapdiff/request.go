package xcapdiff

import (
	"errors"
	"fmt"
	"strings"

	"rollcall/xcap"
	"rollcall/xmltree"
)

// The types of the bodies of SUBSCRIBE and NOTIFY.
const (
	RequestType = "application/resource-lists+xml"
	Type        = "application/xcap-diff+xml"
)

const (
	listSpace = "urn:ietf:params:xml:ns:resource-lists"
	diffSpace = "urn:ietf:params:xml:ns:xcap-diff"
)

// MaxEntries is how many URIs a subscription may name.
const MaxEntries = 100

// Mode is how changes of documents are told (RFC 5875 §4.3).
type Mode uint8

const (
	NoPatching Mode = iota // old and new entity tag
	Aggregate              // and the patch that leads from one to the other
)

// ParseMode reads the value of diff-processing, "" for none. A mode that is not
// known is told the simplest way.
func ParseMode(value string) Mode {
	if strings.EqualFold(value, "aggregate") {
		return Aggregate
	}
	return NoPatching
}

// Request is what a subscription names.
type Request struct{ selections []xcap.Selection }

// ErrEmpty is a request that names nothing this server has.
var ErrEmpty = errors.New("no XCAP URI in the list is one of this server")

// ParseRequest reads the body of a SUBSCRIBE. URIs are relative to the XCAP root,
// whose path is given, or absolute. What is not understood is passed over (RFC 5875
// §4.4), as are URIs of unknown usages.
func ParseRequest(body []byte, xcapRoot string) (Request, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{})
	if err != nil {
		return Request{}, err
	}
	if !root.Is(listSpace, "resource-lists") {
		return Request{}, errors.New("body is not a resource list")
	}
	var r Request
	n := 0
	for list := range root.Children(listSpace, "list") {
		for entry := range list.Children(listSpace, "entry") {
			if n++; n > MaxEntries {
				return Request{}, fmt.Errorf("more than %d URIs", MaxEntries)
			}
			uri, _ := entry.Attr("", "uri")
			s, err := xcap.ParseSelection(uri, xcapRoot)
			if err == nil {
				r.selections = append(r.selections, s)
			}
		}
	}
	if len(r.selections) == 0 {
		return Request{}, ErrEmpty
	}
	return r, nil
}
