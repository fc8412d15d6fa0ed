package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xmltree"
)

const filterHead = `<?xml version="1.0" encoding="UTF-8"?><filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings>` +
	`<ns-binding prefix="pidf" urn="urn:ietf:params:xml:ns:pidf"/><ns-binding prefix="rpid" urn="urn:ietf:params:xml:ns:pidf:rpid"/>` +
	`<ns-binding prefix="dm" urn="urn:ietf:params:xml:ns:pidf:data-model"/></ns-bindings>`

// filter makes a filter-set of one filter.
func filter(inner string) string {
	return filterHead + `<filter id="123" uri="sip:alice@example.com">` + inner + `</filter></filter-set>`
}

// communication is the document of RFC 4660 §7.1, and a person.
const communication = `<tuple id="432sd"><status><basic>closed</basic></status><rpid:class>IM</rpid:class><contact>im:alice@example.com</contact></tuple>
	<tuple id="thr76jk"><status><basic>open</basic></status><rpid:class>voice</rpid:class><contact priority="0.5">tel:2224055555</contact></tuple>
	<dm:person id="p"><rpid:activities><rpid:busy/></rpid:activities></dm:person>`

func TestFilterContent(t *testing.T) {
	const im, voice = `<tuple id="432sd"><status><basic>closed</basic></status>`, `<tuple id="thr76jk"><status><basic>open</basic></status>`
	const person = `<dm:person id="person"><rpid:activities><rpid:busy/></rpid:activities></dm:person>`
	for _, c := range []struct{ what, want string }{
		{`<include type="xpath"> //pidf:tuple[rpid:class="IM" or rpid:class="SMS" or rpid:class="MMS"]/pidf:status/pidf:basic </include>
		  <include> //pidf:tuple[rpid:class="IM" or rpid:class="SMS"]/rpid:class</include>
		  <include>//pidf:tuple[rpid:class="IM"]/pidf:contact</include>`,
			im + `<rpid:class>IM</rpid:class><contact>im:alice@example.com</contact></tuple>`},
		{`<include>/presence/tuple/status/basic</include>`, voice + `</tuple>` + im + `</tuple>`},
		{`<include>/*/*[status/basic="open" and rpid:class='voice']</include>`,
			voice + `<rpid:class>voice</rpid:class><contact priority="0.5">tel:2224055555</contact></tuple>`},
		{`<include>//pidf:contact[@priority&lt;0.6]/@priority</include>`, voice + `<contact priority="0.5"/></tuple>`},
		{`<include>//pidf:basic[.="open"]</include>`, voice + `</tuple>`},
		{`<include type="namespace"> urn:ietf:params:xml:ns:pidf </include><exclude>/pidf:presence/pidf:tuple/pidf:contact</exclude>`,
			voice + `</tuple>` + im + `</tuple>`},
		{`<exclude>//pidf:tuple</exclude>`, person},
		{`<exclude type="namespace">urn:ietf:params:xml:ns:pidf:data-model</exclude><exclude>//rpid:class</exclude><exclude>//@priority</exclude>` +
			`<exclude>//status</exclude><exclude>//@id</exclude>`,
			voice + `<contact>tel:2224055555</contact></tuple>` + im + `<contact>im:alice@example.com</contact></tuple>`},
		{`<include>//rpid:mood</include>`, ""},
	} {
		d := newDesk(t, presence.Options{})
		d.publish(doc(communication))
		text := filter("<what>" + c.what + "</what>")
		if err := d.p.ParseFilter(presence.TypeFilter, []byte(text)); err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		whole := string(d.body(event.View{}).Bytes)
		b := d.body(event.View{Filter: text})
		if c.want == "" {
			if len(b.Bytes) != 0 || b.Type != "" {
				t.Errorf("%s: %s", c.what, b.Bytes)
			}
			continue
		}
		t.Log(c.what)
		d.same(b.Bytes, c.want)
		if whole != string(d.body(event.View{}).Bytes) {
			t.Error("the filter changed the state")
		}
		if full := d.body(event.View{Filter: text, Type: presence.TypeDiff}); !strings.Contains(string(full.Bytes), "pidf-full") {
			t.Error(string(full.Bytes))
		}
	}
}

