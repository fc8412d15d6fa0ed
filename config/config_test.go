package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"rollcall/config"
)

func parse(t *testing.T, text string) (*config.Config, config.Faults) {
	t.Helper()
	c, err := config.Parse("rollcall.toml", []byte(text))
	if err == nil {
		return c, nil
	}
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error is not a list of faults: %v", err)
	}
	return nil, faults
}

func TestFaults(t *testing.T) {
	const ok = "domains = [\"example.com\"]\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{`rollcall.toml: domains: no domain is given; write domains = ["example.com"] with your own domain`}},
		{"slip in a key", ok + "data_dri = \"/x\"\n", []string{`rollcall.toml:2: data_dri: unknown key; did you mean data_dir?`}},
		{"wrong case", "Domains = [\"example.com\"]\n", []string{"rollcall.toml:1: Domains: unknown key; did you mean domains?"}},
		{"unknown table", ok + "\n[regisrar]\nmin_expires = \"60s\"\n", []string{"rollcall.toml:3: regisrar: unknown key; did you mean registrar?"}},
		{"right key, wrong table", ok + "[im]\nmin_expires = \"60s\"\n", []string{"rollcall.toml:3: im.min_expires: unknown key; it belongs to [registrar]"}},
		{"top key after a table", "[http]\naddress = \"127.0.0.1:80\"\ndomains = [\"example.com\"]\n",
			[]string{"domains: no domain is given", "rollcall.toml:3: http.domains: unknown key; it belongs to the top of the file, before the first table"}},
		{"nothing like it", ok + "[http]\nzzzzzzzz = 1\n", []string{"rollcall.toml:3: http.zzzzzzzz: unknown key; known in [http]: address"}},
		{"number as text", ok + "[limits]\nmessage_bytes = \"64k\"\n", []string{"rollcall.toml:3: limits.message_bytes: is text, but a whole number is wanted; write message_bytes = 100, a whole number without quotes"}},
		{"duration as number", ok + "[auth]\nnonce_life = 300\n", []string{`rollcall.toml:3: auth.nonce_life: is a whole number, but text is wanted; write nonce_life = "90s", a duration in quotes`}},
		{"duration without unit", ok + "[auth]\nnonce_life = \"300\"\n", []string{`rollcall.toml:3: auth.nonce_life: "300" is not a duration; write a number and a unit`}},
		{"text for a list", "domains = \"example.com\"\n", []string{`rollcall.toml:1: domains: is text, but a list is wanted; write domains = ["…"]`}},
		{"number in a list", "domains = [1]\n", []string{`rollcall.toml:1: domains: is a whole number, but text is wanted`}},
		{"table for an array", ok + "[listen]\naddress = \"0.0.0.0:1\"\n", []string{"rollcall.toml:2: listen: wrong kind of table; write [[listen]]"}},
		{"array for a table", ok + "[[store]]\nurl = \"embedded:\"\n", []string{"rollcall.toml:2: store: wrong kind of table; write [store]"}},
		{"several types", "domains = 1\ndata_dir = 2\n[log]\nlevel = true\n", []string{"rollcall.toml:1: domains:", "rollcall.toml:2: data_dir:", "rollcall.toml:4: log.level: is a boolean, but text is wanted"}},
		{"key twice", ok + "time_zone = \"UTC\"\ntime_zone = \"UTC\"\n", []string{"rollcall.toml:3: time_zone:"}},
		{"table twice", ok + "[im]\n[log]\n[im]\n", []string{"rollcall.toml:4: im:"}},
		{"syntax", ok + "data_dir = \n", []string{"rollcall.toml:2:"}},
		{"unclosed", ok + "[im\n", []string{"rollcall.toml:2:"}},
		{"no certificate", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"tls\"\nkey_file = \"x\"\n",
			[]string{`rollcall.toml:2: listen.cert_file: transport "tls" wants a certificate and its key; name a file in PEM`}},
		{"certificate for ws", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"ws\"\ncert_file = \"x\"\n", []string{`rollcall.toml:5: listen.cert_file: transport "ws" has no certificates`}},
		{"authority of a peer over tcp", ok + "[[peer]]\ndomain = \"example.net\"\naddress = \"sip.example.net:5060\"\ntransport = \"tcp\"\nca_file = \"x\"\n",
			[]string{`rollcall.toml:6: peer.ca_file: transport "tcp" has no certificates; remove the key`}},
		{"one port for two", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"tcp\"\n[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"tls\"\ncert_file = \"x\"\nkey_file = \"x\"\n",
			[]string{`rollcall.toml:6: listen.address: 0.0.0.0:5061 is that of tcp too, and both are over TCP; give one of them another port`}},
		{"port without address", ok + "[http]\naddress = \":8080\"\n", []string{`rollcall.toml:3: http.address: "" is not an IP address; write an IP address and a port`}},
		{"second listener", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"udp\"\n[[listen]]\naddress = \"sip:5061\"\ntransport = \"sctp\"\n",
			[]string{`rollcall.toml:6: listen.address: "sip" is not an IP address`, `rollcall.toml:7: listen.transport: transport "sctp" is not known`}},
		{"listener without transport", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\n", []string{"rollcall.toml:2: listen.transport: no transport is given"}},
		{"listener twice", ok + strings.Repeat("[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"udp\"\n", 2), []string{"rollcall.toml:6: listen.address: 0.0.0.0:5061 over udp is given twice"}},
		{"certificate for udp", ok + "[[listen]]\naddress = \"0.0.0.0:5061\"\ntransport = \"udp\"\ncert_file = \"x\"\n", []string{`rollcall.toml:5: listen.cert_file: transport "udp" has no certificates`}},
		{"inline tables", ok + "listen = [{address = \"0.0.0.0:5060\", transport = \"upd\"}]\n", []string{`rollcall.toml:2: listen.transport: transport "upd" is not known`}},
		{"later archive", ok + "[archive]\njournal = \"redis\"\ndurability = \"replicated\"\non_failure = \"spool\"\n", []string{
			`rollcall.toml:3: archive.journal: the journal on Redis is in the Redis of the store; set store.url on Redis, or journal = "file"`,
		}},
		{"spool of a file", ok + "[archive]\non_failure = \"spool\"\nspool_bytes = 7\n", []string{
			`rollcall.toml:3: archive.on_failure: a spool is for records on their way to Redis`, `rollcall.toml:4: archive.spool_bytes: 7 is too little`}},
		{"replicated file", ok + "[archive]\ndurability = \"replicated\"\n", []string{`rollcall.toml:3: archive.durability: only Redis replicates`}},
		{"witness", ok + "[archive]\ndir = \"record\"\ntsa_url = \"tsa\"\n[[witness]]\nurl = \"ftp://x\"\n[replica]\nurl = \"s3:x\"\n", []string{
			`rollcall.toml:3: archive.dir: "record" is no whole path`,
			`rollcall.toml:4: archive.tsa_url: "tsa" is no http URL`,
			`rollcall.toml:6: witness.url: "ftp://x" is no place for checkpoints`,
			`rollcall.toml:7: replica.access_key_file: the store wants an access key`,
			`rollcall.toml:8: replica.url: "s3:x" names no bucket`}},
		{"store", ok + "store.url = \"mysql://x\"\n", []string{`rollcall.toml:2: store.url: kind of store "mysql" is not known`}},
		{"password stays hidden", ok + "[store]\nurl = \"redis://u:secret@[::1\"\n", []string{`rollcall.toml:3: store.url: "[::1" is not a host`}},
		{"sentinel without master", ok + "store.url = \"redis+sentinel://a,b\"\n", []string{"rollcall.toml:2: store.url: names no master"}},
		{"cluster with a database", ok + "store.url = \"redis+cluster://a:7000,b:7001/1\"\n", []string{"rollcall.toml:2: store.url: a cluster has no databases"}},
		{"expiry order", ok + "[registrar]\nmin_expires = \"2h\"\n", []string{"rollcall.toml:2: registrar.default_expires: 1h is less than min_expires, 2h"}},
		{"fraction of a second", ok + "[registrar]\nmin_expires = \"1500ms\"\n", []string{"registrar.min_expires: 1.5s is not a multiple of 1s"}},
		{"out of range", ok + "[registrar]\nmax_contacts = 0\n[im]\nanswer_after = \"40s\"\n", []string{
			"rollcall.toml:3: registrar.max_contacts: 0 is out of range; write a number from 1 to 1000",
			"rollcall.toml:5: im.answer_after: 40s is out of range"}},
		{"keys in the archive", ok + "data_dir = \"/d\"\nkeys_dir = \"/d/archive/keys\"\n", []string{"rollcall.toml:3: keys_dir: keys would lie among the data"}},
		{"peers", ok + "[[peer]]\ndomain = \"example.com\"\naddress = \"sip.example.net\"\n[[peer]]\ndomain = \"b c\"\naddress = \"a:1\"\ntransport = \"wss\"\n", []string{
			`rollcall.toml:3: peer.domain: "example.com" is a domain of this server`,
			`rollcall.toml:4: peer.address: "sip.example.net" is not an address`,
			`rollcall.toml:6: peer.domain: "b c" is not a domain`,
			`rollcall.toml:8: peer.transport: transport "wss" is not supported by this version`}},
		{"domains", "domains = [\"sip:example.com\", \"a.example\", \"A.example\"]\n", []string{
			`rollcall.toml:1: domains: "sip:example.com" is not a domain`, `rollcall.toml:1: domains: domain "A.example" is given twice`}},
		{"zone", ok + "time_zone = \"Mars/Olympus\"\n", []string{`rollcall.toml:2: time_zone: time zone "Mars/Olympus" is not known`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, faults := parse(t, test.text)
			if len(faults) != len(test.want) {
				t.Errorf("%d faults, want %d:\n%v", len(faults), len(test.want), faults)
			}
			for i := range min(len(faults), len(test.want)) {
				if !strings.Contains(faults[i].Error(), test.want[i]) {
					t.Errorf("fault %d\n got %s\nwant %s", i, faults[i].Error(), test.want[i])
				}
				if faults[i].Fix == "" {
					t.Errorf("fault does not say what to do: %s", faults[i].Error())
				}
				if strings.Contains(faults[i].Error(), "secret") {
					t.Errorf("fault shows a password: %s", faults[i].Error())
				}
			}
		})
	}
}

