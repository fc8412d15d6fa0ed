package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate returns every fault of the values, in the order of the file. It is part of [Load]; a Config that is made
// in memory is validated by its maker.
func (c *Config) Validate() []Fault {
	v := validator{c: c}
	v.top()
	v.listen()
	v.store()
	v.archive()
	v.retention()
	v.witnesses()
	v.numbers()
	v.peers()
	v.faults.sort()
	return v.faults
}

type validator struct {
	c      *Config
	faults Faults
}

// fault reports a key, at its line if it stands in the file, else at that of its table.
func (v *validator) fault(key, fix, format string, args ...any) {
	line, ok := v.c.marks[key]
	if i := strings.LastIndexByte(key, '.'); !ok && i > 0 {
		line = v.c.marks[key[:i]]
	}
	v.faults = append(v.faults, Fault{File: v.c.Path, Line: line, Key: display(key), Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (v *validator) top() {
	c := v.c
	if len(c.Domains) == 0 {
		v.fault("domains", `write domains = ["example.com"] with your own domain`, "no domain is given")
	}
	seen := map[string]bool{}
	for i, d := range c.Domains {
		key := fmt.Sprintf("domains[%d]", i)
		if !isHost(d) {
			v.fault(key, `write a host name such as "example.com", without scheme, port or @`, "%q is not a domain", d)
		} else if seen[strings.ToLower(d)] {
			v.fault(key, "name it once", "domain %q is given twice", d)
		}
		seen[strings.ToLower(d)] = true
	}
	if c.DataDir == "" {
		v.fault("data_dir", `write data_dir = "/var/lib/rollcall"`, "no folder is given")
	}
	if c.KeysDir != "" && c.DataDir != "" {
		keys, archive := filepath.Clean(c.KeysDir), filepath.Clean(c.ArchiveDir())
		if keys == filepath.Clean(c.DataDir) || keys == archive || strings.HasPrefix(keys, archive+string(filepath.Separator)) {
			v.fault("keys_dir", "name a folder of its own, such as data_dir/keys", "keys would lie among the data")
		}
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "Local" || c.TimeZone == "" {
		v.fault("time_zone", `write a name such as "UTC" or "Europe/Berlin"`, "time zone %q is not known", c.TimeZone)
	}
	if c.HTTP.Address != "" {
		v.address("http.address", c.HTTP.Address)
	}
	for key, price := range map[string]int{"prices.message": c.Prices.Message, "prices.megabyte": c.Prices.Megabyte, "prices.user": c.Prices.User, "prices.subscription_day": c.Prices.SubscriptionDay} {
		if price < 0 {
			v.fault(key, "write 0 or more, in thousandths of the currency", "a price of %d", price)
		} else if price > 0 && c.Prices.Currency == "" {
			v.fault(key, `write currency = "EUR"`, "a price without a currency")
		}
	}
	for i, r := range c.Review {
		if r.Percent < 0 || r.Percent > 100 {
			v.fault(fmt.Sprintf("review[%d].percent", i), "write 0 to 100", "%d percent", r.Percent)
		}
	}
	v.oneOf("log.level", c.Log.Level, []string{"debug", "info", "warn", "error"}, nil)
	v.oneOf("log.format", c.Log.Format, []string{"auto", "json", "console"}, nil)
}

func (v *validator) witnesses() {
	a := v.c.Archive
	if u, err := url.Parse(a.TSAURL); a.TSAURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		v.fault("archive.tsa_url", `write a URL such as "https://tsa.example.com/"`, "%q is no http URL", a.TSAURL)
	}
	v.duration("archive.tsa_every", a.TSAEvery, time.Minute, 366*24*time.Hour, time.Second)
	if r := v.c.Replica; r.URL != "" {
		u, err := url.Parse(r.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(u.Path) < 2 {
			v.fault("replica.url", "write https://host/bucket or https://host/bucket/prefix", "%q names no bucket", r.URL)
		}
		if r.AccessKeyFile == "" || r.SecretKeyFile == "" {
			v.fault("replica.access_key_file", "set access_key_file and the other key file", "the store wants an access key")
		}
		v.number("replica.keep_days", r.KeepDays, 0, 73_000)
	}
	for i, w := range v.c.Witness {
		key := fmt.Sprintf("witness[%d]", i)
		u, err := url.Parse(w.URL)
		if err != nil || !slices.Contains([]string{"file", "http", "https", "syslog", "syslog+tcp"}, u.Scheme) {
			v.fault(key+".url", "write file:/path, https://host/path, syslog://host:514, syslog+tcp://host:601 or syslog:/dev/log", "%q is no place for checkpoints", w.URL)
		}
		if w.Every.Duration != 0 { // else it gets the default
			v.duration(key+".every", w.Every, time.Second, 24*time.Hour, time.Second)
		}
	}
}

func (v *validator) retention() {
	seen := map[string]bool{}
	for i, c := range v.c.Retention {
		key := fmt.Sprintf("retention[%d]", i)
		if seen[c.Class] {
			v.fault(key+".class", "give the class once", "class %q is given twice", c.Class)
		}
		seen[c.Class] = true
		if c.Years < 0 || c.Years > 200 || c.Days < 0 || c.Days > 73_000 {
			v.fault(key+".years", "write 0 to 200 years, and 0 to 73000 days", "class %q is kept for %d years and %d days", c.Class, c.Years, c.Days)
		}
		if c.Class == "" && c.Years == 0 && c.Days == 0 {
			v.fault(key+".class", "give it years or days, or remove it", "without a class of this name all that no other is for is kept for ever already")
		}
		if c.Class != "" && len(c.Groups) == 0 && len(c.Units) == 0 {
			v.fault(key+".groups", `write groups = ["traders"] or units, or the class ""`, "class %q is for nobody", c.Class)
		}
		if c.Class == "" && (len(c.Groups) > 0 || len(c.Units) > 0) {
			v.fault(key+".class", "give it a name", "a class for groups or units has no name")
		}
		if strings.ContainsFunc(c.Class, func(r rune) bool { return r <= ' ' || r == 0x7f }) || len(c.Class) > 64 {
			v.fault(key+".class", "use letters, digits and dashes, up to 64", "%q is no name of a class", c.Class)
		}
	}
}

func (v *validator) listen() {
	seen := map[string]string{} // by address and what the port is of, UDP or TCP
	for i := range v.c.Listen {
		l := &v.c.Listen[i]
		key := fmt.Sprintf("listen[%d]", i)
		if v.address(key+".address", l.Address) && !strings.HasSuffix(l.Address, ":0") {
			at := "tcp " + l.Address
			if l.Transport == "udp" {
				at = "udp " + l.Address
			}
			switch other := seen[at]; {
			case other == l.Transport && other != "":
				v.fault(key+".address", "remove one of them", "%s over %s is given twice", l.Address, l.Transport)
			case other != "":
				v.fault(key+".address", "give one of them another port", "%s is that of %s too, and both are over TCP", l.Address, other)
			}
			seen[at] = l.Transport
		}
		v.oneOf(key+".transport", l.Transport, []string{"udp", "tcp", "tls", "ws", "wss"}, nil)
		if l.Secure() {
			for _, f := range [][2]string{{"cert_file", l.CertFile}, {"key_file", l.KeyFile}} {
				if f[1] == "" {
					v.fault(key+"."+f[0], "name a file in PEM", "transport %q wants a certificate and its key", l.Transport)
				}
			}
		}
		if !l.Secure() {
			for _, f := range [][2]string{{"cert_file", l.CertFile}, {"key_file", l.KeyFile}, {"client_ca_file", l.ClientCAFile}} {
				if f[1] != "" {
					v.fault(key+"."+f[0], "remove the key", "transport %q has no certificates", l.Transport)
				}
			}
		}
	}
}

func (v *validator) store() {
	raw, embedded := v.c.Store.URL, v.c.Store.URL == "embedded:"
	if v.c.Store.PasswordFile != "" && embedded {
		v.fault("store.password_file", "remove the key", "the embedded store has no password")
	}
	if embedded {
		return
	}
	const fix = `write "embedded:" or, for example, "redis://127.0.0.1:6379/0"`
	// A list of hosts with ports is no URL authority, so this is not net/url's work. The text may hold a password and is
	// not shown.
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		v.fault("store.url", fix, "is not the address of a store")
		return
	}
	authority, path, _ := strings.Cut(rest, "/")
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at], authority[at+1:]
	}
	if strings.Contains(user, ":") && v.c.Store.PasswordFile != "" {
		v.fault("store.password_file", "keep the file and take the password out of the URL", "the password is given twice")
	}
	kind := strings.Replace(scheme, "rediss", "redis", 1)
	if !slices.Contains([]string{"redis", "redis+sentinel", "redis+cluster"}, kind) {
		v.fault("store.url", fix, "kind of store %q is not known", scheme)
		return
	}
	if strings.ContainsAny(rest, "?#") {
		v.fault("store.url", "remove it", "has a part after ? or #, which means nothing here")
	}
	for host := range strings.SplitSeq(authority, ",") {
		if !isHostPort(host) {
			v.fault("store.url", fix, "%q is not a host", host)
		}
	}
	switch path = strings.TrimSuffix(path, "/"); kind {
	case "redis":
		if strings.Contains(authority, ",") {
			v.fault("store.url", `write "redis+cluster://host1,host2" or "redis+sentinel://host1,host2/master"`, "names several hosts")
		}
		if _, err := strconv.ParseUint(path, 10, 16); err != nil && path != "" {
			v.fault("store.url", `write a number, as in "redis://127.0.0.1:6379/0"`, "database %q is not a number", path)
		}
	case "redis+sentinel":
		if path == "" {
			v.fault("store.url", `write "redis+sentinel://host1,host2/master"`, "names no master")
		}
	case "redis+cluster":
		if path != "" {
			v.fault("store.url", "remove /"+path, "a cluster has no databases")
		}
	}
}

// isHostPort accepts a host or an IP address, with or without a port.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return strings.HasPrefix(s, "[") == strings.HasSuffix(s, "]") && isHostOrIP(strings.Trim(s, "[]"))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && isHostOrIP(host)
}

