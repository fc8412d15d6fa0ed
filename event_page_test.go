package rollcall_test

import (
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEventPackagesPage: the package that docs/event-packages.md builds is formatted,
// compiles, and passes its test.
func TestEventPackagesPage(t *testing.T) {
	var code, test string
	for _, block := range fenced(read(t, "docs/event-packages.md"), "go") {
		if strings.HasPrefix(block, "package weather_test\n") {
			test = block
			continue
		}
		if code != "" {
			code += "\n"
		}
		code += block
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}} // what go build -overlay reads
	for name, text := range map[string]string{"weather.go": code, "weather_test.go": test} {
		formatted, err := format.Source([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if string(formatted) != text {
			t.Errorf("%s is not formatted", name)
		}
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join("event", "weather", name)] = at
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(files, b, 0o600); err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(dir, "suite") // vet wants the folder to be there
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", files, "-o", suite, "./event/weather").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), suite, "-test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"--- PASS: TestSuite/Publish", "--- PASS: TestSuite/Body", "--- PASS: TestSuite/Offline"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
