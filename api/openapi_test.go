package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestOpenAPI: every route is described, with what goes in and what comes out, in the words of its JSON.
func TestOpenAPI(t *testing.T) {
	for pattern := range access {
		if _, ok := shapes[pattern]; !ok {
			t.Errorf("%s has no shape", pattern)
		}
	}
	for pattern := range shapes {
		if _, ok := access[pattern]; !ok {
			t.Errorf("%s is a shape of no route", pattern)
		}
	}
	w := httptest.NewRecorder()
	openAPI().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	type schema struct {
		Type                 any
		Properties           map[string]schema
		Items                *schema
		Format               string
		AdditionalProperties any
	}
	type content map[string]struct{ Schema schema }
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Parameters  []struct{ Name, In string }
			RequestBody struct{ Content content }
			Responses   map[string]struct{ Content content }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%v", err)
	}
	list := doc.Paths["/api/v1/registrations"]["get"]
	bindings := list.Responses["200"].Content["application/json"].Schema
	if bindings.Items == nil || bindings.Items.Properties["contact"].Type != "string" || bindings.Items.Properties["expires"].Format != "date-time" || bindings.Items.AdditionalProperties != nil {
		t.Errorf("registrations: %+v", bindings)
	}
	if len(list.Parameters) != 1 || list.Parameters[0].Name != "aor" || list.Parameters[0].In != "query" {
		t.Errorf("parameters of registrations: %+v", list.Parameters)
	}
	send := doc.Paths["/api/v1/messages"]["post"]
	if body := send.RequestBody.Content["application/json"].Schema; body.Properties["to"].Type != "string" || body.AdditionalProperties == nil {
		t.Errorf("a message: %+v", body)
	}
	if hold := doc.Paths["/api/v1/holds"]["post"].RequestBody.Content["application/json"].Schema; hold.Properties["by"].Type != nil || hold.Properties["reason"].Type != "string" {
		t.Errorf("a hold: %+v", hold)
	}
	if failed := send.Responses["default"].Content["application/json"].Schema; failed.Properties["error"].Type != "string" {
		t.Errorf("an error: %+v", failed)
	}
	if event := doc.Paths["/api/v1/records/stream"]["get"].Responses["200"].Content["text/event-stream"].Schema; event.Properties["id"].Type != "string" {
		t.Errorf("a record: %+v", event)
	}
	if size := w.Body.Len(); size > 1<<20 {
		t.Errorf("%d bytes", size)
	}
}