func (v *validator) archive() {
	a := v.c.Archive
	v.oneOf("archive.journal", a.Journal, []string{"file", "redis"}, nil)
	v.oneOf("archive.durability", a.Durability, []string{"fsync", "replicated"}, nil)
	if a.Dir != "" && !filepath.IsAbs(a.Dir) {
		v.fault("archive.dir", `write a whole path such as "/srv/record"`, "%q is no whole path", a.Dir)
	}
	v.number("archive.replicas", a.Replicas, 1, 16)
	v.duration("archive.stream_keep", a.StreamKeep, time.Second, 31*24*time.Hour, time.Millisecond)
	if a.Journal == "redis" {
		if !strings.HasPrefix(v.c.Store.URL, "redis") {
			v.fault("archive.journal", `set store.url on Redis, or journal = "file"`, "the journal on Redis is in the Redis of the store")
		}
		if strings.HasPrefix(v.c.Store.URL, "redis+cluster") && a.Durability == "replicated" {
			v.fault("archive.durability", `use "fsync"`, "replicas of a Redis cluster can't be waited for")
		}
	} else if a.Durability == "replicated" {
		v.fault("archive.durability", `use "fsync", or journal = "redis"`, "only Redis replicates")
	}
	v.oneOf("archive.on_failure", a.OnFailure, []string{"refuse", "spool"}, nil)
	if a.OnFailure == "spool" && a.Journal != "redis" {
		v.fault("archive.on_failure", `use "refuse"`, "a spool is for records on their way to Redis: the journal in a file is on this disk already")
	}
	if a.SpoolBytes < 1<<20 {
		v.fault("archive.spool_bytes", "write 1048576 or more", "%d is too little for a spool", a.SpoolBytes)
	}
}