func TestFilterApplies(t *testing.T) {
	const what = `<what><exclude>//dm:person</exclude></what>`
	for _, c := range []struct {
		filters string
		applies bool
	}{
		{`<filter id="1">` + what + `</filter>`, true},
		{`<filter id="1" domain="Example.com">` + what + `</filter>`, true},
		{`<filter id="1" uri="pres:alice@example.com">` + what + `</filter>`, true},
		{`<filter id="1" uri="sip:bob@example.com">` + what + `</filter>`, false},
		{`<filter id="1" domain="example.org">` + what + `</filter>`, false},
		{`<filter id="1" enabled="false">` + what + `</filter>`, false},
		{`<filter id="1" remove="true"/>`, false},
		{`<filter id="1"><what/></filter>`, false},
		{`<filter id="1">` + what + `</filter><filter id="2" uri="sip:alice@example.com"><trigger><added>//tuple</added></trigger></filter>`, false},
	} {
		d := newDesk(t, presence.Options{})
		d.publish(doc(communication))
		text := filterHead + c.filters + `</filter-set>`
		if err := d.p.ParseFilter(presence.TypeFilter, []byte(text)); err != nil {
			t.Errorf("%s: %v", c.filters, err)
		}
		if b := string(d.body(event.View{Filter: text}).Bytes); strings.Contains(b, "person id") == c.applies {
			t.Errorf("%s: %s", c.filters, b)
		}
	}
}

