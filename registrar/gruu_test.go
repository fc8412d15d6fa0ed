package registrar_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
)

func gruuOptions() registrar.Options {
	o := options()
	o.GRUUs = registrar.NewGRUUs([]byte("0123456789abcdef0123456789abcdef"))
	return o
}

// granted are the GRUUs in the first Contact line.
func granted(t *testing.T, lines []string) (public, temporary string) {
	t.Helper()
	a, err := sip.ParseAddress(strings.TrimPrefix(lines[0], "Contact: "))
	if err != nil {
		t.Fatalf("%v in %q", err, lines)
	}
	p, _ := a.Params.Get("pub-gruu")
	q, _ := a.Params.Get("temp-gruu")
	return strings.Trim(p, `"`), strings.Trim(q, `"`)
}

// leads are the contacts to which a GRUU leads; nil for one that is not valid.
func leads(t *testing.T, r *registrar.Registrar, g *registrar.GRUUs, uri string) []string {
	t.Helper()
	u, err := sip.ParseURI(uri)
	if err != nil {
		t.Fatalf("%q: %v", uri, err)
	}
	x, found := g.Parse(u)
	if !found {
		t.Fatalf("%q is no GRUU", uri)
	}
	if x.IsZero() {
		return nil
	}
	if x.AOR.String() != "sip:alice@example.com" {
		t.Errorf("%q is of %s", uri, x.AOR)
	}
	got := []string{}
	for _, b := range lookup(t, r) {
		if x.Leads(&b) {
			got = append(got, b.Contact)
		}
	}
	return got
}

