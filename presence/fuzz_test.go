package presence_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/xmltree"
)

// FuzzParse: what is taken can be composed, and what comes out is a document that
// the package itself takes, with a basic status in the first tuple.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(published(f, strings.TrimSuffix(filepath.Base(file), ".xml")))
	}
	f.Add(doc(`<tuple id="person"><status><basic>open</basic></status></tuple><dm:person/><dm:device id="closed"/><x:a xmlns:x="urn:y" x:b=""/>`))
	f.Fuzz(func(t *testing.T, body string) {
		p := presence.New(presence.Options{})
		parsed, _, _, err := p.Parse(alice(t), presence.TypePIDF, []byte(body), nil)
		if err != nil {
			return
		}
		now := time.Now()
		pub := event.Publication{ID: "1", Parsed: parsed, Created: now, Changed: now}
		twin := pub
		twin.ID = "2"
		for _, pubs := range [][]event.Publication{{pub}, {pub, twin}} {
			s, err := p.Compose(context.Background(), alice(t), pubs)
			if err != nil {
				t.Fatal(err)
			}
			for _, typ := range p.Spec().Types {
				b, err := p.Body(context.Background(), alice(t), s, event.View{Type: typ})
				if err != nil {
					t.Fatal(err)
				}
				if b.Type != presence.TypePIDF {
					continue
				}
				root, err := xmltree.Parse(b.Bytes, xmltree.Limits{Bytes: 1 << 20, Elements: 1 << 16})
				if err != nil {
					t.Fatalf("%v in\n%s", err, b.Bytes)
				}
				if root.Child(presence.SpacePIDF, "tuple").Child(presence.SpacePIDF, "status").Child(presence.SpacePIDF, "basic") == nil {
					t.Fatalf("no basic status in\n%s", b.Bytes)
				}
				ids := map[string]bool{}
				for e := range root.Elements() {
					id, ok := e.Attr("", "id")
					component := e.Is(presence.SpacePIDF, "tuple") || e.Is(presence.SpaceModel, "person") || e.Is(presence.SpaceModel, "device")
					if ok && component && id != "" && ids[id] {
						t.Fatalf("id %q stands twice in\n%s", id, b.Bytes)
					}
					ids[id] = ids[id] || component
				}
			}
		}
	})
}
