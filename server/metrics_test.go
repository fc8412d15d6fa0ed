package server

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/zap"
)

//go:generate go test -run ^TestMetricsPage$ -update .

var update = flag.Bool("update", false, "write docs/metrics.md")

// registered is a server that has done nothing, for its metrics.
func registered(t *testing.T) *Server {
	t.Helper()
	s, err := New(testConfig(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	return s
}

func TestMetricNames(t *testing.T) {
	families, err := registered(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetValue(), "@") {
					t.Errorf("%s has an address of record in label %s", f.GetName(), l.GetName())
				}
			}
		}
		if n := len(f.GetMetric()); n > 20 {
			t.Errorf("%s has %d series", f.GetName(), n)
		}
	}
}

// TestMetricsPage: docs/metrics.md lists what /metrics has.
func TestMetricsPage(t *testing.T) {
	const path = "../docs/metrics.md"
	want := metricsPage(t, registered(t))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the registry has; run go generate ./server", path)
	}
}

func metricsPage(t *testing.T, s *Server) string {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Metrics

` + "`[http]`" + ` serves them at ` + "`/metrics`" + ` in the Prometheus text format. A counter counts since the start of the process. No label
holds an address of record, so the number of series does not grow with the accounts.

| metric | type | labels | what it tells |
|---|---|---|---|
`)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "rollcall_") {
			continue
		}
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		var cells []string
		for name, values := range labels {
			slices.Sort(values)
			cells = append(cells, fmt.Sprintf("`%s`: %s", name, strings.Join(slices.Compact(values), ", ")))
		}
		slices.SortFunc(cells, cmp.Compare[string])
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(cells, "; "), f.GetHelp())
	}
	b.WriteString(`
Beside them are those of the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `), as the Prometheus client
library names them.

This page is made from the registry by ` + "`go generate ./server`" + `.
`)
	return b.String()
}
