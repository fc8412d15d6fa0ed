package export

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Exports are bounded in number, made in order, and go when their time is over.
func TestJobs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "exports")
	synctest.Test(t, func(t *testing.T) {
		var order []string
		jobs, err := OpenJobs(dir, func(_ context.Context, j Job, _ string, progress func(int, int)) (*Manifest, error) {
			order = append(order, j.Query)
			progress(1, 2)
			if j.Query == "x" {
				return nil, errors.New("no")
			}
			return &Manifest{Messages: 2}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jobs.Add(Job{Format: "doc"}); !errors.Is(err, ErrFormat) {
			t.Errorf("a format that is none: %v", err)
		}
		var want []string
		for i := range MaxJobs {
			want = append(want, strings.Repeat("x", i))
			if _, err := jobs.Add(Job{Query: want[i], Format: "csv"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := jobs.Add(Job{Format: "csv"}); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		first := jobs.List()[0].ID
		if _, err := jobs.Open(first, "manifest.json"); !errors.Is(err, ErrNotDone) {
			t.Errorf("a file of what is not done: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go jobs.Run(ctx, func(err error) { t.Error(err) })
		synctest.Wait()
		if strings.Join(order, ",") != strings.Join(want, ",") {
			t.Errorf("order %s", order)
		}
		if j, err := jobs.Get(first); err != nil || j.State != Done || j.Done != 2 || j.All != 2 {
			t.Errorf("%+v %v", j, err)
		}
		if j := jobs.List()[1]; j.State != Failed || j.Error != "no" {
			t.Errorf("%+v", j)
		}
		if err := jobs.Remove(first); err != nil || len(jobs.List()) != MaxJobs-1 {
			t.Errorf("removed: %v, %d left", err, len(jobs.List()))
		}
		time.Sleep(KeepJobs + sweepEvery)
		synctest.Wait()
		if n := len(jobs.List()); n != 0 {
			t.Errorf("%d after their time", n)
		}
		cancel()
		synctest.Wait()
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}