func TestFilterRefused(t *testing.T) {
	p := presence.New(presence.Options{})
	include := func(s string) string { return filter("<what><include>" + s + "</include></what>") }
	for _, text := range []string{
		filterHead + `</filter-set>`,
		filterHead + `<filter><what/></filter></filter-set>`,
		filterHead + `<filter id="1"/></filter-set>`,
		filterHead + `<filter id="1"><what/></filter><filter id="1"><what/></filter></filter-set>`,
		filterHead + `<filter id="1"><what/></filter><filter id="2"><what/></filter></filter-set>`,
		filterHead + `<filter id="1" uri="sip:a@example.com" domain="example.com"><what/></filter></filter-set>`,
		filterHead + `<filter id="1" uri="tel:1"><what/></filter></filter-set>`,
		strings.Replace(filter("<what/>"), "<filter-set", `<filter-set package="dialog"`, 1),
		include(""), include("/"), include("tuple"), include("/x:tuple"), include("/tuple["), include("/tuple[a]"), include("/tuple[a=]"),
		include(`/tuple[a="b]`), include(`/tuple[a="b" nor c="d"]`), include("/tuple/"), include("/tuple]"), include("//a//b//c"),
		include(strings.Repeat("/a", 13)), include("/a[" + strings.Repeat("a=1 or ", 9) + "a=1]"), include("/a[" + strings.Repeat("a/", 13) + "a=1]"),
		filter("<what>" + strings.Repeat("<include>/a</include>", 33) + "</what>"),
		filter(`<what><include type="regexp">/a</include></what>`),
		filter(`<what><include type="namespace"> </include></what>`),
		filter(`<trigger><moved>/a</moved></trigger>`),
		filter(`<trigger><changed by="much">/a</changed></trigger>`),
	} {
		var refused *sip.Error
		if err := p.ParseFilter(presence.TypeFilter, []byte(text)); !errors.As(err, &refused) || refused.Status != 488 {
			t.Errorf("%s: %v", text[len(filterHead)-20:], err)
		}
	}
	var refused *sip.Error
	if err := p.ParseFilter("text/plain", nil); !errors.As(err, &refused) || refused.Status != 415 {
		t.Error(err)
	}
	for _, text := range []string{"", "<", doc("")} {
		if err := p.ParseFilter(presence.TypeFilter, []byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestTriggers(t *testing.T) {
	body := func(inner, typ string) event.Body {
		d := newDesk(t, presence.Options{})
		d.publish(doc(inner))
		return d.body(event.View{Type: typ})
	}
	open := func(id, basic, more string) string {
		return `<tuple id="` + id + `"><status><basic>` + basic + `</basic>` + more + `</status></tuple>`
	}
	const basic = "/pidf:presence/pidf:tuple/pidf:status/pidf:basic"
	battery := func(n int) string { return fmt.Sprintf("<x:battery>%d</x:battery>", n) }
	for _, c := range []struct {
		trigger, prev, next string
		want                bool
	}{
		{`<changed from="CLOSED" to="OPEN">` + basic + `</changed>`, open("a", "closed", ""), open("a", "open", ""), true},
		{`<changed from="CLOSED" to="OPEN">` + basic + `</changed>`, open("a", "open", ""), open("a", "closed", ""), false},
		{`<changed>` + basic + `</changed>`, open("a", "open", ""), open("a", "open", "<x:more/>"), false},
		{`<changed>/presence/tuple/status</changed>`, open("a", "open", ""), open("a", "open", "<x:more/>"), true},
		{`<changed>` + basic + `</changed>`, open("a", "open", "") + open("b", "open", ""), open("b", "open", ""), false},
		{`<removed>/pidf:presence/pidf:tuple</removed>`, open("a", "open", "") + open("b", "open", ""), open("b", "open", ""), true},
		{`<added>/pidf:presence/pidf:tuple</added>`, open("a", "open", ""), open("a", "open", "") + open("b", "open", ""), true},
		{`<added>/pidf:presence/pidf:tuple</added>`, open("a", "open", ""), open("a", "closed", ""), false},
		{`<added>//tuple</added><removed>//tuple</removed>`, open("a", "open", ""), open("a", "open", "") + open("b", "open", ""), false},
		{`<added>//tuple</added></trigger><trigger><removed>//tuple</removed>`, open("a", "open", ""), open("a", "open", "") + open("b", "open", ""), true},
		{`<changed by="10">//*/x:battery</changed>`, open("a", "open", battery(50)), open("a", "open", battery(45)), false},
		{`<changed by="10">//*/x:battery</changed>`, open("a", "open", battery(50)), open("a", "open", battery(40)), true},
		{`<changed to="a1">//tuple/@id</changed>`, open("a", "open", ""), open("a", "open", ""), false},
		{``, open("a", "open", ""), open("a", "open", "<x:more/>"), true},
	} {
		text := strings.Replace(filter("<trigger>"+c.trigger+"</trigger>"), "</ns-bindings>", `<ns-binding prefix="x" urn="urn:example:x"/></ns-bindings>`, 1)
		p := presence.New(presence.Options{})
		if err := p.ParseFilter(presence.TypeFilter, []byte(text)); err != nil {
			t.Errorf("%s: %v", c.trigger, err)
		}
		for _, typ := range []string{presence.TypePIDF, presence.TypeDiff} {
			if got := p.Triggers(text, body(c.prev, typ), body(c.next, typ)); got != c.want {
				t.Errorf("%s: %v for %s\n%s\n%s", c.trigger, got, typ, c.prev, c.next)
			}
		}
		if !p.Triggers(text, event.Body{}, body(c.next, presence.TypePIDF)) {
			t.Errorf("%s: the first is not sent", c.trigger)
		}
	}
}

// FuzzFilter: a filter that is taken gives a document that may be sent.
func FuzzFilter(f *testing.F) {
	f.Add(`<exclude>//pidf:tuple</exclude>`)
	f.Add(`<include>//pidf:tuple[rpid:class="IM" or ../@a<3]/@id</include><include type="namespace">urn:example:x</include>`)
	f.Add(`</what><trigger><changed from="a" by="2">/*/*[.=1]</changed></trigger><what>`)
	p := presence.New(presence.Options{})
	a := alice(f)
	d, err := presence.ParseDocument(a, []byte(doc(communication)))
	if err != nil {
		f.Fatal(err)
	}
	s, err := p.Compose(context.Background(), a, []event.Publication{{Parsed: d}})
	if err != nil {
		f.Fatal(err)
	}
	full, err := p.Body(context.Background(), a, s, event.View{Type: presence.TypePIDF})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, what string) {
		text := filter("<what>" + what + "</what>")
		if p.ParseFilter(presence.TypeFilter, []byte(text)) != nil {
			return
		}
		b, err := p.Body(context.Background(), a, s, event.View{Type: presence.TypePIDF, Filter: text})
		if err != nil {
			t.Fatal(err)
		}
		p.Triggers(text, full, full)
		if len(b.Bytes) == 0 {
			return
		}
		if _, err := presence.ParseDocument(a, b.Bytes); err != nil {
			t.Fatalf("%v in\n%s", err, b.Bytes)
		}
		if _, err := xmltree.Parse(b.Bytes, xmltree.Limits{}); err != nil {
			t.Fatal(err)
		}
	})
}
