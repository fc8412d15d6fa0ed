package xcap

import (
	"strings"

	"rollcall/xmltree"
)

// Usage is an application usage (RFC 4825 §5).
type Usage struct {
	AUID  string
	MIME  string // of documents
	Space string // default document namespace

	root      xmltree.Name // of documents
	schema    *content
	check     func(root *xmltree.Element) error // beyond the schema; nil for none
	only      string                            // the one name that a document may have
	folder    string                            // in which documents stand
	generated bool                              // documents are made by the server
	icon      bool                              // the greater limit of bytes
}

// The AUIDs that this server knows.
const (
	ResourceLists    = "resource-lists"                        // RFC 4826 §3.4.1
	RLSServices      = "rls-services"                          // RFC 4826 §4.4.1
	PresRules        = "pres-rules"                            // RFC 5025 §9.1
	OMAPresRules     = "org.openmobilealliance.pres-rules"     //
	PIDFManipulation = "pidf-manipulation"                     // RFC 4827 §4
	PresContent      = "org.openmobilealliance.pres-content"   //
	UserProfile      = "org.openmobilealliance.user-profile"   //
	Directory        = "org.openmobilealliance.xcap-directory" //
	Capabilities     = "xcap-caps"                             // RFC 4825 §12.1
)

var usages = []*Usage{
	{AUID: Capabilities, MIME: "application/xcap-caps+xml", Space: capsSpace, generated: true},
	{
		AUID: ResourceLists, MIME: "application/resource-lists+xml", Space: resourceListsSpace,
		root: xmltree.Name{Space: resourceListsSpace, Local: "resource-lists"}, schema: resourceLists, check: checkLists,
	},
	{
		AUID: RLSServices, MIME: "application/rls-services+xml", Space: rlsServicesSpace,
		root: xmltree.Name{Space: rlsServicesSpace, Local: "rls-services"}, schema: rlsServices, check: checkServices,
	},
	{ // RFC 5025 §9.3: the namespace is that of its own elements, the root is common policy's
		AUID: PresRules, MIME: "application/auth-policy+xml", Space: presRulesSpace,
		root: xmltree.Name{Space: commonPolicySpace, Local: "ruleset"}, schema: commonPolicy, check: checkRules,
	},
	{
		AUID: OMAPresRules, MIME: "application/auth-policy+xml", Space: commonPolicySpace,
		root: xmltree.Name{Space: commonPolicySpace, Local: "ruleset"}, schema: commonPolicy, check: checkRules,
	},
	{ // RFC 4827 §9: one document, index
		AUID: PIDFManipulation, MIME: "application/pidf+xml", Space: pidfSpace, only: "index",
		root: xmltree.Name{Space: pidfSpace, Local: "presence"}, schema: pidf, check: checkTuples,
	},
	{
		AUID: PresContent, MIME: "application/vnd.oma.pres-content+xml", Space: presContentSpace, folder: "oma_status-icon", icon: true,
		root: xmltree.Name{Space: presContentSpace, Local: "content"}, schema: presContent,
	},
	{
		AUID: UserProfile, MIME: "application/vnd.oma.user-profile+xml", Space: userProfileSpace,
		root: xmltree.Name{Space: userProfileSpace, Local: "user-profiles"}, schema: userProfile,
	},
	{AUID: Directory, MIME: "application/vnd.oma.xcap-directory+xml", Space: directorySpace, generated: true},
}

func usageOf(auid string) *Usage {
	for _, u := range usages {
		if u.AUID == auid {
			return u
		}
	}
	return nil
}

// validate holds a document to the schema and to the constraints within it.
func (u *Usage) validate(root *xmltree.Element) error {
	if root.Name != u.root {
		return conflict("schema-validation-error", "the root is not %s of %s", u.root.Local, u.root.Space)
	}
	if err := u.schema.validate(root); err != nil {
		return err
	}
	if u.check != nil {
		return u.check(root)
	}
	return nil
}

// checkLists is RFC 4826 §3.4.5.
func checkLists(root *xmltree.Element) error {
	return eachList(root, "resource-lists")
}

// eachList looks at the lists below an element; at is its selector.
func eachList(e *xmltree.Element, at string) error {
	for _, unique := range []struct{ name, attr string }{{"list", "name"}, {"entry", "uri"}, {"entry-ref", "ref"}, {"external", "anchor"}} {
		seen := map[string]bool{}
		for c := range e.Children(resourceListsSpace, unique.name) {
			v, ok := c.Attr("", unique.attr)
			if ok && seen[v] {
				field := at + "/" + unique.name + "[@" + unique.attr + "=\"" + v + "\"]/@" + unique.attr
				return &Conflict{Condition: "uniqueness-failure", Exists: []Exists{{Field: escapeSelector(field)}}}
			}
			seen[v] = true
			switch {
			case unique.name == "entry-ref" && (strings.Contains(v, "://") || strings.HasPrefix(v, "/")):
				return conflict("constraint-failure", "entry-ref is not a relative path")
			case unique.name == "external" && ok && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://"):
				return conflict("constraint-failure", "external anchor is not an absolute HTTP URI")
			}
		}
	}
	n := 0
	for c := range e.Children(resourceListsSpace, "list") {
		n++
		name, _ := c.Attr("", "name")
		if err := eachList(c, at+"/list[@name=\""+name+"\"]"); err != nil {
			return err
		}
	}
	return nil
}

// checkServices is RFC 4826 §4.4.5, as far as the document alone shows it.
func checkServices(root *xmltree.Element) error {
	for s := range root.Children(rlsServicesSpace, "service") {
		list, ref := s.Child(rlsServicesSpace, "list"), s.Child(rlsServicesSpace, "resource-list")
		if (list == nil) == (ref == nil) {
			return conflict("schema-validation-error", "a service has either a list or a resource-list")
		}
		if ref != nil {
			v := strings.TrimSpace(ref.Text())
			if !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") {
				return conflict("constraint-failure", "resource-list is not an absolute HTTP URI")
			}
			continue
		}
		if err := eachList(list, "rls-services/service/list"); err != nil {
			return err
		}
	}
	return nil
}

// checkRules: rule IDs are unique in a document (RFC 4745 §6.1), and elements of
// pres-rules are held to their schema.
func checkRules(root *xmltree.Element) error {
	seen := map[string]bool{}
	for r := range root.Children(commonPolicySpace, "rule") {
		id, _ := r.Attr("", "id")
		if seen[id] {
			return conflict("schema-validation-error", "two rules with one id")
		}
		seen[id] = true
		for _, part := range []string{"actions", "transformations"} {
			p := r.Child(commonPolicySpace, part)
			if p == nil {
				continue
			}
			for e := range p.Elements() {
				if e.Name.Space != presRulesSpace {
					continue
				}
				c := presRules[e.Name.Local]
				if c == nil || (e.Name.Local == "sub-handling") != (part == "actions") {
					return invalid(e, "element is not allowed here")
				}
				if err := c.validate(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkTuples: IDs of tuples are unique (RFC 3863 §4.1.2).
func checkTuples(root *xmltree.Element) error {
	seen := map[string]bool{}
	for t := range root.Children(pidfSpace, "tuple") {
		id, _ := t.Attr("", "id")
		if seen[id] {
			return conflict("schema-validation-error", "two tuples with one id")
		}
		seen[id] = true
	}
	return nil
}
