package export

import (
	"strings"
	"unicode/utf8"

	"rollcall/archive"
)

// person returns what formats need of an address: never empty.
func (e *exporter) person(aor string) Person {
	p, ok := e.o.People(aor)
	bare := strings.TrimPrefix(strings.TrimPrefix(aor, "sips:"), "sip:")
	if p.Email == "" {
		p.Email = bare
	}
	if p.Name == "" {
		p.Name, _, _ = strings.Cut(bare, "@")
	}
	p.Internal = ok
	return p
}

// userType is "user" for people of the company, "external" for others.
func (p Person) userType() string {
	if p.Internal {
		return "user"
	}
	return "external"
}

// text is what a message said, or why it cannot be shown.
func (m *message) text() string {
	switch b := m.Body(); {
	case m.Content != archive.Present:
		return "[content is " + m.Content.String() + "]"
	case m.BodyOmitted:
		return "[body not kept]"
	case !utf8.Valid(b):
		return "[content of type " + m.ContentType + "; see the records]"
	default:
		return string(b)
	}
}

// fate says in a word what became of a message.
func (m *message) fate() string {
	fate := "none"
	for _, o := range m.outcomes {
		if o.Disposition == archive.Delivered || fate != "delivered" {
			fate = o.Disposition.String()
		}
	}
	return fate
}
