package config

import (
	"path/filepath"
	"strings"
	"time"
)

// Config is the whole configuration of a server. The comments of the fields, and of the fields of the tables
// below, are the text of docs/config.md: their first sentence after the key says what it does.
//
// A Config is not changed after [Load]; a reload makes a new one.
type Config struct {
	// Domains of the company whose accounts live here, at least one. The digest realm of an account is its domain,
	// and the first domain completes a bare user name on the command line.
	Domains []string `toml:"domains" reload:"restart" example:"[\"example.com\"]"`
	// Folder of everything the server keeps: the store's files, the control socket rollcall.sock, archive/, which
	// holds only the record, and index/, which is made from it. A relative path is taken from the folder of the configuration file, as are all
	// other paths in it.
	DataDir string `toml:"data_dir" reload:"restart"`
	// Folder of the keys the server makes for itself. Keep it out of backups of data_dir and back it up apart: with
	// it goes what was said. Its part content/ must be in no backup that outlives an erasure.
	// When it is not given it is data_dir/keys.
	KeysDir string `toml:"keys_dir" reload:"restart" example:"\"/var/lib/rollcall/keys\""`
	// Time zone of reports and rules, a name of the IANA database such as "Europe/Berlin". Records are in UTC.
	TimeZone string `toml:"time_zone" reload:"yes"`

	// Addresses on which SIP is received, one table for each. Without any, the server listens on 0.0.0.0:5060 over
	// UDP and TCP.
	Listen []Listen `toml:"listen" reload:"restart"`
	// Where accounts, bindings and waiting messages are kept.
	Store Store `toml:"store"`
	// The record of every message.
	Archive Archive `toml:"archive"`
	// How long content is kept, one table for each class. A message is of the class that keeps longest among those of its
	// two parties. Without a class of the name "" what is of no class is kept for ever, and without any class all is.
	Retention []Retention `toml:"retention" reload:"yes"`
	// Messages that supervisors review by chance, beside those that a lexicon flags, one table for each share.
	Review []Review `toml:"review" reload:"yes"`
	// A second copy of the record.
	Replica Replica `toml:"replica"`
	// Places outside that are shown checkpoints of the record.
	Witness []Witness `toml:"witness" reload:"restart"`
	// What rollcall usage charges for.
	Prices Prices `toml:"prices"`
	// Who may write to whom.
	Policy Policy `toml:"policy"`
	// The HTTP side: /healthz, /readyz, /metrics and /xcap/.
	HTTP HTTP `toml:"http"`
	// Documents of users, served at /xcap/ of [http], RFC 4825.
	XCAP XCAP `toml:"xcap"`
	// Registration, RFC 3261 §10.
	Registrar Registrar `toml:"registrar"`
	// Passwords and nonces, RFC 7616 and RFC 8760.
	Auth Auth `toml:"auth"`
	// Messages, RFC 3428.
	IM IM `toml:"im"`
	// Subscriptions and publications, RFC 6665 and RFC 3903.
	Presence Presence `toml:"presence"`
	// What a stranger can make the server hold.
	Limits Limits `toml:"limits"`
	// What the server says about itself on standard error.
	Log Log `toml:"log"`
	// Foreign domains to which messages may be sent, one table for each. A message to any other foreign domain is
	// answered 403.
	Peer []Peer `toml:"peer" reload:"restart"`

	// Path is the file that was read, empty for a Config that was made in memory.
	Path string `toml:"-"`

	marks map[string]int // key with index ("listen[0].address") → line
}

// Listen is one address on which SIP is received.
type Listen struct {
	// IP address and port, as in "0.0.0.0:5060" or "[::]:5060" (both families). Port 0 takes a free one.
	Address string `toml:"address" reload:"restart" example:"\"0.0.0.0:5060\""`
	// What is spoken there: udp, tcp, tls, ws (WebSocket) or wss (WebSocket over TLS).
	Transport string `toml:"transport" reload:"restart" example:"\"udp\""`
	// Certificate chain in PEM, for tls and wss, the server's own first. A reload reads it and the key again, for connections that come then.
	CertFile string `toml:"cert_file" reload:"restart"`
	// Private key of the certificate in PEM, for tls and wss, without a password.
	KeyFile string `toml:"key_file" reload:"restart"`
	// Certificate authorities in PEM that sign client certificates, for tls and wss. With it a client must show one.
	ClientCAFile string `toml:"client_ca_file" reload:"restart"`
}