func (v *validator) numbers() {
	c := v.c
	const day = 24 * time.Hour
	r := c.Registrar
	v.duration("registrar.min_expires", r.MinExpires, time.Second, day, time.Second)
	v.duration("registrar.default_expires", r.DefaultExpires, time.Second, 365*day, time.Second)
	v.duration("registrar.max_expires", r.MaxExpires, time.Second, 365*day, time.Second)
	if r.DefaultExpires.Duration < r.MinExpires.Duration {
		v.fault("registrar.default_expires", "make it longer", "%s is less than min_expires, %s", r.DefaultExpires, r.MinExpires)
	}
	if r.MaxExpires.Duration < r.DefaultExpires.Duration {
		v.fault("registrar.max_expires", "make it longer", "%s is less than default_expires, %s", r.MaxExpires, r.DefaultExpires)
	}
	v.number("registrar.max_contacts", r.MaxContacts, 1, 1000)
	v.duration("auth.nonce_life", c.Auth.NonceLife, 10*time.Second, day, time.Second)
	v.number("auth.failed_logins", c.Auth.FailedLogins, 1, 1_000_000)
	v.number("auth.failed_logins_per_account", c.Auth.FailedLoginsPerAccount, 1, 1_000_000)
	v.duration("auth.name_quarantine", c.Auth.NameQuarantine, 0, 3650*day, time.Second)
	v.duration("im.offline_life", c.IM.OfflineLife, time.Minute, 365*day, time.Second)
	v.number("im.offline_limit", c.IM.OfflineLimit, 1, 1_000_000)
	// Timer F ends the sender's transaction after 32 s (RFC 3261 §17.1.2), so an answer must come well before.
	v.duration("im.answer_after", c.IM.AnswerAfter, 100*time.Millisecond, 30*time.Second, time.Millisecond)
	l := c.Limits
	v.number("limits.tcp_connections", l.TCPConnections, 1, 10_000_000)
	v.number("limits.tcp_per_source", l.TCPPerSource, 1, 10_000_000)
	v.duration("limits.tcp_idle", l.TCPIdle, time.Second, 365*day, time.Second)
	v.duration("limits.tcp_write", l.TCPWrite, time.Second, time.Hour, time.Millisecond)
	// 64 KiB is what RFC 3261 §18.1.1 asks for and what the parser takes.
	v.number("limits.message_bytes", l.MessageBytes, 4096, 64<<10)
	v.number("limits.header_count", l.HeaderCount, 32, 10_000)
	v.number("limits.uri_bytes", l.URIBytes, 256, 64<<10)
	v.number("limits.transaction_bytes", l.TransactionBytes, 1<<20, 1<<50)
	v.number("limits.backlog_bytes", l.BacklogBytes, 1<<20, 1<<50)
	pr := c.Presence
	v.number("presence.subscriptions_per_watcher", pr.SubscriptionsPerWatcher, 1, 1_000_000)
	v.number("presence.subscriptions", pr.Subscriptions, 1, 100_000_000)
	v.number("presence.publications", pr.Publications, 1, 10_000)
	v.duration("presence.flow_grace", pr.FlowGrace, time.Second, time.Hour, time.Millisecond)
	handlings := []string{"allow", "confirm", "polite-block", "block"}
	v.oneOf("presence.colleagues", pr.Colleagues, handlings, nil)
	v.oneOf("presence.others", pr.Others, handlings, nil)
	if strings.Trim(pr.GroupLists, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		v.fault("presence.group_lists", `write the beginning of a user name such as "group-", in small letters`, "%q can't stand in an address", pr.GroupLists)
	}
	for i, p := range pr.Publishers {
		if user, domain, ok := strings.Cut(strings.TrimPrefix(p, "sip:"), "@"); !strings.HasPrefix(p, "sip:") || !ok || user == "" || !isHost(domain) {
			v.fault(fmt.Sprintf("presence.publishers[%d]", i), `write an account such as "sip:pbx@example.com"`, "%q is no address of record", p)
		}
	}
	x := c.XCAP
	v.number("xcap.document_bytes", x.DocumentBytes, 4<<10, 8<<20)
	v.number("xcap.icon_bytes", x.IconBytes, 4<<10, 8<<20)
	v.number("xcap.documents", x.Documents, 1, 1000)
}

