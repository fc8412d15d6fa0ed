package xcap_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/auth"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// world is a server with the accounts alice and bob, whose passwords are their
// names.
type world struct {
	t    *testing.T
	docs *xcap.Documents
	url  string
}

func openEmbedded(t *testing.T) store.Store {
	t.Helper()
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func open(t *testing.T, s store.Store, o xcap.Options) *world {
	t.Helper()
	dir, err := auth.NewDirectory(s, []string{"example.com", "example.net"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	for _, name := range []string{"alice", "bob"} {
		if err := dir.Add(t.Context(), auth.Account{AOR: aor(t, name)}, name); err != nil {
			t.Fatal(err)
		}
	}
	authn, err := auth.New(auth.Options{Directory: dir, Nonces: digest.NoncesOptions{Capacity: 4096}})
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.Accounts = s, dir
	docs, err := xcap.NewDocuments(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(docs.Close)
	srv := httptest.NewServer(xcap.NewHandler(docs, authn, "/xcap", zap.NewNop()))
	t.Cleanup(srv.Close)
	return &world{t, docs, srv.URL}
}

func aor(t testing.TB, name string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + name + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request is one HTTP request, answered to a challenge.
type request struct {
	method, path, kind, body string
	as                       string // user and password; "" sends no credentials
	password                 string
	algorithm                digest.Algorithm
	header                   map[string]string
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) once(r request, authorization string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), r.method, w.url+r.path, strings.NewReader(r.body))
	if err != nil {
		w.t.Fatal(err)
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) do(r request) answer {
	w.t.Helper()
	a := w.once(r, "")
	if a.status != http.StatusUnauthorized || r.as == "" {
		return a
	}
	if r.password == "" {
		r.password = r.as
	}
	for _, field := range a.header.Values("WWW-Authenticate") {
		c, err := digest.ParseChallenge(field)
		if err != nil {
			w.t.Fatal(err)
		}
		if c.Algorithm != r.algorithm {
			continue
		}
		u, err := url.Parse(w.url + r.path)
		if err != nil {
			w.t.Fatal(err)
		}
		return w.once(r, credentials(c, r, u.RequestURI()))
	}
	w.t.Fatal("no challenge of that algorithm")
	return answer{}
}

func credentials(c digest.Challenge, r request, uri string) string {
	cred := digest.Credentials{
		Username: r.as, Realm: c.Realm, Nonce: c.Nonce, URI: uri, Algorithm: c.Algorithm,
		CNonce: "0a4f113b", QOP: "auth", Count: 1, NC: "00000001",
	}
	secrets := digest.NewSecrets(r.as, c.Realm, r.password)
	cred.Response = string(cred.AppendResponse(nil, &secrets, r.method))
	return string(cred.Append(nil))
}

// want does a request of alice and expects a status.
func (w *world) want(status int, method, path, kind, body string) answer {
	w.t.Helper()
	a := w.do(request{method: method, path: path, kind: kind, body: body, as: "alice"})
	if a.status != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// wantConflict expects 409 with a condition.
func (w *world) wantConflict(condition, method, path, kind, body string) answer {
	w.t.Helper()
	a := w.want(http.StatusConflict, method, path, kind, body)
	if a.header.Get("Content-Type") != "application/xcap-error+xml" || !strings.Contains(a.body, "<"+condition) {
		w.t.Fatalf("%s %s: %s, want %s", method, path, a.body, condition)
	}
	if _, err := xmltree.Parse([]byte(a.body), xmltree.Limits{}); err != nil {
		w.t.Error(err)
	}
	return a
}

const (
	listsPath = "/xcap/resource-lists/users/sip:alice@example.com/index"
	listsMIME = "application/resource-lists+xml"
	el        = "application/xcap-el+xml"
	att       = "application/xcap-att+xml"
	lists     = `<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x">
 <list name="friends">
  <display-name>Friends</display-name>
  <entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>
  <entry uri="sip:carol@example.com" x:mark="1"/><!-- last -->
 </list>
</resource-lists>`
)

func TestDocuments(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	w.want(404, "GET", listsPath, "", "")
	a := w.want(201, "PUT", listsPath, listsMIME, lists)
	tag := a.header.Get("ETag")
	if tag == "" || a.body != "" {
		t.Errorf("%q %q", tag, a.body)
	}
	for _, path := range []string{listsPath, strings.Replace(listsPath, "sip:alice@", "sip%3Aalice%40", 1), strings.Replace(listsPath, "sip:", "", 1)} {
		a = w.want(200, "GET", path, "", "")
		if a.body != lists || a.header.Get("Content-Type") != listsMIME || a.header.Get("ETag") != tag {
			t.Errorf("%v", a)
		}
	}
	if a = w.want(200, "HEAD", listsPath, "", ""); a.body != "" || a.header.Get("Content-Length") != fmt.Sprint(len(lists)) {
		t.Errorf("%v", a)
	}
	w.want(200, "PUT", listsPath, listsMIME, lists)
	w.want(415, "PUT", listsPath, "text/xml", lists)
	w.want(415, "PUT", listsPath, "", lists)
	a = w.want(405, "POST", listsPath, listsMIME, lists)
	if a.header.Get("Allow") != "GET, HEAD, PUT, DELETE" {
		t.Error(a.header)
	}
	a = w.want(200, "DELETE", listsPath, "", "")
	if a.header.Get("ETag") != "" {
		t.Error("tag of a document that is gone")
	}
	w.want(404, "DELETE", listsPath, "", "")
}

// TestNodes: elements, attributes and bindings (RFC 4825 §7).
func TestNodes(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	w.want(201, "PUT", listsPath, listsMIME, lists)
	node := listsPath + "/~~/resource-lists/list%5B@name=%22friends%22%5D"

	a := w.want(200, "GET", node+"/entry%5b1%5d", "", "")
	if a.body != `<entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>` || a.header.Get("Content-Type") != el {
		t.Errorf("%v", a)
	}
	a = w.want(200, "GET", node+"/*%5b2%5d/@uri", "", "")
	if a.body != `"sip:bob@example.com"` || a.header.Get("Content-Type") != att {
		t.Errorf("%v", a)
	}
	query := "?xmlns(r=urn:ietf:params:xml:ns:resource-lists)other(y)xmlns(q=urn:x)"
	a = w.want(200, "GET", listsPath+"/~~/r:resource-lists/r:list/r:entry%5b2%5d/@q:mark"+query, "", "")
	if a.body != `"1"` {
		t.Errorf("%v", a)
	}
	a = w.want(200, "GET", node+"/entry%5b2%5d/namespace::*", "", "")
	if a.body != `<entry xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x"/>` || a.header.Get("Content-Type") != "application/xcap-ns+xml" {
		t.Errorf("%v", a)
	}
	w.want(400, "GET", listsPath+"/~~/z:resource-lists", "", "")
	w.want(404, "GET", node+"/entry", "", "") // two
	w.want(404, "GET", node+"/entry%5b3%5d", "", "")
	w.want(404, "GET", node+"/@other", "", "")

	dave := `<entry uri="sip:dave@example.com" x:mark="2"/>`
	path := node + "/entry%5B@uri=%22sip:dave@example.com%22%5D"
	first := w.want(201, "PUT", path, el, dave)
	if a = w.want(200, "GET", path, "", ""); a.body != dave || a.header.Get("ETag") != first.header.Get("ETag") {
		t.Errorf("%v", a)
	}
	w.want(200, "PUT", path, el, dave)
	if a = w.want(200, "GET", listsPath, "", ""); !strings.Contains(a.body, `x:mark="1"/>`+dave+`<!-- last -->`) {
		t.Errorf("not the earliest last position: %s", a.body)
	}
	w.wantConflict("cannot-insert", "PUT", path, el, `<entry uri="sip:erin@example.com"/>`)
	w.wantConflict("cannot-insert", "PUT", node+"/entry%5b9%5d", el, dave)
	w.wantConflict("not-xml-frag", "PUT", path, el, `<entry`)
	w.wantConflict("not-xml-frag", "PUT", path, el, `<entry y:a="1"/>`)
	w.wantConflict("not-utf-8", "PUT", path, el, "<entry uri='\xff'/>")
	w.wantConflict("schema-validation-error", "PUT", node+"/wrong", el, `<wrong/>`)
	w.wantConflict("uniqueness-failure", "PUT", node+"/entry%5b1%5d", el, dave)
	a = w.wantConflict("no-parent", "PUT", listsPath+"/~~/resource-lists/list%5b@name=%22none%22%5d/entry", el, dave)
	if !strings.Contains(a.body, "<ancestor>/xcap/resource-lists/users/sip:alice@example.com/index/~~/resource-lists</ancestor>") {
		t.Error(a.body)
	}
	w.wantConflict("no-parent", "PUT", strings.Replace(path, "/index/", "/other/", 1), el, dave)
	w.wantConflict("no-parent", "PUT", strings.Replace(listsPath, "/index", "/a/b", 1), listsMIME, lists)

	w.want(201, "PUT", node+"/display-name/@xml:lang?xmlns(xml=http://www.w3.org/XML/1998/namespace)", att, `"en"`)
	w.want(200, "PUT", node+"/@name", att, `"friends"`)
	w.wantConflict("cannot-insert", "PUT", node+"/@name", att, `"others"`)
	w.wantConflict("not-xml-att-value", "PUT", node+"/@name", att, `others`)
	w.wantConflict("not-xml-att-value", "PUT", node+"/@name", att, `"<"`)
	w.wantConflict("schema-validation-error", "PUT", node+"/@other", att, `"1"`)
	w.want(415, "PUT", node+"/@name", el, `"friends"`)
	a = w.want(405, "PUT", node+"/namespace::*", el, "<a/>")
	if a.header.Get("Allow") != "GET, HEAD" {
		t.Error(a.header)
	}
	w.want(405, "DELETE", node+"/namespace::*", "", "")

	w.wantConflict("cannot-delete", "DELETE", node+"/entry%5b1%5d", "", "")
	w.wantConflict("schema-validation-error", "DELETE", node+"/entry%5b1%5d/@uri", "", "")
	w.wantConflict("schema-validation-error", "DELETE", listsPath+"/~~/resource-lists", "", "")
	a = w.want(200, "DELETE", path, "", "")
	if a.header.Get("ETag") == "" || a.header.Get("ETag") == first.header.Get("ETag") {
		t.Error(a.header)
	}
	w.want(404, "DELETE", path, "", "")
	w.want(200, "DELETE", node+"/entry%5b2%5d", "", "") // the last of its name
	w.want(200, "PUT", listsPath+"/~~/resource-lists", el, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`)
}

// TestInsertPositions has the examples of RFC 4825 §8.2.3, over a usage whose
// schema lets them.
func TestInsertPositions(t *testing.T) {
	const space = ` xmlns="urn:x"`
	for _, c := range []struct{ selector, body, want string }{
		{`el1[@att="third"]`, `<el1 att="third"/>`, `<el1 att="second"/><el1 att="third"/><!-- c --><el2 att="first"/>`},
		{`el1[3][@att="third"]`, `<el1 att="third"/>`, `<el1 att="second"/><el1 att="third"/><!-- c --><el2 att="first"/>`},
		{`*[3][@att="third"]`, `<el1 att="third"/>`, `<el1 att="second"/><el1 att="third"/><!-- c --><el2 att="first"/>`},
		{`el3`, `<el3 att="first"/>`, `<!-- c --><el2 att="first"/><el3 att="first"/>`},
		{`el2[@att="2"]`, `<el2 att="2"/>`, `<el2 att="first"/><el2 att="2"/>`},
		{`el2[2][@att="2"]`, `<el2 att="2"/>`, `<el2 att="first"/><el2 att="2"/>`},
		{`*[2][@att="2"]`, `<el2 att="2"/>`, `<el1 att="first"/><el2 att="2"/><el1 att="second"/>`},
		{`el2[1][@att="2"]`, `<el2 att="2"/>`, `<!-- c --><el2 att="2"/><el2 att="first"/>`},
	} {
		w := open(t, openEmbedded(t), xcap.Options{})
		path := "/xcap/org.openmobilealliance.user-profile/users/sip:alice@example.com/index"
		w.want(201, "PUT", path, "application/vnd.oma.user-profile+xml",
			`<user-profiles xmlns="urn:oma:xml:xdm:user-profile"><user-profile uri="sip:alice@example.com"><root`+space+`><el1 att="first"/><el1 att="second"/><!-- c --><el2 att="first"/></root></user-profile></user-profiles>`)
		selector := c.selector
		if selector[0] != '*' {
			selector = "x:" + selector
		}
		node := path + "/~~/user-profiles/user-profile/x:root/" + url.PathEscape(selector) + "?xmlns(x=urn:x)"
		w.want(201, "PUT", node, el, c.body)
		if a := w.want(200, "GET", path, "", ""); !strings.Contains(a.body, c.want) {
			t.Errorf("%s gives %s", c.selector, a.body)
		}
	}
}

func TestPreconditions(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	do := func(status int, method, kind, body, name, value string, path string) answer {
		t.Helper()
		a := w.do(request{method: method, path: path, kind: kind, body: body, as: "alice", header: map[string]string{name: value}})
		if a.status != status {
			t.Fatalf("%s %s: %s: %d, want %d: %s", method, name, value, a.status, status, a.body)
		}
		return a
	}
	do(412, "PUT", listsMIME, lists, "If-Match", "*", listsPath)
	a := do(201, "PUT", listsMIME, lists, "If-None-Match", "*", listsPath)
	tag := a.header.Get("ETag")
	do(412, "PUT", listsMIME, lists, "If-None-Match", "*", listsPath)
	do(412, "PUT", listsMIME, lists, "If-Match", `"other"`, listsPath)
	do(412, "PUT", listsMIME, lists, "If-Match", "W/"+tag, listsPath)
	do(200, "PUT", listsMIME, lists, "If-Match", `"other", `+tag, listsPath)
	if a = do(304, "GET", "", "", "If-None-Match", tag, listsPath); a.body != "" || a.header.Get("ETag") != tag {
		t.Errorf("%v", a)
	}
	do(200, "GET", "", "", "If-None-Match", `"other"`, listsPath)
	do(304, "GET", "", "", "If-None-Match", tag, listsPath+"/~~/resource-lists/list")
	name := listsPath + "/~~/resource-lists/list/@name"
	do(412, "PUT", att, `"x"`, "If-None-Match", "*", name)
	do(412, "PUT", att, `"x"`, "If-Match", `"other"`, name)
	next := do(200, "PUT", att, `"x"`, "If-Match", tag, name).header.Get("ETag")
	do(412, "DELETE", "", "", "If-Match", tag, listsPath)
	do(200, "DELETE", "", "", "If-Match", next, listsPath)
}

func TestAccess(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	for _, algorithm := range []digest.Algorithm{digest.MD5, digest.SHA256} {
		if a := w.do(request{method: "PUT", path: listsPath, kind: listsMIME, body: lists, as: "alice", algorithm: algorithm}); a.status >= 300 {
			t.Errorf("%s: %d %s", algorithm, a.status, a.body)
		}
	}
	a := w.do(request{method: "GET", path: listsPath})
	if a.status != 401 || len(a.header.Values("WWW-Authenticate")) != 2 || !strings.Contains(a.header.Get("WWW-Authenticate"), `realm="example.com"`) {
		t.Errorf("%v", a)
	}
	for _, r := range []request{
		{as: "alice", password: "wrong", path: listsPath},
		{as: "nobody", path: strings.Replace(listsPath, "alice", "nobody", 1)},
	} {
		r.method = "GET"
		if a := w.do(r); a.status != 401 {
			t.Errorf("%s: %d", r.as, a.status)
		}
	}
	for _, r := range []request{
		{method: "GET", path: listsPath},
		{method: "PUT", path: listsPath, kind: listsMIME, body: lists},
		{method: "DELETE", path: listsPath},
		{method: "GET", path: strings.Replace(listsPath, "alice", "nobody", 1)},
		{method: "GET", path: strings.Replace(listsPath, "example.com", "example.net", 1)},
		{method: "PUT", path: "/xcap/resource-lists/global/index", kind: listsMIME, body: lists},
		{method: "DELETE", path: "/xcap/rls-services/global/index"},
	} {
		r.as = "bob"
		if a := w.do(r); a.status != 403 && a.status != 401 {
			t.Errorf("%s %s: %d %s", r.method, r.path, a.status, a.body)
		}
	}
	if a := w.do(request{method: "GET", path: listsPath, as: "alice"}); a.status != 200 || a.body != lists {
		t.Errorf("%v", a)
	}
	// A response for another target is not taken, and none twice.
	first := w.once(request{method: "GET", path: listsPath}, "")
	c, err := digest.ParseChallenge(first.header.Get("WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	field := credentials(c, request{method: "GET", as: "alice", password: "alice"}, listsPath)
	if a := w.once(request{method: "GET", path: listsPath + "2"}, field); a.status != 400 {
		t.Error(a.status)
	}
	if a := w.once(request{method: "GET", path: listsPath}, field); a.status != 200 {
		t.Error(a.status)
	}
	if a := w.once(request{method: "GET", path: listsPath}, field); a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "stale=true") {
		t.Errorf("%v", a)
	}
	for range 30 {
		a = w.do(request{method: "GET", path: listsPath, as: "alice", password: "wrong"})
	}
	if a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a)
	}
}

func TestLimits(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{Bytes: 4096, IconBytes: 8192, PerUsage: 2})
	long := strings.Replace(lists, "Friends", strings.Repeat("x", 5000), 1)
	w.want(413, "PUT", listsPath, listsMIME, long)
	w.want(201, "PUT", listsPath, listsMIME, lists)
	w.want(413, "PUT", listsPath+"/~~/resource-lists/list/display-name", el, "<display-name>"+strings.Repeat("&gt;", 1010)+"</display-name>")
	w.want(201, "PUT", listsPath+"2", listsMIME, lists)
	w.want(507, "PUT", listsPath+"3", listsMIME, lists)
	w.want(200, "PUT", listsPath+"2", listsMIME, lists)
	deep := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + strings.Repeat("<list>", 40) + strings.Repeat("</list>", 40) + "</resource-lists>"
	w.want(413, "PUT", listsPath, listsMIME, deep)
	w.wantConflict("not-well-formed", "PUT", listsPath, listsMIME, `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`)
	w.wantConflict("not-utf-8", "PUT", listsPath, listsMIME, `<?xml version="1.0" encoding="UTF-16"?><a/>`)

	icon := "/xcap/org.openmobilealliance.pres-content/users/sip:alice@example.com/oma_status-icon/me"
	const head = `<content xmlns="urn:oma:xml:prs:pres-content"><mime-type>image/png</mime-type><encoding>base64</encoding><data>`
	body := head + strings.Repeat("AAAA", 1500) + "</data></content>"
	w.want(201, "PUT", icon, "application/vnd.oma.pres-content+xml", body)
	w.wantConflict("schema-validation-error", "PUT", icon, "application/vnd.oma.pres-content+xml", head+"!</data></content>")
	w.wantConflict("no-parent", "PUT", strings.Replace(icon, "oma_status-icon/", "", 1), "application/vnd.oma.pres-content+xml", body)
}

// TestUsages: what each usage takes and refuses.
func TestUsages(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	const policy = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="a">
	<conditions><identity><one id="sip:bob@example.com"/><many domain="example.net"><except id="sip:eve@example.net"/></many></identity><sphere value="work"/>
	<validity><from>2026-01-01T00:00:00Z</from><until>2027-01-01T00:00:00Z</until></validity><o:other-identity xmlns:o="urn:oma"/></conditions>
	<actions><pr:sub-handling>allow</pr:sub-handling></actions>
	<transformations><pr:provide-services><pr:service-uri-scheme>sip</pr:service-uri-scheme></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>
	<pr:provide-activities>true</pr:provide-activities><pr:provide-user-input>bare</pr:provide-user-input><pr:provide-unknown-attribute ns="urn:x" name="y">true</pr:provide-unknown-attribute></transformations></rule></ruleset>`
	rules := []struct{ auid, mime, body, from, to string }{
		{"pres-rules", "application/auth-policy+xml", policy, ">allow<", ">perhaps<"},
		{"pres-rules", "application/auth-policy+xml", policy, "provide-activities", "provide-nothing"},
		{"pres-rules", "application/auth-policy+xml", policy, `id="a"`, `name="a"`},
		{"pres-rules", "application/auth-policy+xml", policy, "2027-01-01T00:00:00Z", "soon"},
		{"pres-rules", "application/auth-policy+xml", policy, "<conditions>", "<conditions><other/>"},
		{"org.openmobilealliance.pres-rules", "application/auth-policy+xml", policy, "</rule>", `</rule><rule id="a"/>`},
		{"pidf-manipulation", "application/pidf+xml", `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="t1"><status><basic>open</basic></status></tuple></presence>`, ">open<", ">ajar<"},
		{"pidf-manipulation", "application/pidf+xml", `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="t1"><status/></tuple></presence>`, "<status/>", ""},
		{"resource-lists", listsMIME, lists, "carol", "bob"},
	}
	for _, c := range rules {
		path := "/xcap/" + c.auid + "/users/sip:alice@example.com/index"
		if a := w.do(request{method: "PUT", path: path, kind: c.mime, body: c.body, as: "alice"}); a.status/100 != 2 {
			t.Errorf("%s: %d %s", c.auid, a.status, a.body)
		}
		bad := strings.ReplaceAll(c.body, c.from, c.to)
		if a := w.do(request{method: "PUT", path: path, kind: c.mime, body: bad, as: "alice"}); a.status != 409 || !strings.Contains(a.body, "schema-validation-error") && !strings.Contains(a.body, "uniqueness-failure") {
			t.Errorf("%s with %s: %d %s", c.auid, c.to, a.status, a.body)
		}
		if a := w.want(200, "GET", path, "", ""); a.body != c.body {
			t.Errorf("%s was changed by what was refused", c.auid)
		}
	}
	w.wantConflict("constraint-failure", "PUT", "/xcap/pidf-manipulation/users/sip:alice@example.com/other", "application/pidf+xml", rules[6].body)

	a := w.want(200, "GET", "/xcap/xcap-caps/global/index", "", "")
	if a.header.Get("Content-Type") != "application/xcap-caps+xml" || !strings.Contains(a.body, "<auid>pres-rules</auid>") {
		t.Error(a.body)
	}
	path := "/xcap/org.openmobilealliance.xcap-directory/users/sip:alice@example.com/directory.xml"
	a = w.want(200, "GET", path, "", "")
	if !strings.Contains(a.body, `<folder auid="resource-lists"><entry uri="/xcap/resource-lists/users/sip:alice@example.com/index"`) {
		t.Error(a.body)
	}
	w.want(405, "PUT", path, "application/vnd.oma.xcap-directory+xml", a.body)
}

func services(uri string) string {
	return `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists"><service uri="` + uri +
		`"><list><rl:entry uri="sip:bob@example.com"/></list><packages><package>presence</package></packages></service></rls-services>`
}

const (
	rlsPath = "/xcap/rls-services/users/sip:alice@example.com/index"
	rlsMIME = "application/rls-services+xml"
)

// TestServices: a list URI is of one user (RFC 4826 §4.4.5), on both stores.
func TestServices(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) { testServices(t, s) })
	}
}

func stores(t *testing.T) map[string]store.Store {
	t.Helper()
	url, _ := redistest.Start(t)
	db, err := redis.Open(url, redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return map[string]store.Store{"embedded": openEmbedded(t), "redis": db}
}

func testServices(t *testing.T, s store.Store) {
	w := open(t, s, xcap.Options{})
	w.want(201, "PUT", rlsPath, rlsMIME, services("sip:friends@example.com"))
	bob := func(uri string) answer {
		return w.do(request{method: "PUT", path: strings.Replace(rlsPath, "alice", "bob", 1), kind: rlsMIME, body: services(uri), as: "bob"})
	}
	a := bob("sip:friends@EXAMPLE.com")
	if a.status != 409 || !strings.Contains(a.body, `<exists field="rls-services/service%5B@uri=%22sip:friends@example.com%22%5D/@uri"><alt-value>sip:friends-2@example.com</alt-value>`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := bob("sip:alice@example.com"); a.status != 409 {
		t.Error("an account's address was taken", a.body)
	}
	if a := bob("sip:friends@example.org"); a.status != 409 || !strings.Contains(a.body, "constraint-failure") {
		t.Error(a.body)
	}
	if a := bob("sip:others@example.com"); a.status != 201 {
		t.Error(a.body)
	}
	user, e, err := w.docs.Service(t.Context(), aor(t, "friends"))
	if err != nil || user != aor(t, "alice") || e.Name.Local != "service" {
		t.Error(user, e, err)
	}
	a = w.want(200, "GET", "/xcap/rls-services/global/index", "", "")
	if strings.Count(a.body, "<service ") != 2 {
		t.Error(a.body)
	}
	w.want(200, "PUT", rlsPath, rlsMIME, services("sip:pals@example.com"))
	if a := bob("sip:friends@example.com"); a.status != 200 {
		t.Error("a URI that was given up is not free:", a.body)
	}
	w.want(200, "DELETE", rlsPath, "", "")
	if _, _, err := w.docs.Service(t.Context(), aor(t, "pals")); err == nil {
		t.Error("service of a document that is gone")
	}
}

// TestChanges: who observes hears of every change, also of those by another server.
func TestChanges(t *testing.T) {
	url, _ := redistest.Start(t)
	var worlds [2]*world
	heard := make(chan xcap.Change, 10)
	for i := range worlds {
		db, err := redis.Open(url, redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		docs, err := xcap.NewDocuments(xcap.Options{Store: db})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(docs.Close)
		worlds[i] = &world{t: t, docs: docs}
	}
	worlds[1].docs.Observe(func(c xcap.Change) { heard <- c })
	wait := func() xcap.Change {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		select {
		case c := <-heard:
			return c
		case <-ctx.Done():
			t.Fatal("no change was heard of")
		}
		return xcap.Change{}
	}
	alice := aor(t, "alice")
	for i, w := range worlds {
		body := strings.Replace(lists, "Friends", fmt.Sprint(i), 1)
		doc, err := w.docs.Put(t.Context(), alice, xcap.ResourceLists, "index", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if c := wait(); c.User != alice || c.AUID != xcap.ResourceLists || c.Name != "index" || c.New.ETag != doc.ETag || string(c.New.Body) != body {
			t.Errorf("%+v", c)
		}
		got, err := worlds[1].docs.Get(t.Context(), alice, xcap.ResourceLists, "index") // has heard of it
		if err != nil || got.ETag != doc.ETag {
			t.Error(err)
		}
	}
	if err := worlds[0].docs.Delete(t.Context(), alice, xcap.ResourceLists, "index"); err != nil {
		t.Fatal(err)
	}
	if c := wait(); c.New != nil || c.Old == nil {
		t.Errorf("%+v", c)
	}
}

func TestLookup(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	w.want(201, "PUT", listsPath, listsMIME, lists)
	for _, ref := range []string{
		"http://xcap.example.com" + listsPath + "/~~/resource-lists/list%5b@name=%22friends%22%5d",
		"resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b1%5d",
	} {
		e, doc, err := w.docs.Lookup(t.Context(), ref, "/xcap")
		if err != nil || e.Name.Local != "list" || doc.Name != "index" {
			t.Errorf("%s: %v %v", ref, e, err)
		}
	}
	if _, _, err := w.docs.Lookup(t.Context(), "resource-lists/users/sip:alice@example.com/none", "/xcap"); err == nil {
		t.Error("found what is not there")
	}
}

func FuzzParseSelector(f *testing.F) {
	f.Add(`resource-lists/list[@name="a/b"]/entry[2]/@uri`, "xmlns(a=b)")
	f.Add(`a:b/*[1][@c:d='e']/namespace::*`, "xmlns(a=u)xmlns(c=v^))other(x(y))")
	f.Fuzz(func(t *testing.T, text, query string) {
		if _, err := xcap.ParseSelector(text, "urn:x", query); err == nil && text == "" {
			t.Error("an empty selector was taken")
		}
	})
}