// Secure reports a listener that speaks TLS.
func (l Listen) Secure() bool { return l.Transport == "tls" || l.Transport == "wss" }

// Store says where state is kept.
type Store struct {
	// "embedded:" keeps everything in memory with an image in data_dir. "redis://", "rediss://",
	// "redis+sentinel://host1,host2/master" and "redis+cluster://host1,host2" keep it on Redis.
	URL string `toml:"url" reload:"restart"`
	// File with the Redis password, on one line. The URL then names the user, if any, and no password.
	PasswordFile string `toml:"password_file" reload:"restart"`
}

// Archive says how the record is written.
type Archive struct {
	// Where records become durable: file, a folder of this server alone; redis, streams in the Redis of the store, which one of
	// the servers there seals into a common folder.
	Journal string `toml:"journal" reload:"restart"`
	// Folder of the record; data_dir/archive if empty. With journal = "redis" all servers name the same, on a disk that each
	// reaches, and so do they with keys_dir.
	Dir string `toml:"dir" reload:"restart" example:"\"/srv/record\""`
	// What relaying waits for: fsync, the record is on disk, or with journal = "redis" as durable as its appendfsync is;
	// replicated, as many replicas of Redis have it too as replicas says.
	Durability string `toml:"durability" reload:"restart"`
	// Replicas of Redis that must have a record (WAIT), with durability = "replicated".
	Replicas int `toml:"replicas" reload:"restart" unit:"replicas"`
	// Whether a Redis is taken for the journal that keeps no append-only file, or does not sync it.
	AllowWeakRedis bool `toml:"allow_weak_redis" reload:"restart"`
	// How long records stay in the streams of Redis after they were sealed, for other consumers.
	StreamKeep Duration `toml:"stream_keep" reload:"restart"`
	// Time-stamp authority (RFC 3161) that states when the newest checkpoint was there: an http or https URL. None
	// if empty.
	TSAURL string `toml:"tsa_url" reload:"restart" example:"\"https://tsa.example.com/\""`
	// How often it is asked.
	TSAEvery Duration `toml:"tsa_every" reload:"restart"`
	// Certificates (PEM) that the authority's must lead to. Without them its stamps are kept without trust in it, and
	// archive verify --tsa-ca judges them.
	TSACAFile string `toml:"tsa_ca_file" reload:"restart" example:"\"/etc/rollcall/tsa-ca.pem\""`
	// What happens to a message that cannot be recorded: refuse answers 503 with Retry-After to that sender. With
	// journal = "redis", spool makes the record durable in data_dir/spool, on a disk of this server, before the message goes
	// on, while Redis takes no records; they come into the streams when it does again.
	OnFailure string `toml:"on_failure" reload:"restart"`
	// Most that may wait in the spool; beyond it messages are refused.
	SpoolBytes int `toml:"spool_bytes" reload:"restart" unit:"bytes"`
	// Keep an index of the record in data_dir/index, so that a search need not read all files. It has what was said
	// in clear, except what was erased: keep it out of backups. It is made again whenever it is missing, and removed
	// when this is false.
	Index bool `toml:"index" reload:"restart"`
}

// Retention is a class of content that is kept for a time.
type Retention struct {
	// Name of the class, which stands in the records. "" is the class of all that no other is for.
	Class string `toml:"class" reload:"yes" example:"\"trading\""`
	// Years that content is kept. Without years and days it is kept for ever.
	Years int `toml:"years" reload:"yes" unit:"years"`
	// Days that content is kept, beside the years.
	Days int `toml:"days" reload:"yes" unit:"days"`
	// Groups of accounts whose messages, sent or received, are of the class.
	Groups []string `toml:"groups" reload:"yes"`
	// Business units of accounts whose messages, sent or received, are of the class.
	Units []string `toml:"units" reload:"yes"`
}