func (v *validator) peers() {
	seen := map[string]bool{}
	for i := range v.c.Peer {
		p := &v.c.Peer[i]
		key := fmt.Sprintf("peer[%d]", i)
		domain := strings.ToLower(p.Domain)
		switch {
		case !isHost(p.Domain):
			v.fault(key+".domain", `write a host name such as "example.net"`, "%q is not a domain", p.Domain)
		case slices.ContainsFunc(v.c.Domains, func(d string) bool { return strings.EqualFold(d, p.Domain) }):
			v.fault(key+".domain", "remove the peer or the domain", "%q is a domain of this server", p.Domain)
		case seen[domain]:
			v.fault(key+".domain", "keep one of them", "domain %q has two peers", p.Domain)
		}
		seen[domain] = true
		host, port, err := net.SplitHostPort(p.Address)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || !isHostOrIP(host) {
			v.fault(key+".address", `write host and port, such as "sip.example.net:5060"`, "%q is not an address", p.Address)
		}
		if p.Transport != "" {
			v.oneOf(key+".transport", p.Transport, []string{"udp", "tcp", "tls"}, []string{"ws", "wss"})
			if p.CAFile != "" && p.Transport != "tls" {
				v.fault(key+".ca_file", "remove the key", "transport %q has no certificates", p.Transport)
			}
		}
	}
}

