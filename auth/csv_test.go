package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/sip/digest"
	"rollcall/store"
	"rollcall/store/storetest"
)

func importText(t *testing.T, d *auth.Directory, text string) auth.Result {
	t.Helper()
	r, err := d.Import(t.Context(), strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func export(t *testing.T, d *auth.Directory) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestImportAddsAndChanges(t *testing.T) {
	d := openDirectory(t, openStore(t))
	got := importText(t, d, "\ufeffgroups,aor,Password ,unit,display_name\r\n"+
		"staff; berlin;;staff,sip:alice@example.com,\" p, \"\"w\"\"\",sales,\"Ann, Alice\"\r\n"+
		",bob@Example.com,bob,,\r\n")
	if got != (auth.Result{Added: 2}) {
		t.Errorf("result %+v", got)
	}
	alice, err := d.Get(t.Context(), aor(t, "alice@example.com"))
	if err != nil || alice.DisplayName != "Ann, Alice" || !slices.Equal(alice.Groups, []string{"staff", "berlin"}) || alice.Unit != "sales" ||
		alice.Secrets != digest.NewSecrets("alice", "example.com", ` p, "w"`) {
		t.Errorf("alice is %+v, %v", alice, err)
	}

	// A column that is not there changes nothing, one that is there does, and an
	// empty password keeps the old one.
	if err := d.SetDisabled(t.Context(), alice.AOR, true); err != nil {
		t.Fatal(err)
	}
	got = importText(t, d, "aor,password,unit,email\nalice@example.com,,,alice@example.com\nbob@example.com,bob,,\ncarol@example.com,carol,,\n")
	if got != (auth.Result{Added: 1, Changed: 1, Unchanged: 1}) {
		t.Errorf("result %+v", got)
	}
	after, err := d.Get(t.Context(), alice.AOR)
	if err != nil || after.DisplayName != "Ann, Alice" || !slices.Equal(after.Groups, alice.Groups) || after.Unit != "" || after.Email != "alice@example.com" ||
		after.Secrets != alice.Secrets || !after.Disabled || after.Created != alice.Created {
		t.Errorf("alice is %+v, %v", after, err)
	}
}

func TestExportIsAnImport(t *testing.T) {
	d := openDirectory(t, openStore(t))
	manyAccounts(t, d, 50)
	importText(t, d, "aor,password,display_name,groups\nx@example.net,pw,\"A \"\"quoted\"\", name\",a;b c\n")
	text := export(t, d)
	lines := strings.Split(text, "\n")
	if lines[0] != "aor,password,display_name,email,unit,groups" || lines[51] != `sip:x@example.net,,"A ""quoted"", name",,,a;b c` {
		t.Errorf("exported\n%s\n…\n%s", lines[0], lines[51])
	}
	if strings.Contains(text, "secret") {
		t.Error("a password is in the export")
	}
	if got := importText(t, d, text); got != (auth.Result{Unchanged: 51}) {
		t.Errorf("result %+v", got)
	}
	if again := export(t, d); again != text {
		t.Error("the second export differs")
	}
}

func TestFaultyLineRefusesTheFile(t *testing.T) {
	d := openDirectory(t, openStore(t))
	importText(t, d, "aor,password,unit\nalice@example.com,alice,ops\n")
	before := export(t, d)
	const good = "aor,password,unit\nalice@example.com,x,changed\nnew@example.com,x,\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":            {"", []string{"line 1: no header"}},
		"unknown column":   {"aor,password,shoe\nalice@example.com,x,y\n", []string{"line 1: unknown column 3"}},
		"column twice":     {"aor,aor\nx,y\n", []string{"line 1: column aor stands there twice"}},
		"no aor":           {"password\nx\n", []string{"line 1: no column aor"}},
		"too few cells":    {good + "carol@example.com,x\n", []string{"line 4: not as many cells"}},
		"open quote":       {good + "\"carol@example.com,x,\n", []string{"line 4: "}},
		"bare quote":       {good + "carol@example.com,x\"y,\n", []string{"line 4: "}},
		"no aor in it":     {good + "secretword,x,\n", []string{"line 4: not an address of record"}},
		"foreign domain":   {good + "carol@example.org,x,\n", []string{"line 4: not one of our domains"}},
		"no password":      {good + "carol@example.com,,\n", []string{"line 4: a new account needs a password"}},
		"control":          {good + "carol@example.com,\"x\ny\",\n", []string{"line 4: a password is"}},
		"long unit":        {good + "carol@example.com,x," + strings.Repeat("u", 300) + "\n", []string{"line 4: unit is longer"}},
		"twice":            {good + "NEW@example.com,x,\nsips:new@EXAMPLE.com,x,\n", []string{"line 5: aor stands in line 3 already"}},
		"after many lines": {"aor,password,unit\n" + "\"c@example.com\",x,\"two\"\n\n\nbad,x,\n", []string{"line 5: not an address"}},
		"several": {good + "carol,x,\u0001\ncarol@example.com,,\ndave@example.com,x,y,z\n",
			[]string{"line 4: not an address of record: want sip:user@domain; unit is not UTF-8", "line 6: not as many", "line 5: a new account"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.Import(t.Context(), strings.NewReader(c.text), nil)
			var faults *auth.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error %v", err)
			}
			text := err.Error()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("faults\n%s\nwant %s", text, want)
				}
			}
			if len(faults.List) != len(c.want) || faults.More != 0 {
				t.Errorf("%d faults, want %d:\n%s", len(faults.List), len(c.want), text)
			}
			if strings.Contains(text, "secretword") {
				t.Errorf("the error quotes the file: %s", text)
			}
			if after := export(t, d); after != before {
				t.Errorf("the accounts are now\n%s", after)
			}
		})
	}
}