// Replica is a second copy of the sealed segments and checkpoints in an S3-compatible store.
type Replica struct {
	// Bucket, and a prefix in it if wanted: https://host/bucket/prefix. None: there is no second copy. The bucket has
	// to be there, with object lock if keep_days is set.
	URL string `toml:"url" reload:"restart" example:"\"https://s3.example.com/record/node1\""`
	// Region that the store wants in signatures, if it wants one.
	Region string `toml:"region" reload:"restart"`
	// File with the name of the access key.
	AccessKeyFile string `toml:"access_key_file" reload:"restart" example:"\"/etc/rollcall/s3-access\""`
	// File with the secret of the access key.
	SecretKeyFile string `toml:"secret_key_file" reload:"restart" example:"\"/etc/rollcall/s3-secret\""`
	// For so long the store must let nobody change or remove an object (object lock, compliance mode). 0: without.
	KeepDays int `toml:"keep_days" reload:"restart" unit:"days"`
}

// Witness is a place outside of the server that is shown the record's checkpoints, so that who rewrites the archive
// cannot rewrite what it has seen.
type Witness struct {
	// Where it is: file:/path, https://host/path, syslog://host:514, syslog+tcp://host:601 or syslog:/dev/log.
	URL string `toml:"url" reload:"restart" example:"\"file:/mnt/worm/checkpoints\""`
	// Verifier key of a witness over https that signs what it has seen (C2SP tlog-witness). None: it only takes.
	Key string `toml:"key" reload:"restart"`
	// Least time from one checkpoint to the next that it is shown; a minute if it is not given.
	Every Duration `toml:"every" reload:"restart"`
}

// Review is a share of messages that supervisors review.
type Review struct {
	// Business units whose messages, sent or received, it is of. None means all.
	Units []string `toml:"units" reload:"yes"`
	// Of a hundred messages so many are reviewed. Which ones, follows from their IDs.
	Percent int `toml:"percent" reload:"yes" unit:"percent"`
}

// Prices is what business units are charged in a month.
type Prices struct {
	// Currency in which the prices are, such as "EUR". Without one no charges are shown.
	Currency string `toml:"currency" reload:"yes" example:"\"EUR\""`
	// Price of a message that was accepted, in thousandths of the currency.
	Message int `toml:"message" reload:"yes" unit:"thousandths"`
	// Price of a million bytes of bodies, in thousandths of the currency.
	Megabyte int `toml:"megabyte" reload:"yes" unit:"thousandths"`
	// Price of an account that wrote in the month, in thousandths of the currency.
	User int `toml:"user" reload:"yes" unit:"thousandths"`
	// Price of a subscription that was in force for a day, in thousandths of the currency.
	SubscriptionDay int `toml:"subscription_day" reload:"yes" unit:"thousandths"`
}

// Policy names the rules.
type Policy struct {
	// File with the rules, which docs/policy.md explains. Without one all within the domains is allowed. A changed
	// file takes effect within a second or two; one with a fault leaves the rules as they were.
	File string `toml:"file" reload:"yes"`
}

// HTTP says where HTTP is served.
type HTTP struct {
	// IP address and port of /healthz, /readyz and /metrics. They ask for no token, so keep them off public
	// addresses. /xcap/ is there too and asks for the password of an account, and /api/v1/, which asks for a token. An
	// empty string serves none.
	Address string `toml:"address" reload:"restart"`
}

// XCAP bounds the documents of users.
type XCAP struct {
	// Size of one document: a contact list, presence rules. A larger one is answered 413.
	DocumentBytes int `toml:"document_bytes" unit:"bytes" reload:"restart"`
	// Size of one icon.
	IconBytes int `toml:"icon_bytes" unit:"bytes" reload:"restart"`
	// Documents of one user in one application usage. More are answered 507.
	Documents int `toml:"documents" unit:"documents" reload:"restart"`
}