func TestStores(t *testing.T) {
	for _, url := range []string{
		"embedded:", "redis://127.0.0.1", "redis://redis.example.com:6379/2", "rediss://user:pw@[::1]:6380", "redis+sentinel://a:26379,b:26379/main",
		"redis+cluster://a:7000,b:7001,c", "rediss+sentinel://a,b/main/1",
	} {
		if _, faults := parse(t, "domains = [\"example.com\"]\nstore.url = \""+url+"\"\n"); faults != nil {
			t.Errorf("%s: %v", url, faults)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, faults := parse(t, "domains = [\"example.com\"]\n")
	if faults != nil {
		t.Fatal(faults)
	}
	want := []config.Listen{{Address: "0.0.0.0:5060", Transport: "udp"}, {Address: "0.0.0.0:5060", Transport: "tcp"}}
	if !reflect.DeepEqual(c.Listen, want) {
		t.Errorf("listen %v, want %v", c.Listen, want)
	}
	if c.KeysDir != "/var/lib/rollcall/keys" || c.Socket() != "/var/lib/rollcall/rollcall.sock" || c.ArchiveDir() != "/var/lib/rollcall/archive" {
		t.Errorf("folders %s, %s, %s", c.KeysDir, c.Socket(), c.ArchiveDir())
	}
}

func TestLoadTakesPathsFromTheFolderOfTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rollcall.toml")
	text := "domains = [\"Example.COM\"]\ndata_dir = \"data\"\n[auth]\nnonce_life = \"90s\"\n[[peer]]\ndomain = \"EXAMPLE.net\"\naddress = \"sip.example.net:5060\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != filepath.Join(dir, "data") || c.KeysDir != filepath.Join(dir, "data", "keys") {
		t.Errorf("data_dir %s, keys_dir %s", c.DataDir, c.KeysDir)
	}
	if c.Auth.NonceLife.Duration != 90*time.Second {
		t.Errorf("nonce_life %s", c.Auth.NonceLife)
	}
	if p := c.Peer[0]; p.Name != "example.net" || p.Domain != "example.net" || c.Domains[0] != "example.com" || p.Transport != "udp" {
		t.Errorf("peer %+v", p)
	}
}

