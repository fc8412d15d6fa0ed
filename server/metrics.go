package server

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// counters are those of the dispatch itself; each package below has its own.
type counters struct {
	malformed    counter
	panics       counter
	unknown      counter
	policyFaults counter             // policy files that were not good
	stampFaults  counter             // checkpoints that got no time stamp
	unreconciled counter             // messages of past days without an outcome
	requests     map[string]*counter // by method; filled once
	answers      [7]counter          // by class
	http         *prometheus.CounterVec
}

type counter struct{ n atomic.Uint64 }

func (c *counter) Inc() { c.n.Add(1) }

func newCounters() *counters {
	c := &counters{requests: map[string]*counter{}, http: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_http_requests_total", Help: "Requests of the HTTP API with a token, by route and class of the answer."}, []string{"route", "class"})}
	for m := range methods {
		c.requests[m] = new(counter)
	}
	return c
}

func (c *counters) count(method string, known bool) {
	if !known {
		c.unknown.Inc()
		return
	}
	c.requests[method].Inc()
}

func (c *counters) answered(status int) { c.answers[min(max(status/100, 0), 6)].Inc() }

// newRegistry makes all metrics. They are read from the packages' own counters
// when they are scraped, so counting costs an atomic add and no more. No label
// holds an address of record.
func (s *Server) newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	count := func(name, help string, labels prometheus.Labels, f func() uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(f()) }))
	}
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	r.MustRegister(s.counters.http, s.disk.took)
	count("rollcall_archive_unreconciled_total", "Messages of past days that have no outcome in the record. Each is a gap to look into.", nil, s.counters.unreconciled.n.Load)
	count("rollcall_policy_faults_total", "Policy files with a fault, which left the rules as they were.", nil, s.counters.policyFaults.n.Load)
	gauge("rollcall_archive_unsealed_records", "Records in the streams of Redis that are in no segment yet; -1 when Redis does not tell.", s.unsealed)
	gauge("rollcall_archive_seals", "1 while this server seals the record.", func() float64 {
		if s.stream == nil || s.stream.Seals() {
			return 1
		}
		return 0
	})
	gauge("rollcall_archive_spool_bytes", "Bytes of records that wait on a disk of this server until Redis takes them.", func() float64 { b, _ := s.spooled(); return b })
	gauge("rollcall_archive_spool_age_seconds", "How long the oldest of them has waited.", func() float64 { _, age := s.spooled(); return age })
	count("rollcall_archive_replica_failures_total", "Tries to copy sealed segments and checkpoints that failed.", nil, s.replicaFailed)
	gauge("rollcall_archive_replica_waiting_segments", "Compressed segments that the second copy does not have.", s.replicaBehind)
	count("rollcall_archive_stamp_failures_total", "Tries to have a checkpoint time-stamped that failed.", nil, s.counters.stampFaults.n.Load)
	count("rollcall_archive_witness_failures_total", "Tries to show a checkpoint to a witness that failed.", nil, s.witnesses.failed)
	gauge("rollcall_archive_witness_behind_records", "Records that are under no checkpoint that every witness has seen.", func() float64 { return s.witnesses.behind(s.journal.Stats().Seq) })
	for m, c := range s.counters.requests {
		count("rollcall_server_requests_total", "Requests served, without retransmissions, by method.", prometheus.Labels{"method": m}, c.n.Load)
	}
	count("rollcall_server_requests_total", "Requests served, without retransmissions, by method.", prometheus.Labels{"method": "other"}, s.counters.unknown.n.Load)
	for i := 2; i <= 6; i++ {
		count("rollcall_server_answers_total", "Final answers of this server itself, by class.", prometheus.Labels{"class": strconv.Itoa(i) + "xx"}, s.counters.answers[i].n.Load)
	}
	count("rollcall_server_malformed_total", "Messages that parse as SIP but break its rules.", nil, s.counters.malformed.n.Load)
	count("rollcall_server_panics_total", "Panics in handlers, answered 500.", nil, s.counters.panics.n.Load)

	t := &s.transport.Counters
	count("rollcall_transport_received_messages_total", "SIP messages received.", nil, t.Received.Load)
	count("rollcall_transport_sent_messages_total", "SIP messages sent.", nil, t.Sent.Load)
	count("rollcall_transport_not_sip_total", "Datagrams and stream parts dropped as no SIP message.", nil, t.NotSIP.Load)
	count("rollcall_transport_keepalives_total", "CRLF and STUN keep-alives.", nil, t.KeepAlive.Load)
	count("rollcall_transport_set_aside_total", "SUBSCRIBE and PUBLISH datagrams that waited while others were served first.", nil, t.SetAside.Load)
	count("rollcall_transport_set_aside_repeated_total", "Retransmissions dropped as the same datagram waited already.", nil, t.Repeated.Load)
	count("rollcall_transport_backlog_full_total", "SUBSCRIBE and PUBLISH datagrams dropped as too many waited.", nil, t.Overflowed.Load)
	count("rollcall_transport_send_dropped_total", "Messages not sent: flow gone, queue full, refused by the kernel.", nil, t.SendDropped.Load)
	count("rollcall_transport_connections_opened_total", "Connections opened.", nil, t.ConnOpened.Load)
	count("rollcall_transport_connections_refused_total", "Connections over a limit.", nil, t.ConnRefused.Load)
	count("rollcall_transport_connections_timed_out_total", "Connections closed as idle, slow or not reading.", nil, t.ConnTimedOut.Load)
	count("rollcall_transport_handshakes_failed_total", "Connections that ended in the handshake of TLS or WebSocket.", nil, t.HandshakeFailed.Load)
	gauge("rollcall_transport_certificate_expires_seconds", "When the first certificate of a listener expires, in seconds since 1970; 0 without one.", s.certificateEnd)
	gauge("rollcall_transport_connections", "Open connections.", func() float64 { return float64(s.transport.Connections()) })

	x := &s.tx.Counters
	count("rollcall_transaction_retransmissions_total", "Requests seen again.", nil, x.Retransmitted.Load)
	count("rollcall_transaction_resent_total", "Own requests sent again by Timer E.", nil, x.Resent.Load)
	count("rollcall_transaction_timeouts_total", "Own requests without final response after 64*T1.", nil, x.TimedOut.Load)
	count("rollcall_transaction_stray_responses_total", "Responses of no transaction, dropped.", nil, x.Stray.Load)
	count("rollcall_transaction_evicted_total", "Finished transactions forgotten before Timer J.", nil, x.Evicted.Load)
	count("rollcall_transaction_refused_total", "Requests over the limit of unfinished transactions.", nil, x.Refused.Load)
	gauge("rollcall_transaction_active", "Unfinished server transactions.", func() float64 { return float64(x.Active.Load()) })
	gauge("rollcall_transaction_clients", "Unfinished client transactions.", func() float64 { return float64(x.Clients.Load()) })
	gauge("rollcall_transaction_finished_bytes", "Memory of finished transactions.", func() float64 { _, n := s.tx.FinishedBytes(); return float64(n) })

	for name, f := range map[string]func() uint64{
		"accepted": func() uint64 { return s.authn.Stats().Accepted }, "challenged": func() uint64 { return s.authn.Stats().Challenged },
		"malformed": func() uint64 { return s.authn.Stats().Malformed }, "wrong": func() uint64 { return s.authn.Stats().Wrong },
		"stale": func() uint64 { return s.authn.Stats().Stale }, "replayed": func() uint64 { return s.authn.Stats().Replayed },
		"disabled": func() uint64 { return s.authn.Stats().Disabled }, "forged": func() uint64 { return s.authn.Stats().Forged },
	} {
		count("rollcall_auth_requests_total", "Requests that had to authenticate, by result.", prometheus.Labels{"result": name}, f)
	}
	count("rollcall_auth_slowed_total", "Wrong passwords answered 503: too many from one source.", nil, func() uint64 { return s.authn.Stats().Slowed })
	count("rollcall_auth_legacy_total", "Right digests in the form of RFC 2069, without nonce count.", nil, func() uint64 { return s.authn.Stats().Legacy })

	c := &s.relay.Counters
	count("rollcall_im_received_messages_total", "MESSAGE requests of authenticated accounts.", nil, c.Received.Load)
	for name, f := range map[string]func() uint64{
		"delivered": c.Delivered.Load, "stored": c.Stored.Load, "refused": c.Refused.Load, "failed": c.Failed.Load, "expired": c.Expired.Load,
	} {
		count("rollcall_im_outcomes_total", "Outcomes recorded, by disposition.", prometheus.Labels{"disposition": name}, f)
	}
	count("rollcall_im_unrecorded_total", "Messages answered 503 as the journal did not work.", nil, c.Unrecorded.Load)
	count("rollcall_im_redelivered_total", "Messages delivered out of the offline queue.", nil, c.Redelivered.Load)

	e := &s.notifier.Counters
	gauge("rollcall_event_subscriptions", "Subscriptions that live, each member of a list counted.", func() float64 { return float64(e.Subscriptions.Load()) })
	count("rollcall_event_notified_total", "NOTIFY requests sent, without retransmissions.", nil, e.Notified.Load)
	count("rollcall_event_unchanged_total", "NOTIFY requests spared as nothing changed for the watcher.", nil, e.Unchanged.Load)
	count("rollcall_event_ended_total", "Subscriptions ended by the watcher's answer or silence.", nil, e.Ended.Load)
	count("rollcall_event_refused_total", "SUBSCRIBE requests refused.", nil, e.Refused.Load)
	count("rollcall_event_published_total", "PUBLISH requests taken.", nil, e.Published.Load)
	count("rollcall_event_failed_total", "States and views that could not be made, panics among them.", nil, e.Failed.Load)

	count("rollcall_archive_records_total", "Records made durable since the start.", nil, func() uint64 { return s.journal.Stats().Records })
	count("rollcall_archive_bytes_total", "Bytes of the records made durable since the start.", nil, func() uint64 { return s.journal.Stats().Bytes })
	gauge("rollcall_archive_pending_bytes", "Bytes of records that wait for the disk.", func() float64 { return float64(s.journal.Stats().Pending) })
	gauge("rollcall_index_lag_records", "Durable records that are not in the index yet.", func() float64 { return float64(s.indexLag().Records) })
	gauge("rollcall_index_lag_seconds", "Age of the oldest of them, about.", func() float64 { return s.indexLag().Age.Seconds() })
	gauge("rollcall_index_ready", "1 while searches use the index.", func() float64 {
		if s.index != nil && s.index.Ready() {
			return 1
		}
		return 0
	})
	count("rollcall_index_made_total", "Times the index was made from nothing.", nil, func() uint64 {
		if s.index == nil {
			return 0
		}
		return s.index.Made()
	})
	gauge("rollcall_archive_working", "1 while the journal takes records.", func() float64 {
		if s.journal.Err() != nil {
			return 0
		}
		return 1
	})
	return r
}
