package xcap

import (
	"errors"
	"fmt"
	"net/http"

	"rollcall/xmltree"
)

// errorSpace is the namespace of conflict reports (RFC 4825 §11.2).
const errorSpace = "urn:ietf:params:xml:ns:xcap-error"

// Conflict is why a change is refused with 409 (RFC 4825 §11).
type Conflict struct {
	Condition string // the error element, such as schema-validation-error
	Phrase    string // for a human reader
	Ancestor  string // no-parent: the closest URI that is there
	Exists    []Exists
}

// Exists is a value that must be unique and is not.
type Exists struct {
	Field string   // node selector, percent-encoded
	Alt   []string // values that are free
}

func (c *Conflict) Error() string { return fmt.Sprintf("%s: %s", c.Condition, c.Phrase) }

func conflict(condition, phrase string, args ...any) *Conflict {
	return &Conflict{Condition: condition, Phrase: fmt.Sprintf(phrase, args...)}
}

// document is the body of the answer.
func (c *Conflict) document() []byte {
	root := xmltree.New(errorSpace, "", "xcap-error")
	e := xmltree.New(errorSpace, "", c.Condition)
	if c.Phrase != "" && c.Condition != "uniqueness-failure" {
		e.SetAttr("", "phrase", c.Phrase)
	}
	if c.Ancestor != "" {
		a := xmltree.New(errorSpace, "", "ancestor")
		a.SetText(c.Ancestor)
		e.Append(a)
	}
	for _, x := range c.Exists {
		exists := xmltree.New(errorSpace, "", "exists")
		exists.SetAttr("", "field", x.Field)
		for _, v := range x.Alt {
			alt := xmltree.New(errorSpace, "", "alt-value")
			alt.SetText(v)
			exists.Append(alt)
		}
		e.Append(exists)
	}
	root.Append(e)
	return root.Document()
}

// Fault is any other answer than success: an HTTP status and a reason of one line.
type Fault struct {
	Status int
	Reason string
	Allow  string // of 405
}

func (f *Fault) Error() string { return fmt.Sprintf("%d %s", f.Status, f.Reason) }

func fault(status int, reason string) *Fault { return &Fault{Status: status, Reason: reason} }

var (
	// ErrNotFound is a document or node that is not there.
	ErrNotFound = fault(http.StatusNotFound, "not found")

	// ErrPrecondition is an entity tag that is not the one asked for.
	ErrPrecondition = fault(http.StatusPreconditionFailed, "precondition failed")
)

// parseFault is what is wrong with a body that is no XML; malformed is the
// condition for what it was to be (RFC 4825 §8.2.2).
func parseFault(err error, malformed string) error {
	switch {
	case errors.Is(err, xmltree.ErrEncoding):
		return conflict("not-utf-8", "%v", err)
	case errors.Is(err, xmltree.ErrLimit):
		return fault(http.StatusRequestEntityTooLarge, err.Error())
	}
	return conflict(malformed, "%v", err)
}
