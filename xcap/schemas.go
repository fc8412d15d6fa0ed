package xcap

import (
	"encoding/base64"
	"strings"
	"time"
)

const (
	resourceListsSpace = "urn:ietf:params:xml:ns:resource-lists"
	rlsServicesSpace   = "urn:ietf:params:xml:ns:rls-services"
	commonPolicySpace  = "urn:ietf:params:xml:ns:common-policy"
	presRulesSpace     = "urn:ietf:params:xml:ns:pres-rules"
	pidfSpace          = "urn:ietf:params:xml:ns:pidf"
	capsSpace          = "urn:ietf:params:xml:ns:xcap-caps"
	presContentSpace   = "urn:oma:xml:prs:pres-content"
	directorySpace     = "urn:oma:xml:xdm:xcap-directory"
	userProfileSpace   = "urn:oma:xml:xdm:user-profile"
)

var textOnly = &content{text: anything}

// resourceLists is RFC 4826 §3.2.
var resourceLists = func() *content {
	return &content{children: map[string]*content{"list": listContent()}, others: false}
}()

func listContent() *content {
	list := &content{
		attrs:  map[string]rule{"name": {}},
		single: "display-name", others: true,
	}
	list.children = map[string]*content{
		"display-name": textOnly,
		"list":         list,
		"entry": {
			attrs: map[string]rule{"uri": {required: true, value: someURI}}, single: "display-name", others: true,
			children: map[string]*content{"display-name": textOnly},
		},
		"entry-ref": {
			attrs: map[string]rule{"ref": {required: true, value: someURI}}, single: "display-name", others: true,
			children: map[string]*content{"display-name": textOnly},
		},
		"external": {
			attrs: map[string]rule{"anchor": {value: someURI}}, single: "display-name", others: true,
			children: map[string]*content{"display-name": textOnly},
		},
	}
	return list
}

// rlsServices is RFC 4826 §4.2. A list within a service has the children of one in
// resource-lists.
var rlsServices = func() *content {
	list := *listContent()
	list.space = resourceListsSpace
	service := &content{
		attrs:  map[string]rule{"uri": {required: true, value: someURI}},
		single: "list resource-list packages", others: true,
		children: map[string]*content{
			"list":          &list,
			"resource-list": {text: someURI},
			"packages":      {children: map[string]*content{"package": textOnly}, others: true},
		},
	}
	return &content{children: map[string]*content{"service": service}, others: true}
}()

// commonPolicy is RFC 4745 §13 with the actions and transformations of RFC 5025 §7.
var commonPolicy = func() *content {
	identity := &content{others: true, children: map[string]*content{
		"one": {attrs: map[string]rule{"id": {required: true, value: someURI}}, others: true},
		"many": {attrs: map[string]rule{"domain": {}}, others: true, children: map[string]*content{
			"except": {attrs: map[string]rule{"domain": {}, "id": {value: someURI}}},
		}},
	}}
	conditions := &content{others: true, children: map[string]*content{
		"identity": identity,
		"sphere":   {attrs: map[string]rule{"value": {required: true}}},
		"validity": {children: map[string]*content{"from": {text: dateTime}, "until": {text: dateTime}}, least: map[string]int{"from": 1, "until": 1}},
	}}
	rule := &content{
		attrs:  map[string]rule{"id": {required: true, value: xmlID}},
		order:  []string{"conditions", "actions", "transformations"},
		single: "conditions actions transformations",
		children: map[string]*content{
			"conditions": conditions, "actions": {others: true}, "transformations": {others: true},
		},
	}
	return &content{children: map[string]*content{"rule": rule}}
}()

// presRules are the elements of RFC 5025 §7, wherever they stand.
var presRules = func() map[string]*content {
	flag := &content{text: boolean}
	classes := map[string]*content{
		"class": textOnly, "occurrence-id": textOnly,
	}
	all := map[string]*content{
		"sub-handling": {text: oneOf("block confirm polite-block allow")},
		"provide-services": {others: true, children: with(classes, map[string]*content{
			"all-services": {}, "service-uri": {text: someURI}, "service-uri-scheme": textOnly,
		})},
		"provide-persons": {others: true, children: with(classes, map[string]*content{"all-persons": {}})},
		"provide-devices": {others: true, children: with(classes, map[string]*content{
			"all-devices": {}, "deviceID": {text: someURI},
		})},
		"provide-user-input":        {text: oneOf("false bare thresholds full")},
		"provide-unknown-attribute": {attrs: map[string]rule{"name": {required: true}, "ns": {required: true}}, text: boolean},
		"provide-all-attributes":    {},
	}
	for name := range strings.FieldsSeq("activities class deviceID mood place-is place-type privacy relationship sphere status-icon time-offset note") {
		all["provide-"+name] = flag
	}
	return all
}()

func with(a, b map[string]*content) map[string]*content {
	for k, v := range a {
		b[k] = v
	}
	return b
}

// pidf is RFC 3863 §4.4.
var pidf = &content{
	attrs: map[string]rule{"entity": {required: true, value: someURI}}, others: true,
	order: []string{"tuple", "note"},
	children: map[string]*content{
		"note": textOnly,
		"tuple": {
			attrs: map[string]rule{"id": {required: true, value: xmlID}}, others: true,
			order: []string{"status", "contact", "note", "timestamp"}, single: "status contact timestamp", least: map[string]int{"status": 1},
			children: map[string]*content{
				"status":    {others: true, single: "basic", children: map[string]*content{"basic": {text: oneOf("open closed")}}},
				"contact":   {attrs: map[string]rule{"priority": {}}, text: someURI},
				"note":      textOnly,
				"timestamp": {text: dateTime},
			},
		},
	},
}

// presContent is an image in base64, as OMA has it.
var presContent = &content{
	others: true, single: "mime-type encoding data", least: map[string]int{"data": 1},
	children: map[string]*content{
		"mime-type": {text: mimeType}, "encoding": {text: oneOf("base64")}, "description": textOnly, "data": {text: base64Text},
	},
}

// userProfile is OMA's, whose entries are many and free.
var userProfile = &content{
	children: map[string]*content{"user-profile": {attrs: map[string]rule{"uri": {value: someURI}}, any: true}}, others: true,
}

func dateTime(s string) bool {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} { // xs:dateTime needs no zone
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// xmlID is an NCName, as far as a client could get it wrong.
func xmlID(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && !strings.ContainsAny(s, " \t\r\n:<>\"'&/@") && (s[0] < '0' || s[0] > '9') && s[0] != '-' && s[0] != '.'
}

func mimeType(s string) bool {
	kind, sub, ok := strings.Cut(strings.TrimSpace(s), "/")
	return ok && kind != "" && sub != "" && !strings.ContainsAny(s, "<>\r\n")
}

func base64Text(s string) bool {
	clean := strings.Join(strings.Fields(s), "")
	_, err := base64.StdEncoding.DecodeString(clean)
	return clean != "" && err == nil
}