func TestLoadRefusesWhatIsNoConfiguration(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(big); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("big file: %v", err)
	}
}

// What is written is read as the same configuration.
func TestTOMLRoundTrip(t *testing.T) {
	c := example()
	c.DataDir, c.KeysDir = "/srv/rollcall", "/srv/keys"
	c.Listen = []config.Listen{{Address: "127.0.0.1:5070", Transport: "tcp"}}
	c.HTTP.Address = ""
	c.Auth.AcceptRFC2069 = false
	c.IM.OfflineLife.Duration = 90 * time.Minute
	c.Peer = []config.Peer{{Name: "p", Domain: "example.net", Address: "192.0.2.1:5060", Transport: "tcp"}}
	for _, c := range []*config.Config{c, example()} {
		text := c.TOML()
		got, err := config.Parse("", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if keys := config.RestartKeys(c, got); keys != nil {
			t.Errorf("changed: %v\n%s", keys, text)
		}
		if !reflect.DeepEqual(got.Auth, c.Auth) || !reflect.DeepEqual(got.IM, c.IM) {
			t.Errorf("auth %+v, im %+v", got.Auth, got.IM)
		}
	}
}

func TestReferenceIsComplete(t *testing.T) {
	for _, table := range config.Reference() {
		if table.Name != "" && table.Text == "" {
			t.Errorf("[%s] has no comment", table.Name)
		}
		for _, k := range table.Keys {
			if k.Text == "" {
				t.Errorf("%s.%s has no comment", table.Name, k.Name)
			}
			if k.Type == "number" && k.Unit == "" {
				t.Errorf("%s.%s has no unit", table.Name, k.Name)
			}
		}
	}
	for f := range reflect.TypeFor[config.Registrar]().Fields() {
		if r := f.Tag.Get("reload"); r != "yes" && r != "restart" {
			t.Errorf("registrar.%s does not say whether a reload applies it", f.Name)
		}
	}
}

func TestRestartKeys(t *testing.T) {
	a, b := example(), example()
	b.Registrar.MinExpires.Duration = 2 * time.Minute // a reload applies it
	b.Store.URL = "redis://127.0.0.1"
	b.Listen = b.Listen[:1]
	if got, want := config.RestartKeys(a, b), []string{"listen", "store.url"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("domains = [\"example.com\"]\n[[listen]]\naddress = \"x\"\n"))
	f.Add([]byte("a.b.c = {d = [1, {e = 2}]}\n[x.y]\n[[listen.z]]\n"))
	f.Add(example().TOML())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", c, err)
		}
	})
}
