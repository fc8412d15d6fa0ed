package xcap_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/sip/digest"
	"rollcall/xcap"
)

// TestPaths sends tricks as raw bytes: a Go client would clean them.
func TestPaths(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	w.want(201, "PUT", listsPath, listsMIME, lists)
	for target, want := range map[string]int{
		"/xcap/resource-lists/users/sip:bob@example.com/../sip:alice@example.com/index":                404,
		"/xcap/resource-lists/users/sip:bob@example.com/%2e%2e/sip:alice@example.com/index":            404,
		"/xcap/resource-lists/users/./sip:alice@example.com/index":                                     404,
		"/xcap//resource-lists/users/sip:alice@example.com/index":                                      404,
		"/xcap/resource-lists/users/sip:alice@example.com/":                                            404,
		"/xcap/resource-lists/users/sip:alice@example.com":                                             404,
		"/xcap/resource-lists/users/sip:bob@example.com%2f..%2fsip:alice@example.com/index":            400,
		"/xcap/resource-lists/users/sip:alice@example.com/index%00":                                    400,
		"/xcap/resource-lists/users/sip:alice@example.com/index%0d%0a":                                 400,
		"/xcap/resource-lists/users/sip:alice@example.com/%ff":                                         400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~":                                    400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/":                                   400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a/~~/b[":                            400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a//b":                               400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a%5b0%5d":                           400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a%5b@b=%22c%5d":                     400,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a?xmlns(":                           400,
		"/xcap/resource-lists/users/alice/index":                                                       404,
		"/xcap/unknown/users/sip:alice@example.com/index":                                              404,
		"/xcap/resource-lists/else/sip:alice@example.com/index":                                        404,
		"/xcap/resource-lists/users/sip:alice@example.com/" + strings.Repeat("x", 200):                 404,
		"/xcap/resource-lists/users/sip:alice@example.com/" + strings.Repeat("x", 5000):                414,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/" + strings.Repeat("a/", 100) + "a": 400,
		"/xcap/": 404,
	} {
		if got := w.raw("GET", target, "", "").status; got != want {
			t.Errorf("%.100s: %d, want %d", target, got, want)
		}
	}
}

// raw sends a request whose target nobody cleans, with what answers a challenge.
func (w *world) raw(method, target, body, authorization string) answer {
	w.t.Helper()
	host := strings.TrimPrefix(w.url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if authorization != "" {
		authorization = "Authorization: " + authorization + "\r\n"
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		method, target, host, listsMIME, authorization, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
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

// TestTricksReachNoOther: whatever stands in a path, bob reads, writes and removes
// nothing of alice's, nor of the server's.
func TestTricksReachNoOther(t *testing.T) {
	w := open(t, openEmbedded(t), xcap.Options{})
	w.want(201, "PUT", listsPath, listsMIME, lists)
	const bob, alice = "sip:bob@example.com", "sip:alice@example.com"
	for _, path := range []string{
		"users/" + alice + "/index",
		"users/" + bob + "/../" + alice + "/index",
		"users/" + bob + "/%2e%2e/" + alice + "/index",
		"users/" + bob + "/.%2e/" + alice + "/index",
		"users/" + bob + "%2f..%2f" + alice + "/index",
		"users/" + bob + "%2F" + alice + "/index",
		"users//" + alice + "/index",
		"users/" + bob + "//index",
		"users/" + bob + "/" + alice + "/index",
		"users/" + bob + "%00" + alice + "/index",
		"users/" + alice + "%00/index",
		"users/sip:bob@example.com,sip:alice@example.com/index",
		"users/sip:alice%40example.com/index",
		"users/sip:%61lice@example.com/index",
		"users/SIP:alice@EXAMPLE.com/index",
		"users/sip:alice@example.com:5060/index",
		"users/sips:alice@example.com/index",
		"users/tel:alice/index",
		"users/alice@example.com/index",
		"users/*/index",
		"global/index",
		"global/../users/" + alice + "/index",
		"users/" + alice + "/index/~~/resource-lists/list%5b@name=%22friends%22%5d",
		"users/" + bob + "/index/~~/../../" + alice + "/index",
		"users/" + bob + "/index/~~/resource-lists/../../../" + alice + "/index/~~/resource-lists/list",
		"users/" + bob + "/index/~~/resource-lists/list%5b@name=%22%22%5d%5b1%5d%5b/..%5d",
		"users/" + bob + "/index/~~/document%28%22" + alice + "%22%29",
		"users/" + bob + "/index/~~//",
		"users/" + bob + "/index/~~/*",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			target := "/xcap/resource-lists/" + path
			body := ""
			if method == "PUT" {
				body = strings.Replace(lists, "Friends", "forged", 1)
			}
			a := w.raw(method, target, body, "")
			if a.status == http.StatusUnauthorized {
				c, err := digest.ParseChallenge(a.header.Get("WWW-Authenticate"))
				if err != nil {
					t.Fatal(err)
				}
				a = w.raw(method, target, body, credentials(c, request{method: method, as: "bob", password: "bob"}, target))
			}
			if a.status < 400 || a.status >= 500 || strings.Contains(a.body, "Friends") {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if a := w.want(200, "GET", listsPath, "", ""); a.body != lists {
		t.Errorf("alice's document is\n%s", a.body)
	}
	for _, user := range []string{"bob", "alice"} {
		docs, err := w.docs.List(t.Context(), aor(t, user), xcap.ResourceLists)
		if want := map[string]int{"alice": 1, "bob": 0}[user]; err != nil || len(docs) != want {
			t.Errorf("%s has %d documents, %v", user, len(docs), err)
		}
	}
}