// oneOf wants one of the known words. Words of the contract that this version does not have are told apart from slips.
func (v *validator) oneOf(key, value string, known, later []string) {
	if slices.Contains(known, value) {
		return
	}
	fix := "write " + quoteList(known)
	if slices.Contains(later, value) {
		v.fault(key, fix, "%s %q is not supported by this version", lastName(key), value)
		return
	}
	if value == "" {
		v.fault(key, fix, "no %s is given", lastName(key))
		return
	}
	v.fault(key, fix, "%s %q is not known", lastName(key), value)
}

// address wants an IP address and a port. A name is refused: which of its addresses is meant would depend on DNS at
// start.
func (v *validator) address(key, value string) bool {
	const fix = `write an IP address and a port, such as "127.0.0.1:5060" or "[::]:5060"`
	if value == "" {
		v.fault(key, fix, "no address is given")
		return false
	}
	host, port, err := net.SplitHostPort(value)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		v.fault(key, fix, "%q is not an address and a port", value)
		return false
	}
	if _, err := netip.ParseAddr(host); err != nil {
		v.fault(key, fix, "%q is not an IP address", host)
		return false
	}
	return true
}

func (v *validator) number(key string, n, least, most int) {
	if n < least || n > most {
		v.fault(key, fmt.Sprintf("write a number from %d to %d", least, most), "%d is out of range", n)
	}
}

func (v *validator) duration(key string, d Duration, least, most, step time.Duration) {
	switch {
	case d.Duration < least || d.Duration > most:
		v.fault(key, fmt.Sprintf("write a duration from %s to %s", Duration{least}, Duration{most}), "%s is out of range", d)
	case d.Duration%step != 0:
		v.fault(key, "round it to "+step.String(), "%s is not a multiple of %s", d, step)
	}
}

func quoteList(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, " or ")
}

func isHostOrIP(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return isHost(s)
}

// isHost accepts what can stand as the host of a SIP URI: names of RFC 1123 and IPv4 addresses.
func isHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