// Presence bounds what watchers and publishers make the server hold.
type Presence struct {
	// Subscriptions of one account, each member of a list counted. One more is answered 503.
	SubscriptionsPerWatcher int `toml:"subscriptions_per_watcher" unit:"subscriptions" reload:"yes"`
	// Subscriptions in all.
	Subscriptions int `toml:"subscriptions" unit:"subscriptions" reload:"yes"`
	// Publications for one user in one event package.
	Publications int `toml:"publications" unit:"publications" reload:"yes"`
	// How long what was published over a connection outlives it.
	FlowGrace Duration `toml:"flow_grace" reload:"yes"`
	// Whether a user who is registered, but has published nothing, is shown as open.
	RegistrationHint bool `toml:"registration_hint" reload:"restart"`
	// Whether accounts of our domains see who has no rules of their own: "allow", "confirm", "polite-block" or "block".
	Colleagues string `toml:"colleagues" reload:"restart"`
	// The same for all other watchers.
	Others string `toml:"others" reload:"restart"`
	// What the address of a list of contacts begins with that has the accounts of one group: "group-" makes
	// sip:group-sales@example.com of the group Sales. Empty: there are no such lists.
	GroupLists string `toml:"group_lists" reload:"restart"`
	// Accounts that may publish for every user: a PBX, a voicemail server, a conference server.
	Publishers []string `toml:"publishers" reload:"restart"`
}

// Registrar bounds registrations. SIP counts expiry in whole seconds, so these do too.
type Registrar struct {
	// Shortest expiry a registration may ask for. A shorter one, but not 0, is answered 423 with Min-Expires
	// (RFC 3261 §10.3).
	MinExpires Duration `toml:"min_expires" reload:"yes"`
	// Expiry of a registration that names none.
	DefaultExpires Duration `toml:"default_expires" reload:"yes"`
	// Longest expiry. A longer one is shortened, and the answer says to what.
	MaxExpires Duration `toml:"max_expires" reload:"yes"`
	// Devices that one account may register at a time.
	MaxContacts int `toml:"max_contacts" unit:"contacts" reload:"yes"`
}

// Auth bounds what is believed of a caller, and how often it may guess.
type Auth struct {
	// How long a nonce is good. An older one is answered with a fresh one and stale=true, which costs the client a
	// round trip and asks nobody for a password. Within it a nonce count is accepted once, so a long life allows no
	// replay.
	NonceLife Duration `toml:"nonce_life" reload:"restart"`
	// Accept digests in the form of RFC 2069, without qop, cnonce and nonce count, which some older clients still
	// send. Such an answer can be replayed as long as the nonce is good, so for it a nonce is good for 60 seconds
	// at most.
	AcceptRFC2069 bool `toml:"accept_rfc2069" reload:"restart"`
	// Challenge clients that fail when a challenge names another algorithm than MD5 with MD5 alone: baresip 1.x and
	// SIPp. All others are offered SHA-256 first and MD5 beside it (RFC 8760).
	MD5ForOldClients bool `toml:"md5_for_old_clients" reload:"restart"`
	// Wrong passwords that one source may send in a minute before a further one is answered 503 with Retry-After
	// instead of a new challenge. A source is an IPv4 address or an IPv6 /64. Tries without credentials do not count,
	// and a right password is always accepted: an office is one address.
	FailedLogins int `toml:"failed_logins" unit:"wrong passwords a minute" reload:"restart"`
	// The same, for one account from one source.
	FailedLoginsPerAccount int `toml:"failed_logins_per_account" unit:"wrong passwords a minute" reload:"restart"`
	// How long the name of a deleted account is kept from a new one, which others would take for it. 0s keeps it from
	// nobody; a single name can be used earlier with rollcall user add --reuse-name.
	NameQuarantine Duration `toml:"name_quarantine" reload:"yes"`
}

// IM says how messages wait.
type IM struct {
	// How long a message for an account that no device took is kept. An Expires header of the message can only
	// shorten it.
	OfflineLife Duration `toml:"offline_life" reload:"yes"`
	// Messages kept for one account. A sender to an account that is full is answered 480.
	OfflineLimit int `toml:"offline_limit" unit:"messages" reload:"yes"`
	// How long a sender waits for the devices of an account. When none has answered by then the message is kept and
	// the sender is answered 202.
	AnswerAfter Duration `toml:"answer_after" reload:"yes"`
}