// TestGRUU: a device that asks for them gets a public GRUU that stays and a temporary one with each REGISTER (RFC 5627
// §5.1, §5.2); both lead to it alone.
func TestGRUU(t *testing.T) {
	o := gruuOptions()
	g := o.GRUUs
	r := registrar.New(open(t, t.TempDir()), o)
	one, two := newPhone(t, r), newPhone(t, r)
	two.callID = "another"
	const (
		first  = `Contact: <sip:alice@192.0.2.1>;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";pub-gruu="sip:mallory@example.com;gr=x";temp-gruu="sip:x@example.com;gr"`
		second = `Contact: <sip:alice@192.0.2.2>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
		gruu   = "Supported: path, gruu"
	)
	public, temporary := granted(t, one.ok(first, gruu))
	if public != "sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6" {
		t.Errorf("public GRUU %q", public)
	}
	if !strings.HasPrefix(temporary, "sip:tgruu.") || !strings.HasSuffix(temporary, "@example.com;gr") || strings.Contains(temporary, "alice") {
		t.Errorf("temporary GRUU %q", temporary)
	}
	again, next := granted(t, one.ok(first, gruu))
	if again != public || next == temporary || len(next) != len(temporary) {
		t.Errorf("again %q and %q", again, next)
	}
	if p, q := granted(t, one.ok(first)); p != "" || q != "" {
		t.Errorf("not asked for, and told %q and %q", p, q)
	}
	one.ok(first, gruu)
	if p, q := granted(t, two.ok("Contact: <sip:alice@192.0.2.3>", gruu)[1:]); p != "" || q != "" {
		t.Errorf("without an instance %q and %q", p, q)
	}
	two.ok(second, gruu)

	mine := []string{"sip:alice@192.0.2.1"}
	for _, uri := range []string{public, temporary, next, strings.ToUpper(public[:4]) + public[4:], strings.Replace(public, "f81d4fae", "F81D4FA%45", 1)} {
		equal(t, uri, leads(t, r, g, uri), mine)
	}
	equal(t, "the other device", leads(t, r, g, "sip:alice@example.com;gr=urn:uuid:00000000-0000-1000-8000-aabbccddeeff"), []string{"sip:alice@192.0.2.2"})
	equal(t, "an unknown instance", leads(t, r, g, "sip:alice@example.com;gr=urn:uuid:1"), []string{})

	// With another Call-ID "the registrar MUST invalidate all previously generated temporary GRUUs" (§5.1).
	one.callID, one.cseq = "after a crash", 1
	public, fresh := granted(t, one.ok(first, gruu))
	for _, uri := range []string{temporary, next} {
		equal(t, "a temporary GRUU of before the crash", leads(t, r, g, uri), []string{})
	}
	equal(t, "a fresh one", leads(t, r, g, fresh), mine)
	equal(t, "the public one", leads(t, r, g, public), mine)

	// "all of the accumulated temporary GRUUs get invalidated once the last contact for a given instance ID expires" (§5.3).
	one.ok("Contact: <sip:alice@192.0.2.1>;expires=0;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"", gruu)
	equal(t, "the public one of who has left", leads(t, r, g, public), []string{})
	time.Sleep(2 * time.Millisecond) // registrations are told apart by the millisecond
	one.ok(first, gruu)
	equal(t, "a temporary one of before", leads(t, r, g, fresh), []string{})
	equal(t, "the public one", leads(t, r, g, public), mine)
}

// TestGRUUThatIsNone: what this registrar has not made leads nowhere.
func TestGRUUThatIsNone(t *testing.T) {
	o := gruuOptions()
	r := registrar.New(open(t, t.TempDir()), o)
	_, temporary := granted(t, newPhone(t, r).ok(`Contact: <sip:alice@192.0.2.1>;+sip.instance="<urn:x>"`, "Supported: gruu"))
	changed := []byte(temporary)
	changed[len("sip:tgruu.")+5] ^= 1
	for _, uri := range []string{
		string(changed), strings.Replace(temporary, "example.com", "example.org", 1), "sip:tgruu.@example.com;gr", "sip:tgruu.AAAA@example.com;gr",
		"sip:alice@example.com;gr",
	} {
		if got := leads(t, r, o.GRUUs, uri); got != nil {
			t.Errorf("%q leads to %q", uri, got)
		}
	}
	other := registrar.NewGRUUs([]byte("another key of thirty-two bytes."))
	if got := leads(t, r, other, temporary); got != nil {
		t.Errorf("with another key it leads to %q", got)
	}
	for _, uri := range []string{"sip:alice@example.com", "sip:alice@example.com;transport=tcp", "sip:tgruu.x@example.com"} {
		u, _ := sip.ParseURI(uri)
		if _, found := o.GRUUs.Parse(u); found {
			t.Errorf("%q is a GRUU", uri)
		}
	}
	var none *registrar.GRUUs
	u, _ := sip.ParseURI(temporary)
	if _, found := none.Parse(u); found {
		t.Error("without a key there are GRUUs")
	}
}

// TestTemporaryGRUUTellsNothing: "it MUST be computationally infeasible to determine whether they were issued for the same
// AOR or instance ID" (RFC 5627 §5.1), so not by their length either; and each is good, as long as it is given.
func TestTemporaryGRUUTellsNothing(t *testing.T) {
	g := gruuOptions().GRUUs
	lengths := map[int]bool{}
	for n := 1; n <= 250; n++ {
		user := strings.Repeat("u", n)
		b := registrar.Binding{AOR: aor(t, "sip:"+user+"@example.com"), Instance: "urn:x", CallID: "1", GRUU: true}
		_, temporary := g.Of(&b)
		if temporary == "" {
			if n < 150 {
				t.Fatalf("none for an address of %d bytes", n)
			}
			continue
		}
		u, err := sip.ParseURI(temporary)
		if err != nil {
			t.Fatal(err)
		}
		if x, found := g.Parse(u); !found || x.AOR != b.AOR || !x.Leads(&b) {
			t.Errorf("%q leads to %s, want %s", temporary, x.AOR, b.AOR)
		}
		if n <= 40 {
			lengths[len(temporary)] = true
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths of temporary GRUUs: %v", lengths)
	}
}

// FuzzGRUU reads any URI: what is read leads to no binding but that of its instance.
func FuzzGRUU(f *testing.F) {
	o := gruuOptions()
	b := registrar.Binding{AOR: aor(f, "sip:alice@example.com"), Instance: "urn:uuid:1", CallID: "1", GRUU: true}
	public, temporary := o.GRUUs.Of(&b)
	for _, s := range []string{public, temporary, "sip:tgruu.x@example.com;gr", "sip:a@b;gr=%41", "sips:a@b;gr=\"x\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := sip.ParseURI(s)
		if err != nil {
			return
		}
		x, found := o.GRUUs.Parse(u)
		if found && !x.IsZero() && x.Temporary && x.Leads(&b) && x.AOR != b.AOR {
			t.Errorf("%q is of %s", s, x.AOR)
		}
		if !found && !x.IsZero() {
			t.Errorf("%q is none, and names a device", s)
		}
	})
}
