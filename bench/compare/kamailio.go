package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const kamailioName = "kamailio"

// kamailioConfig is a registrar and MESSAGE relay at its best on two cores:
// two workers for each transport, everything in memory, the password computed
// from the user name, no DNS, no log.
//
//   - udp4_raw sends UDP through a raw socket, which parts the workers' sends.
//   - usrloc keeps bindings in memory alone, in 65,536 hash slots.
//   - Nonces live 300 s and may be replayed in that time: nonce_count, which
//     would forbid it, costs nothing measurable.
//   - tm forgets a transaction a second after its answer. RFC 3261 §17.2.2
//     has 32 s over UDP.
const kamailioConfig = `#!KAMAILIO
debug=-1
log_stderror=yes
fork=yes
{{prealloc}}
children=2
tcp_children=2
udp4_raw=1
dns=no
rev_dns=no
auto_aliases=no
server_signature=no
tcp_connection_lifetime=3605
tcp_max_connections=4096
listen=udp:{{addr}}
listen=tcp:{{addr}}
alias="{{domain}}"

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"

modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 16)
modparam("registrar", "max_expires", 3600)
modparam("auth", "nonce_expire", 300)
modparam("tm", "wt_timer", 1000)
modparam("tm", "auto_inv_100", 0)

request_route {
	if (method == "OPTIONS") {
		sl_send_reply("200", "OK");
		exit;
	}
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (method == "REGISTER") {
		if (!pv_auth_check("{{domain}}", "$au", "0", "1")) {
			auth_challenge("{{domain}}", "1");
			exit;
		}
		save("location");
		exit;
	}
	if (method == "MESSAGE") {
		if (!pv_auth_check("{{domain}}", "$au", "0", "1")) {
			auth_challenge("{{domain}}", "1");
			exit;
		}
		consume_credentials();
		t_newtran();
		if (!lookup("location")) {
			t_reply("404", "Not Found");
			exit;
		}
		t_relay();
		exit;
	}
	sl_send_reply("405", "Method Not Allowed");
}
`

// startKamailio starts Kamailio as registrar and relay in a folder of its own.
// With prealloc it touches all its shared memory at the start, which serves
// speed; without, its memory is what it uses.
func (p *plan) startKamailio(ctx context.Context, prealloc bool) (*server, error) {
	return p.launchKamailio(ctx, launch{config: kamailioConfig, prealloc: prealloc, shared: 4096})
}

// launch is how a Kamailio is started.
type launch struct {
	config   string
	prealloc bool
	shared   int      // MB of shared memory
	env      []string // NAME=value
	replace  []string // more to fill in: {{name}}, value
	// prepare, if not nil, is called with the server's folder before the start.
	prepare func(dir string) error
}

func (p *plan) launchKamailio(ctx context.Context, l launch) (*server, error) {
	program, err := need(ctx, p.log, "kamailio", "kamailio")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(p.dir, "kamailio-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if l.prepare != nil {
		if err := l.prepare(dir); err != nil {
			return nil, err
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	alloc := ""
	if l.prealloc {
		alloc = "shm_force_alloc=yes"
	}
	replace := append([]string{"{{addr}}", addr, "{{domain}}", domain, "{{prealloc}}", alloc, "{{dir}}", dir}, l.replace...)
	// Twice, for a value may hold a name itself.
	text := strings.NewReplacer(replace...).Replace(strings.NewReplacer(replace...).Replace(l.config))
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	// tlsf: Debian's default memory manager is 2.5 to 3 times slower here.
	args := append(slices.Clone(l.env), program, "-DD", "-f", file, "-Y", dir, "-x", "tlsf", "-m", fmt.Sprint(l.shared), "-b", "4194304")
	proc, err := start(dir, "kamailio", "env", args...)
	if err != nil {
		return nil, err
	}
	s := &server{name: kamailioName, addr: addr}
	s.add(proc)
	began := time.Now()
	if err := proc.await(ctx, time.Minute, func() bool { return probe(addr) }); err != nil {
		s.stop()
		return nil, err
	}
	s.ready = time.Since(began)
	return s, nil
}
