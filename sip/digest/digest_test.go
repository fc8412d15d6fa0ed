package digest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/sip/digest"
)

// vectors are the examples of the RFCs, with their methods.
var vectors = []struct {
	name, username, realm, password, method, field string
}{
	{"RFC 7616 §3.9.1 MD5", "Mufasa", "http-auth@example.org", "Circle of Life", "GET", `Digest username="Mufasa",
       realm="http-auth@example.org",
       uri="/dir/index.html",
       algorithm=MD5,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
       nc=00000001,
       cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
       qop=auth,
       response="8ca523f5e9506fed4657c9700eebdbec",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`},
	{"RFC 7616 §3.9.1 SHA-256", "Mufasa", "http-auth@example.org", "Circle of Life", "GET", `Digest username="Mufasa",
       realm="http-auth@example.org",
       uri="/dir/index.html",
       algorithm=SHA-256,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
       nc=00000001,
       cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
       qop=auth,
       response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`},
	// What §3.9.2 prints is not of its inputs; user name and response are those of
	// erratum 4897.
	{"RFC 7616 §3.9.2 SHA-512-256", "J\u00e4s\u00f8n Doe", "api@example.org", "Secret, or not?", "GET", `Digest
       username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b",
       realm="api@example.org",
       uri="/doe.json",
       algorithm=SHA-512-256,
       nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
       nc=00000001,
       cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
       qop=auth,
       response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
       opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
       userhash=true`},
	{"RFC 2617 §3.5", "Mufasa", "testrealm@host.com", "Circle Of Life", "GET", `Digest username="Mufasa",
                 realm="testrealm@host.com",
                 nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
                 uri="/dir/index.html",
                 qop=auth,
                 nc=00000001,
                 cnonce="0a4f113b",
                 response="6629fae49393a05397450978507c4ef1",
                 opaque="5ccc069c403ebaf9f0171e9517f40e41"`},
	{"the same without qop (RFC 2617 §3.2.2.1)", "Mufasa", "testrealm@host.com", "Circle Of Life", "GET",
		`Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",` +
			`uri="/dir/index.html",response="670fd8c2df070c60b045671b8b24ff02"`},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			c, err := digest.ParseCredentials(v.field)
			if err != nil {
				t.Fatal(err)
			}
			s := digest.NewSecrets(v.username, v.realm, v.password)
			if !c.Verify(&s, v.method) {
				t.Errorf("refused; want response %s", c.AppendResponse(nil, &s, v.method))
			}
			if c.Verify(&s, "POST") {
				t.Error("accepted for another method")
			}
			for i := range c.Response {
				for _, bad := range []string{c.Response[:i] + "g" + c.Response[i+1:], c.Response[:i], c.Response + c.Response[i:]} {
					forged := c
					forged.Response = bad
					if forged.Verify(&s, v.method) {
						t.Fatalf("accepted response %q", bad)
					}
				}
			}
			c.Response = strings.ToUpper(c.Response)
			if !c.Verify(&s, v.method) {
				t.Error("refused in upper case")
			}
			other := digest.NewSecrets(v.username, v.realm, v.password+" ")
			if c.Verify(&other, v.method) {
				t.Error("accepted with another password")
			}
		})
	}
}

func TestSecretsPrintAsNothing(t *testing.T) {
	s := digest.NewSecrets("alice", "example.com", "secret")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); !strings.Contains(got, "hidden") || len(got) > 30 {
			t.Errorf("%s prints %s", format, got)
		}
		if got := fmt.Sprintf(format, &s); !strings.Contains(got, "hidden") || len(got) > 30 {
			t.Errorf("%s of a pointer prints %s", format, got)
		}
	}
}

const someMD5 = `username="alice", realm="example.com", nonce="n", uri="sip:example.com", response="x"`

