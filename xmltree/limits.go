package xmltree

import (
	"errors"
	"fmt"
)

// Limits bound what Parse takes. A field that is 0 has its default.
type Limits struct {
	Bytes      int // of the document, default 64 KiB
	Depth      int // of elements, the root is 1; default 32, at most 1000
	Elements   int // in all, default 4096
	Attributes int // of an element, declarations counted; default 64
	Name       int // bytes of a name with its prefix, default 256
}

const maxDepth = 1000 // the tree is walked by recursion

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Bytes, 64 << 10}, {&l.Depth, 32}, {&l.Elements, 4096}, {&l.Attributes, 64}, {&l.Name, 256}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	l.Depth = min(l.Depth, maxDepth)
	return l
}

var (
	// ErrLimit marks, for errors.Is, a document that is over the Limits.
	ErrLimit = errors.New("over the limit")

	// ErrEncoding marks, for errors.Is, a document that is not in UTF-8.
	ErrEncoding = errors.New("not in UTF-8")

	// ErrMalformed marks, for errors.Is, what is no XML with namespaces, or has a
	// document type.
	ErrMalformed = errors.New("not well-formed")
)

// SyntaxError tells why a document is refused.
type SyntaxError struct {
	Line, Column int    // of the place, from 1, the column in characters
	Reason       string // in lower case, without bytes of the document but names
	Cause        error  // ErrLimit, ErrEncoding or ErrMalformed
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("xml line %d column %d: %s", e.Line, e.Column, e.Reason)
}

func (e *SyntaxError) Unwrap() error { return e.Cause }
