package presence

import (
	"errors"
	"slices"
	"strings"

	"rollcall/xmltree"
)

// Summary is a presence document in a few words, for operators and for
// applications that want no XML.
type Summary struct {
	Basic      string   // "open" if a service is, else "closed" if one is, else ""
	Activities []string // what the person is doing (RFC 4480 §3.2)
	Note       string   // of the person, else of a service, else of all
}

// maxSummary bounds the activities of a Summary.
const maxSummary = 16

// Summarize reads a PIDF document.
func Summarize(body []byte) (Summary, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{})
	if err != nil {
		return Summary{}, err
	}
	if !root.Is(SpacePIDF, "presence") {
		return Summary{}, errors.New("not a presence document")
	}
	var s Summary
	var own, other string
	for e := range root.All() {
		switch text := strings.TrimSpace(e.Text()); {
		case e.Is(SpacePIDF, "basic"):
			if text == "open" || text == "closed" && s.Basic == "" {
				s.Basic = text
			}
		case e.Is(SpaceRPID, "activities"):
			s.activities(e)
		case e.Is(SpaceModel, "note") && e.Parent.Is(SpaceModel, "person") && own == "":
			own = text
		case e.Is(SpacePIDF, "note") && other == "":
			other = text
		}
	}
	if s.Note = own; own == "" {
		s.Note = other
	}
	return s, nil
}

func (s *Summary) activities(e *xmltree.Element) {
	for a := range e.Elements() {
		name := a.Name.Local
		switch {
		case a.Is(SpaceRPID, "note"), a.Is(SpaceRPID, "unknown"):
			continue
		case a.Is(SpaceRPID, "other"): // its text says what it is
			name = strings.TrimSpace(a.Text())
		}
		if name != "" && len(s.Activities) < maxSummary && !slices.Contains(s.Activities, name) {
			s.Activities = append(s.Activities, name)
		}
	}
}