func TestParseCredentials(t *testing.T) {
	with := func(more string) string { return "Digest " + someMD5 + more }
	many := func(n int) string { return strings.Repeat(`, x="1"`, n) }
	for _, c := range []struct {
		name, field string
		want        error
	}{
		{"plain", with(""), nil},
		{"case of names", `DIGEST USERNAME="alice", Realm="example.com", NONCE="n", Uri="sip:example.com", RESPONSE="x"`, nil},
		{"tabs, folds, empty elements", "Digest\t,, username = \"alice\" ,\r\n realm=\"example.com\",,nonce=\"n\",uri=\"sip:example.com\",response=\"x\",", nil},
		{"without quotes", `Digest username=alice, realm=example.com, nonce=n, uri=sip:example.com;transport=tcp, response=x`, nil},
		{"nc in quotes without qop", with(`, nc="00000001"`), nil},
		{"nc in quotes with qop", with(`, qop="auth", cnonce="c", nc="00000001"`), nil},
		{"unknown parameters", with(many(20)), nil},
		{"algorithm in lower case", with(`, algorithm=sha-256`), nil},
		{"algorithm in quotes", with(`, algorithm="MD5"`), nil},

		{"nothing", "", digest.ErrScheme},
		{"another scheme", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", digest.ErrScheme},
		{"RFC 4475 §3.3.7", `NoOneKnowsThisScheme opaque-data=here`, digest.ErrScheme},
		{"scheme with a tail", `Digester username="alice"`, digest.ErrScheme},
		{"no scheme", "=,=,=", digest.ErrScheme},
		{"session variant", with(`, algorithm=MD5-sess`), digest.ErrUnsupported},
		{"unknown algorithm", with(`, algorithm=SHA-1`), digest.ErrUnsupported},
		{"auth-int", with(`, qop=auth-int, nc=00000001, cnonce="c"`), digest.ErrUnsupported},
		{"scheme alone", "Digest", digest.ErrMalformed},
		{"no value", "Digest username", digest.ErrMalformed},
		{"open quote", `Digest username="alice`, digest.ErrMalformed},
		{"open quote, escaped", `Digest username="alice\"`, digest.ErrMalformed},
		{"no comma", `Digest username="alice" realm="example.com"`, digest.ErrMalformed},
		{"no name", `Digest ="alice"`, digest.ErrMalformed},
		{"empty token", `Digest username=, realm="example.com"`, digest.ErrMalformed},
		{"response missing", `Digest username="alice", realm="example.com", nonce="n", uri="sip:example.com"`, digest.ErrMalformed},
		{"username twice", with(`, username="bob"`), digest.ErrMalformed},
		{"response twice", with(`, Response="y"`), digest.ErrMalformed},
		{"qop without nc", with(`, qop=auth, cnonce="c"`), digest.ErrMalformed},
		{"qop without cnonce", with(`, qop=auth, nc=00000001`), digest.ErrMalformed},
		{"nc zero", with(`, qop=auth, cnonce="c", nc=00000000`), digest.ErrMalformed},
		{"nc too long", with(`, qop=auth, cnonce="c", nc=000000001`), digest.ErrMalformed},
		{"nc not hex", with(`, qop=auth, cnonce="c", nc=0000000g`), digest.ErrMalformed},
		{"too many parameters", with(many(500)), digest.ErrLimits},
		{"long value", with(`, opaque="` + strings.Repeat("o", 2000) + `"`), digest.ErrLimits},
		{"long field", with(strings.Repeat(" ", 20000)), digest.ErrLimits},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := digest.ParseCredentials(c.field)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && (got.Username != "alice" || got.Realm != "example.com" || got.Nonce != "n" || got.Response != "x" ||
				!strings.HasPrefix(got.URI, "sip:example.com")) {
				t.Errorf("got %+v", got)
			}
			if err != nil && got != (digest.Credentials{}) {
				t.Errorf("error, and yet %+v", got)
			}
		})
	}
}

