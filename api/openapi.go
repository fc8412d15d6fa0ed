package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"rollcall/archive"
	"rollcall/archive/export"
	"rollcall/archive/retain"
	"rollcall/auth"
)

// shape is what goes into a route and comes out of it.
type shape struct {
	in  any    // JSON of the request; nil: it has no body
	set string // properties of it that the server sets, parted by spaces
	out any    // JSON of the answer, or of the data of an event; nil: it is no JSON
	as  string // media type of the answer; "" is application/json
}

const (
	asEvents = "text/event-stream"
	asLines  = "application/x-ndjson"
)

// done is the answer of what has nothing to tell.
type done struct{}

var shapes = map[string]shape{
	"GET /api/v1/status":                       {out: Status{}},
	"POST /api/v1/reload":                      {out: done{}},
	"GET /api/v1/registrations":                {out: []Registration{}},
	"GET /api/v1/subscriptions":                {out: []Subscription{}},
	"GET /api/v1/explain":                      {out: Explanation{}},
	"GET /api/v1/trace":                        {out: Traced{}, as: asEvents},
	"GET /api/v1/presence":                     {out: []Presence{}},
	"GET /api/v1/presence/{aor}":               {out: Presence{}},
	"GET /api/v1/presence/stream":              {out: Watched{}, as: asEvents},
	"GET /api/v1/groups":                       {out: []Group{}},
	"GET /api/v1/groups/{name}":                {out: Group{}},
	"PUT /api/v1/presence/{aor}":               {in: Publish{}, out: Published{}},
	"DELETE /api/v1/presence/{aor}":            {out: done{}},
	"POST /api/v1/messages":                    {in: NewMessage{}, out: SentMessage{}},
	"POST /api/v1/messages/{id}/confirm":       {out: done{}},
	"GET /api/v1/messages/stream":              {out: ReceivedMessage{}, as: asEvents},
	"GET /api/v1/users":                        {out: User{}, as: asLines},
	"GET /api/v1/users/report":                 {out: NameReport{}},
	"POST /api/v1/users":                       {in: addUser{}, set: "disabled", out: done{}},
	"PATCH /api/v1/users/{aor}":                {in: changeUser{}, out: done{}},
	"DELETE /api/v1/users/{aor}":               {out: done{}},
	"POST /api/v1/users/import":                {out: importLine{}, as: asLines},
	"GET /api/v1/users/export":                 {as: "text/csv"},
	"GET /api/v1/aliases":                      {out: []Alias{}},
	"PUT /api/v1/aliases/{aor}":                {in: Alias{}, set: "by created", out: done{}},
	"DELETE /api/v1/aliases/{aor}":             {out: done{}},
	"GET /api/v1/tokens":                       {out: []auth.Token{}},
	"POST /api/v1/tokens":                      {in: NewToken{}, out: CreatedToken{}},
	"DELETE /api/v1/tokens/{id}":               {out: done{}},
	"GET /api/v1/usage":                        {out: UsageReport{}},
	"GET /api/v1/audit":                        {out: AuditPage{}},
	"GET /api/v1/policy":                       {out: PolicyState{}},
	"GET /api/v1/records":                      {out: []archive.View{}},
	"GET /api/v1/conversations":                {out: Conversation{}},
	"GET /api/v1/records/stream":               {out: archive.View{}, as: asEvents},
	"GET /api/v1/records/{id}":                 {out: archive.Shown{}},
	"GET /api/v1/records/{id}/proof":           {as: "text/plain"},
	"POST /api/v1/exports":                     {in: ExportRequest{}, out: export.Job{}},
	"GET /api/v1/exports":                      {out: []export.Job{}},
	"GET /api/v1/exports/{id}":                 {out: export.Job{}},
	"DELETE /api/v1/exports/{id}":              {out: done{}},
	"GET /api/v1/exports/{id}/files/{name...}": {as: "application/octet-stream"},
	"GET /api/v1/exports/{id}/tar":             {as: "application/x-tar"},
	"GET /api/v1/holds":                        {out: []retain.Hold{}},
	"POST /api/v1/holds":                       {in: retain.Hold{}, set: "by placed release_by release_asked release_reason", out: retain.Hold{}},
	"POST /api/v1/holds/{name}/release":        {in: releaseHold{}, out: Release{}},
	"GET /api/v1/reviews":                      {out: Reviews{}},
	"POST /api/v1/reviews/{id}":                {in: ReviewStep{}, out: archive.Review{}},
	"POST /api/v1/record/erase":                {in: EraseRequest{}, out: retain.Erasure{}},
	"POST /api/v1/record/purge":                {out: []retain.Purged{}},
	"POST /api/v1/record/key":                  {out: RotatedKey{}},
	"POST /api/v1/record/acts":                 {in: Act{}, out: Acted{}},
}

// spelled are the types whose JSON is not what their fields say.
var spelled = &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[archive.ID]():      {Type: "string", Description: "a ULID"},
	reflect.TypeFor[json.RawMessage](): {Description: "any JSON"},
	reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
}}

// schemaOf describes the JSON of a value of the type of v. Of an answer, which may have more fields in a later
// version, it says nothing about others.
func schemaOf(v any, answer bool) *jsonschema.Schema {
	s, err := jsonschema.ForType(reflect.TypeOf(v), spelled)
	if err != nil {
		panic("api: " + err.Error()) // a test makes all of them
	}
	if answer {
		open(s)
	}
	return s
}

func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		open(p)
	}
	open(s.Items)
	open(s.AdditionalProperties)
}

// asked are the query parameters in the summary of a route.
var asked = regexp.MustCompile(`\?(\w+)=`)

// openAPI describes the routes (OpenAPI 3.1).
func openAPI() http.Handler {
	type object map[string]any
	paths := map[string]object{}
	for pattern, a := range access {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.ReplaceAll(path, "...}", "}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		text := object{"type": "string"}
		var params []any
		for rest := path; strings.Contains(rest, "{"); {
			_, after, _ := strings.Cut(rest, "{")
			name, tail, _ := strings.Cut(after, "}")
			params = append(params, object{"name": name, "in": "path", "required": true, "schema": text})
			rest = tail
		}
		for _, found := range asked.FindAllStringSubmatch(a.summary, -1) {
			params = append(params, object{"name": found[1], "in": "query", "schema": text})
		}
		sh := shapes[pattern]
		content := object{}
		if sh.out != nil {
			content["schema"] = schemaOf(sh.out, true)
		}
		if sh.as == "" {
			sh.as = "application/json"
		}
		op := object{"summary": a.summary, "description": "Roles: " + strings.Join(a.roles, ", ") + ".", "security": []any{object{"token": []string{}}},
			"responses": object{
				"200":     object{"description": "Done.", "content": object{sh.as: content}},
				"default": object{"description": "What was wrong.", "content": object{"application/json": object{"schema": schemaOf(failure{}, true)}}},
			}}
		if params != nil {
			op["parameters"] = params
		}
		if sh.in != nil {
			s := schemaOf(sh.in, false)
			for name := range strings.FieldsSeq(sh.set) {
				delete(s.Properties, name)
				s.Required = slices.DeleteFunc(s.Required, func(r string) bool { return r == name })
			}
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s}}}
		}
		paths[path][strings.ToLower(method)] = op
	}
	text, err := json.MarshalIndent(object{
		"openapi": "3.1.0", "info": object{"title": "rollcall", "version": "1"}, "paths": paths,
		"components": object{"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}, "", " ")
	if err != nil {
		panic(err) // maps, strings and schemas are always JSON
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(text)))
	})
}
