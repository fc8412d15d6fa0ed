package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"
)

// kamailioModules is where Debian's packages put the modules.
const kamailioModules = "/usr/lib/*/kamailio/modules"

// kamailioPresence is a presence server at its best, and a registrar beside.
//
//   - Subscriptions and publications are in shared memory; what else depends on
//     the database is filled in: in memory alone (subs_db_mode 0, publ_cache 2,
//     db_text for the tables that the modules insist on), or written through
//     to it (subs_db_mode 1, publ_cache 1) without table locks.
//   - notifier_processes 0: the worker that takes a PUBLISH sends its NOTIFYs
//     itself, at once.
//   - force_active 1: no presence rules are looked up.
const kamailioPresence = `#!KAMAILIO
debug=-1
log_stderror=yes
fork=yes
{{prealloc}}
children={{children}}
tcp_children={{children}}
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
loadmodule "{{driver}}.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"

modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 16)
modparam("registrar", "max_expires", 3600)
modparam("auth", "nonce_expire", 300)
modparam("tm", "wt_timer", 1000)
modparam("tm", "auto_inv_100", 0)
modparam("presence", "db_url", "{{database}}")
modparam("presence", "server_address", "sip:{{addr}}")
modparam("presence", "subs_db_mode", {{subs_db_mode}})
modparam("presence", "publ_cache", {{publ_cache}})
modparam("presence", "db_table_lock_type", 0)
modparam("presence", "notifier_processes", 0)
modparam("presence", "subs_htable_size", 14)
modparam("presence", "pres_htable_size", 14)
modparam("presence", "max_expires", 3600)
modparam("presence_xml", "db_url", "{{database}}")
modparam("presence_xml", "force_active", 1)

request_route {
	if (method == "OPTIONS") {
		sl_send_reply("200", "OK");
		exit;
	}
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (method == "REGISTER" || method == "PUBLISH" || method == "SUBSCRIBE") {
		if (!pv_auth_check("{{domain}}", "$au", "0", "1")) {
			auth_challenge("{{domain}}", "1");
			exit;
		}
		if (method == "REGISTER") {
			save("location");
			exit;
		}
		t_newtran();
		if (method == "PUBLISH") {
			handle_publish();
		} else {
			handle_subscribe();
		}
		exit;
	}
	sl_send_reply("405", "Method Not Allowed");
}
`

// presenceShared is Kamailio's shared memory in MB, enough for 200,000
// subscriptions and the transactions that make them.
const presenceShared = 2048

// startKamailioPresence starts a presence server with its state in memory.
func (p *plan) startKamailioPresence(ctx context.Context, prealloc bool) (*server, error) {
	return p.launchKamailio(ctx, launch{
		config: kamailioPresence, prealloc: prealloc, shared: presenceShared,
		replace: []string{"{{children}}", "2", "{{driver}}", "db_text", "{{database}}", "text://{{dir}}/dbtext",
			"{{subs_db_mode}}", "0", "{{publ_cache}}", "2"},
		prepare: func(dir string) error {
			return os.CopyFS(filepath.Join(dir, "dbtext"), os.DirFS("/usr/share/kamailio/dbtext/kamailio"))
		},
	})
}

// startKamailioMariaDB starts a presence server that writes its state through
// to a MariaDB of its own, which counts as part of the server. Four workers,
// as they wait for it.
func (p *plan) startKamailioMariaDB(ctx context.Context) (*server, error) {
	db, socket, err := p.startMariaDB(ctx)
	if err != nil {
		return nil, err
	}
	s, err := p.launchKamailio(ctx, launch{
		config: kamailioPresence, prealloc: true, shared: presenceShared,
		env: []string{"MYSQL_UNIX_PORT=" + socket},
		replace: []string{"{{children}}", "4", "{{driver}}", "db_mysql", "{{database}}", "mysql://kamailio:kamailio@localhost/kamailio",
			"{{subs_db_mode}}", "1", "{{publ_cache}}", "1"},
	})
	if err != nil {
		db.stop()
		return nil, err
	}
	s.pids = append(s.pids, db.cmd.Process.Pid)
	s.procs = append([]*process{db}, s.procs...)
	return s, nil
}

// mariaTables makes Kamailio's database.
const mariaTables = `CREATE DATABASE kamailio CHARACTER SET latin1;
CREATE USER kamailio@localhost IDENTIFIED BY 'kamailio';
GRANT ALL ON kamailio.* TO kamailio@localhost;
USE kamailio;
SOURCE /usr/share/kamailio/mysql/standard-create.sql
SOURCE /usr/share/kamailio/mysql/presence-create.sql
`

// startMariaDB starts an empty MariaDB with Kamailio's tables, that listens at
// a socket in its own folder alone. A commit is on disk within a second, as
// what Redis keeps with appendfsync everysec.
func (p *plan) startMariaDB(ctx context.Context) (*process, string, error) {
	program, err := need(ctx, p.log, "mariadbd", "mariadb-server")
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(p.dir, "mariadb-")
	if err != nil {
		return nil, "", err
	}
	me, err := user.Current()
	if err != nil {
		return nil, "", err
	}
	socket := filepath.Join(dir, "socket")
	if err := execute(ctx, dir, "mariadb-install-db", "--no-defaults", "--user="+me.Username, "--datadir="+filepath.Join(dir, "data"),
		"--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return nil, "", err
	}
	proc, err := start(dir, "mariadb", program, "--no-defaults", "--user="+me.Username, "--datadir="+filepath.Join(dir, "data"),
		"--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"), "--skip-networking", "--skip-log-bin",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M")
	if err != nil {
		return nil, "", err
	}
	tables := filepath.Join(dir, "tables.sql")
	answers := func() bool {
		return execute(ctx, dir, "mariadb", "--no-defaults", "--socket="+socket, "--user=root", "--execute=SELECT 1") == nil
	}
	if err = os.WriteFile(tables, []byte(mariaTables), 0o644); err == nil {
		err = proc.await(ctx, time.Minute, answers)
	}
	if err == nil {
		err = execute(ctx, dir, "mariadb", "--no-defaults", "--socket="+socket, "--user=root", fmt.Sprintf("--execute=SOURCE %s", tables))
	}
	if err != nil {
		proc.stop()
		return nil, "", err
	}
	return proc, socket, nil
}