func TestEscapesAreResolved(t *testing.T) {
	want := digest.Credentials{
		Username: `a"l\ice`, Realm: "example.com", Nonce: "n", URI: "sip:example.com", Response: "00", CNonce: "c,d",
		Algorithm: digest.SHA512256, QOP: "auth", NC: "0000000a", Count: 10, Opaque: `\`,
	}
	got, err := digest.ParseCredentials(string(want.Append(nil)))
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestChallenge(t *testing.T) {
	c := digest.Challenge{Realm: "example.com", Nonce: "abc", Algorithm: digest.SHA256, QOP: true}
	if got, want := string(c.Append(nil)), `Digest realm="example.com", nonce="abc", algorithm=SHA-256, qop="auth"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c = digest.Challenge{Realm: "example.com", Nonce: "abc", Stale: true, QOP: true, Opaque: "o"}
	if got, want := string(c.Append(nil)), `Digest realm="example.com", nonce="abc", opaque="o", stale=true, algorithm=MD5, qop="auth"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err := digest.ParseChallenge(string(c.Append(nil)))
	if err != nil || got != c {
		t.Errorf("read back %+v, %v", got, err)
	}
	for field, want := range map[string]error{
		`Digest realm="r", nonce="n", qop="auth-int,auth"`:            nil,
		`Digest realm="r", nonce="n"`:                                 nil,
		`Digest realm="r", nonce="n", qop="auth-int"`:                 digest.ErrUnsupported,
		`Digest realm="r", nonce="n", algorithm=SHA-1`:                digest.ErrUnsupported,
		`Digest realm="r"`:                                            digest.ErrMalformed,
		`Basic realm="r"`:                                             digest.ErrScheme,
		`Digest realm="r", nonce="` + strings.Repeat("n", 2000) + `"`: digest.ErrLimits,
	} {
		if _, err := digest.ParseChallenge(field); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", field, err, want)
		}
	}
}

func FuzzParseCredentials(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.field)
	}
	f.Add("Digest " + someMD5 + `, qop="auth", cnonce="c\"", nc="00000001"`)
	f.Add("Digest a=b,,, c=\"\\\"")
	s := digest.NewSecrets("alice", "example.com", "secret")
	f.Fuzz(func(t *testing.T, field string) {
		c, err := digest.ParseCredentials(field)
		if err != nil {
			if c != (digest.Credentials{}) {
				t.Fatalf("error %v, and yet %+v", err, c)
			}
			return
		}
		if (c.QOP == "") != (c.Count == 0) || (c.QOP == "") != (c.NC == "") {
			t.Fatalf("qop and count differ: %+v", c)
		}
		if c.Verify(&s, "REGISTER") {
			t.Fatalf("accepted %q", field)
		}
		c.Response = string(c.AppendResponse(nil, &s, "REGISTER"))
		if c.QOP == "" {
			c.CNonce = "" // is not written
		}
		again, err := digest.ParseCredentials(string(c.Append(nil)))
		if err != nil {
			return // written longer than it was: every quote escaped
		}
		if !strings.ContainsAny(field, "\r\n") && (again != c || !again.Verify(&s, "REGISTER")) {
			t.Fatalf("wrote %+v\nread  %+v", c, again)
		}
	})
}

func benchmarkVerify(b *testing.B, a digest.Algorithm) {
	s := digest.NewSecrets("alice", "example.com", "secret")
	c := digest.Credentials{
		Username: "alice", Realm: "example.com", Nonce: "AGc5Tn0AAAFx4n1yB2f5i0Kk", URI: "sip:example.com",
		Algorithm: a, CNonce: "0a4f113b", QOP: "auth", NC: "00000001", Count: 1,
	}
	c.Response = string(c.AppendResponse(nil, &s, "REGISTER"))
	field := string(c.Append(nil))
	b.ReportAllocs()
	for b.Loop() {
		c, err := digest.ParseCredentials(field)
		if err != nil || !c.Verify(&s, "REGISTER") {
			b.Fatal("refused")
		}
	}
}

func BenchmarkParseAndVerifyMD5(b *testing.B)       { benchmarkVerify(b, digest.MD5) }
func BenchmarkParseAndVerifySHA256(b *testing.B)    { benchmarkVerify(b, digest.SHA256) }
func BenchmarkParseAndVerifySHA512256(b *testing.B) { benchmarkVerify(b, digest.SHA512256) }

func TestVerifyDoesNotAllocate(t *testing.T) {
	s := digest.NewSecrets("alice", "example.com", "secret")
	for _, a := range []digest.Algorithm{digest.MD5, digest.SHA256, digest.SHA512256} {
		c := digest.Credentials{Username: "alice", Realm: "example.com", Nonce: "n", URI: "sip:example.com", Algorithm: a, CNonce: "c", QOP: "auth", NC: "00000001"}
		c.Response = string(c.AppendResponse(nil, &s, "REGISTER"))
		field := string(c.Append(nil))
		n := testing.AllocsPerRun(100, func() {
			c, err := digest.ParseCredentials(field)
			if err != nil || !c.Verify(&s, "REGISTER") {
				t.Fatal("refused")
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