func TestImportOf100000Lines(t *testing.T) {
	d := openDirectory(t, openStore(t))
	var good strings.Builder
	good.WriteString("aor,password,display_name,email,unit,groups\n")
	const n = 100_000
	for i := range n {
		fmt.Fprintf(&good, "sip:user%06d@example.com,secret%d,User Number %d,user%06d@example.com,unit %d,staff\n", i, i, i, i, i%30)
	}
	bad := good.String()
	for _, i := range []int{77_777, 99_999} {
		bad = strings.Replace(bad, fmt.Sprintf("sip:user%06d@", i), fmt.Sprintf("sip:user%06d@@", i), 1)
	}
	_, err := d.Import(t.Context(), strings.NewReader(bad), nil)
	if err == nil || err.Error() != "line 77779: not an address of record: want sip:user@domain\nline 100001: not an address of record: want sip:user@domain" {
		t.Fatalf("error %v", err)
	}
	if text := export(t, d); strings.Count(text, "\n") != 1 {
		t.Fatalf("the faulty file left %d accounts", strings.Count(text, "\n")-1)
	}
	_, err = d.Import(t.Context(), strings.NewReader(strings.ReplaceAll(good.String(), "sip:user", "sip:@user")), nil)
	var faults *auth.Faults
	if !errors.As(err, &faults) || len(faults.List) != auth.MaxFaults || faults.More != n-auth.MaxFaults {
		t.Fatalf("error %v", err)
	}

	start, last := time.Now(), 0
	got, err := d.Import(t.Context(), strings.NewReader(good.String()), func(n int) {
		if n <= last {
			t.Errorf("progress %d after %d", n, last)
		}
		last = n
	})
	if err != nil || got != (auth.Result{Added: n}) || last != n {
		t.Fatalf("result %+v, %v, progress %d", got, err, last)
	}
	t.Logf("%d lines in %v", n, time.Since(start))
	if p, err := d.Lookup(t.Context(), aor(t, "user099999@example.com")); err != nil || p.Unit() != "unit 9" {
		t.Errorf("the last one: %q, %v", p.Unit(), err)
	}
}

// Somebody else changes accounts while they are imported.
func TestImportMeetsConflicts(t *testing.T) {
	s := openStore(t)
	manyAccounts(t, openDirectory(t, s), 100)
	d := openDirectory(t, conflicting{storetest.Faulty(s, storetest.Faults{Seed: 1, Conflict: 0.5})})
	var b strings.Builder
	b.WriteString("aor,password,unit\n")
	for i := range 200 {
		fmt.Fprintf(&b, "user%06d@example.com,pw,new\n", i)
	}
	if got := importText(t, d, b.String()); got != (auth.Result{Added: 100, Changed: 100}) {
		t.Errorf("result %+v", got)
	}
	for a, err := range d.List(t.Context()) {
		if err != nil || a.Unit != "new" || a.Secrets != digest.NewSecrets(a.AOR.User(), "example.com", "pw") {
			t.Fatalf("%v is of unit %q, %v", a.AOR, a.Unit, err)
		}
	}
}

// conflicting hides what the store does for batches, so that each Apply of one
// may conflict.
type conflicting struct{ store.Store }

func TestImportWhileTheStoreIsAway(t *testing.T) {
	s := storetest.Faulty(openStore(t), storetest.Faults{})
	d := openDirectory(t, s)
	s.Down(true)
	const text = "aor,password\nalice@example.com,alice\n"
	if _, err := d.Import(t.Context(), strings.NewReader(text), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if err := d.Export(t.Context(), &bytes.Buffer{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("export: %v", err)
	}
	s.Down(false)
	if got := importText(t, d, text); got != (auth.Result{Added: 1}) {
		t.Errorf("result %+v", got)
	}
}
