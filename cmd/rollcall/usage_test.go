package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/api"
)

// What units used is what the record has, and costs what the configuration says.
func TestUsageCommand(t *testing.T) {
	s := newShell(t)
	s.initialize()
	config, err := os.ReadFile(filepath.Join(s.dir, "rollcall.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("rollcall.toml", strings.Replace(string(config), "[prices]\n", "[prices]\ncurrency = \"EUR\"\nmessage = 10\nuser = 2500\n", 1))
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	s.write("users.csv", "aor,password,display_name,email,unit,groups\nalice@example.com,secret,Alice,,Desk 1,\nbob@example.com,secret,Bob,,Desk 2,\ncarol@example.com,secret,Carol,,Desk 1,\n")
	s.ok("user", "import", "users.csv")
	s.serve()
	for _, from := range []string{"alice", "alice", "carol", "bob"} {
		s.ok("send", from, "bob", "12345678")
	}
	month := time.Now().UTC().Format("2006-01")
	rows, err := csv.NewReader(strings.NewReader(s.ok("usage", "--month", month, "--csv"))).ReadAll()
	if err != nil || len(rows) != 3 || strings.Join(rows[1], ",")[:len(month)+17] != month+",Desk 1,2,3,24,0," || rows[1][7] != "5.03" || rows[1][8] != "EUR" {
		t.Errorf("%q, %v", rows, err)
	}
	var got struct {
		Rows  []api.Charged
		Total api.Charged
	}
	if err := json.Unmarshal([]byte(s.ok("usage", "--users", "--json")), &got); err != nil || len(got.Rows) != 3 || got.Total.Messages != 4 || got.Total.Bytes != 32 || got.Total.Users != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	var stats struct{ Messages uint64 }
	if err := json.Unmarshal([]byte(s.ok("archive", "stats", "--json")), &stats); err != nil || stats.Messages != got.Total.Messages+got.Total.Refused {
		t.Errorf("the record has %d messages, the usage %d", stats.Messages, got.Total.Messages)
	}
	if out := s.ok("usage", "--month", "2020-01", "--csv"); strings.Count(out, "\n") != 1 {
		t.Errorf("a month without use: %q", out)
	}
	s.fails(2, "--month", "usage", "--month", "yesterday")
}