// Limits bound memory.
type Limits struct {
	// TCP connections at a time, all listeners together. Further ones are closed at once.
	TCPConnections int `toml:"tcp_connections" unit:"connections" reload:"restart"`
	// TCP connections at a time from one IP address.
	TCPPerSource int `toml:"tcp_per_source" unit:"connections" reload:"restart"`
	// How long a TCP connection may be silent before it is closed. A keep-alive (RFC 5626 §3.5.1) counts as sound.
	// The bindings registered over a connection go with it, so it should not be shorter than max_expires of clients
	// that send no keep-alive.
	TCPIdle Duration `toml:"tcp_idle" reload:"restart"`
	// How long a write to a TCP connection may take before the connection is closed.
	TCPWrite Duration `toml:"tcp_write" reload:"restart"`
	// Size of one SIP message. A larger one is answered 513.
	MessageBytes int `toml:"message_bytes" unit:"bytes" reload:"restart"`
	// Header fields of one SIP message. More are answered 400.
	HeaderCount int `toml:"header_count" unit:"header fields" reload:"restart"`
	// Length of a Request-URI. A longer one is answered 414.
	URIBytes int `toml:"uri_bytes" unit:"bytes" reload:"restart"`
	// Memory of finished transactions, whose answers are repeated to retransmissions for 32 s (RFC 3261 §17.2.2). When
	// it is used up the oldest go first.
	TransactionBytes int `toml:"transaction_bytes" unit:"bytes" reload:"restart"`
	// Memory of the SUBSCRIBE and PUBLISH requests that wait, for each UDP listener, when more arrive than can be
	// served: REGISTER and MESSAGE go first. Further ones are dropped; their clients send them again.
	BacklogBytes int `toml:"backlog_bytes" unit:"bytes" reload:"restart"`
}

// Log says what is logged.
type Log struct {
	// Least level that is logged: debug, info, warn or error. Message bodies and credentials are logged at none.
	Level string `toml:"level" reload:"yes"`
	// Form of a line: json, console, or auto, which is console on a terminal and json otherwise.
	Format string `toml:"format" reload:"restart"`
}

// Peer is a server of a foreign domain.
type Peer struct {
	// Name for logs and metrics. When it is not given it is the domain.
	Name string `toml:"name" reload:"restart" example:"\"partner\""`
	// Domain whose users are behind this peer.
	Domain string `toml:"domain" reload:"restart" example:"\"example.net\""`
	// Host and port of the peer.
	Address string `toml:"address" reload:"restart" example:"\"sip.example.net:5060\""`
	// What is spoken to it: udp, tcp or tls. When it is not given it is udp. Over tls its certificate must be for the domain (RFC 5922).
	Transport string `toml:"transport" reload:"restart" example:"\"udp\""`
	// Certificate authorities in PEM that sign its certificate, for tls. When it is not given they are those that the system trusts.
	CAFile string `toml:"ca_file" reload:"restart" example:"\"/etc/rollcall/partner-ca.pem\""`
}

