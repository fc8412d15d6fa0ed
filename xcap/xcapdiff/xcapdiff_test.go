package xcapdiff

import (
	"context"
	"slices"
	"strings"
	"testing"

	"rollcall/sip"
	"rollcall/store/embedded"
	"rollcall/xcap"
	"rollcall/xmltree"
)

const (
	root    = "http://xcap.example.com/xcap/"
	friends = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x"><list name="friends"><entry uri="sip:bob@example.com" x:a="1"/></list></resource-lists>`
	index   = "resource-lists/users/sip:alice@example.com/index"
)

type fixture struct {
	t     *testing.T
	docs  *xcap.Documents
	alice sip.AOR
}

func open(t *testing.T) *fixture {
	t.Helper()
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	docs, err := xcap.NewDocuments(xcap.Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(docs.Close)
	return &fixture{t, docs, aor(t, "alice")}
}

func aor(t *testing.T, user string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + user + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (f *fixture) put(name, body string) *xcap.Document {
	f.t.Helper()
	d, err := f.docs.Put(context.Background(), f.alice, xcap.ResourceLists, name, []byte(body))
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *fixture) take(reader sip.AOR, uris ...string) *Snapshot {
	f.t.Helper()
	body := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>`
	for _, u := range uris {
		body += `<entry uri="` + u + `"/>`
	}
	r, err := ParseRequest([]byte(body+`</list></resource-lists>`), "/xcap")
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := Take(context.Background(), f.docs, reader, r)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func diff(t *testing.T, body []byte) *xmltree.Element {
	t.Helper()
	e, err := xmltree.Parse(body, xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := e.Attr("", "xcap-root"); !e.Is(diffSpace, "xcap-diff") || v != root {
		t.Fatal(e)
	}
	return e
}

// TestFirst: the first notification lists what is there and may be read.
func TestFirst(t *testing.T) {
	f := open(t)
	d := f.put("index", friends)
	uris := []string{index, "resource-lists/", index + "/~~/resource-lists/list%5b1%5d/entry", index + "/~~/resource-lists/list/@name", index + "/~~/resource-lists/list%5b9%5d"}
	e := diff(t, f.take(f.alice, uris...).Full(root))
	if len(e.Nodes) != 3 {
		t.Fatal(e)
	}
	doc := e.Child(diffSpace, "document")
	sel, _ := doc.Attr("", "sel")
	tag, _ := doc.Attr("", "new-etag")
	if _, has := doc.Attr("", "previous-etag"); sel != index || tag != d.ETag || has {
		t.Error(doc)
	}
	element := e.Child(diffSpace, "element")
	if sel, _ := element.Attr("", "sel"); sel != uris[2] {
		t.Error(sel, "is not what was subscribed to, byte for byte")
	}
	if !strings.Contains(e.String(), `><entry uri="sip:bob@example.com" x:a="1"/></d:element>`) {
		t.Error(e)
	}
	if got := e.Child(diffSpace, "attribute").Text(); got != "friends" {
		t.Error(got)
	}
	if e := diff(t, f.take(aor(t, "bob"), uris...).Full(root)); len(e.Nodes) != 0 {
		t.Error("another user learns", e)
	}
}

// TestChanges: creation, patches that lead to the new document, removal.
func TestChanges(t *testing.T) {
	f := open(t)
	uris := []string{"resource-lists/users/sip:alice@example.com/", index + "/~~/resource-lists/list/entry%5b2%5d"}
	empty := f.take(f.alice, uris...)
	first := f.put("index", friends)
	one := f.take(f.alice, uris...)
	second := f.put("index", strings.Replace(friends, "</list>", `<entry uri="sip:carol@example.com" x:a="2"/></list>`, 1))
	two := f.take(f.alice, uris...)

	body, some := Changes(empty, one, Aggregate, root)
	if e := diff(t, body); !some || len(e.Nodes) != 1 || !strings.Contains(e.String(), `new-etag="`+strings.ReplaceAll(first.ETag, `"`, "&quot;")) {
		t.Error(e)
	}
	body, _ = Changes(one, two, NoPatching, root)
	if doc := diff(t, body).Child(diffSpace, "document"); len(doc.Nodes) != 0 || len(doc.Attrs) != 3 {
		t.Error(doc)
	}
	body, _ = Changes(one, two, Aggregate, root)
	e := diff(t, body)
	doc := e.Child(diffSpace, "document")
	if previous, _ := doc.Attr("", "previous-etag"); previous != first.ETag {
		t.Error(doc)
	}
	old, err := first.Tree()
	if err != nil {
		t.Fatal(err)
	}
	got, err := xmltree.Patch(old, slices.Collect(doc.Elements()), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := second.Tree(); got.String() != want.String() {
		t.Errorf("%s gives %s", doc, got)
	}
	if e.Child(diffSpace, "element") == nil {
		t.Error("a component that came is not told", e)
	}
	if _, some := Changes(two, two, Aggregate, root); some {
		t.Error("nothing changed")
	}
	if err := f.docs.Delete(context.Background(), f.alice, xcap.ResourceLists, "index"); err != nil {
		t.Fatal(err)
	}
	body, _ = Changes(two, f.take(f.alice, uris...), Aggregate, root)
	e = diff(t, body)
	if _, has := e.Child(diffSpace, "document").Attr("", "new-etag"); has {
		t.Error(e)
	}
	if v, _ := e.Child(diffSpace, "element").Attr("", "exists"); v != "false" {
		t.Error(e)
	}
}

func TestRequests(t *testing.T) {
	for body, ok := range map[string]bool{
		`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="` + root + index + `"/><other xmlns="urn:x"/></list></resource-lists>`: true,
		`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="unknown/"/></list></resource-lists>`:                                   false,
		`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`:                                                                                       false,
		`<a/>`: false, `<!DOCTYPE a><a/>`: false,
		`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>` + strings.Repeat(`<entry uri="resource-lists/"/>`, 101) + `</list></resource-lists>`: false,
	} {
		if _, err := ParseRequest([]byte(body), "/xcap"); (err == nil) != ok {
			t.Errorf("%.90s: %v", body, err)
		}
	}
	if ParseMode("aggregate") != Aggregate || ParseMode("xcap-patching") != NoPatching || ParseMode("") != NoPatching {
		t.Error("modes")
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="` + index + `/~~/a/@b?xmlns(c=d)"/></list></resource-lists>`))
	f.Fuzz(func(_ *testing.T, body []byte) { _, _ = ParseRequest(body, "/xcap") })
}