// Default returns the configuration of an empty file. It has no domain, so it is not valid by itself.
func Default() *Config {
	c := &Config{
		DataDir:  "/var/lib/rollcall",
		TimeZone: "UTC",
		Store:    Store{URL: "embedded:"},
		Archive:  Archive{Journal: "file", Durability: "fsync", OnFailure: "refuse", Index: true, TSAEvery: Duration{time.Hour}, Replicas: 1, StreamKeep: Duration{time.Hour}, SpoolBytes: 1 << 30},
		HTTP:     HTTP{Address: "127.0.0.1:8080"},
		XCAP:     XCAP{DocumentBytes: 256 << 10, IconBytes: 1 << 20, Documents: 32},
		Registrar: Registrar{
			MinExpires: Duration{time.Minute}, DefaultExpires: Duration{time.Hour}, MaxExpires: Duration{2 * time.Hour},
			MaxContacts: 32,
		},
		Auth: Auth{
			NonceLife: Duration{time.Hour}, AcceptRFC2069: true, MD5ForOldClients: true,
			FailedLogins: 60, FailedLoginsPerAccount: 10, NameQuarantine: Duration{90 * 24 * time.Hour},
		},
		IM:       IM{OfflineLife: Duration{7 * 24 * time.Hour}, OfflineLimit: 1000, AnswerAfter: Duration{10 * time.Second}},
		Presence: Presence{SubscriptionsPerWatcher: 1000, Subscriptions: 500_000, Publications: 32, FlowGrace: Duration{30 * time.Second}, RegistrationHint: true, Colleagues: "allow", Others: "confirm", GroupLists: "group-"},
		Limits: Limits{
			TCPConnections: 40000, TCPPerSource: 20000, TCPIdle: Duration{2 * time.Hour}, TCPWrite: Duration{10 * time.Second},
			MessageBytes: 65536, HeaderCount: 256, URIBytes: 8192, TransactionBytes: 256 << 20, BacklogBytes: 64 << 20,
		},
		Log: Log{Level: "info", Format: "auto"},
	}
	c.complete()
	return c
}

// complete fills what is derived from other keys, and writes domains as they are compared, in lower case.
func (c *Config) complete() {
	if c.KeysDir == "" && c.DataDir != "" {
		c.KeysDir = filepath.Join(c.DataDir, "keys")
	}
	if len(c.Listen) == 0 {
		c.Listen = []Listen{{Address: "0.0.0.0:5060", Transport: "udp"}, {Address: "0.0.0.0:5060", Transport: "tcp"}}
	}
	for i, d := range c.Domains {
		c.Domains[i] = strings.ToLower(d)
	}
	for i := range c.Witness {
		if c.Witness[i].Every.Duration == 0 {
			c.Witness[i].Every.Duration = time.Minute
		}
	}
	for i := range c.Peer {
		p := &c.Peer[i]
		p.Domain = strings.ToLower(p.Domain)
		if p.Name == "" {
			p.Name = p.Domain
		}
		if p.Transport == "" {
			p.Transport = "udp"
		}
	}
}

// IndexDir is the folder of the index of the record, data_dir/index.
func (c *Config) IndexDir() string { return filepath.Join(c.DataDir, "index") }

// ArchiveDir is the folder of the record, data_dir/archive or [archive] dir.
func (c *Config) ArchiveDir() string {
	if c.Archive.Dir != "" {
		return c.Archive.Dir
	}
	return filepath.Join(c.DataDir, "archive")
}

// WitnessDir is where it is kept what witnesses have and have signed, data_dir/witness.
func (c *Config) WitnessDir() string { return filepath.Join(c.DataDir, "witness") }

// SpoolDir is where records wait for Redis, data_dir/spool.
func (c *Config) SpoolDir() string { return filepath.Join(c.DataDir, "spool") }

// ReplicaDir is where it is kept what the second copy has, data_dir/replica.
func (c *Config) ReplicaDir() string { return filepath.Join(c.DataDir, "replica") }

// Socket is the path of the control socket, data_dir/rollcall.sock. Who may open it is administrator.
func (c *Config) Socket() string { return filepath.Join(c.DataDir, "rollcall.sock") }

// Location is the time zone of reports and rules, UTC if the name is not known.
func (c *Config) Location() *time.Location {
	if l, err := time.LoadLocation(c.TimeZone); err == nil {
		return l
	}
	return time.UTC
}

// Duration is a length of time, written in TOML as a string that [time.ParseDuration] takes, such as "90s" or "168h".
type Duration struct{ time.Duration }

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	d.Duration = v
	return err
}

// MarshalText writes the duration without units that are nought: "1h", not "1h0m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration as it is written in the file.
func (d Duration) String() string {
	s := d.Duration.String()
	if len(s) > 2 && s[len(s)-2:] == "0s" && s[len(s)-3] == 'm' {
		s = s[:len(s)-2]
	}
	if len(s) > 2 && s[len(s)-2:] == "0m" && s[len(s)-3] == 'h' {
		s = s[:len(s)-2]
	}
	return s
}
