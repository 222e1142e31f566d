//! The DNS prober with real name servers: one zone that holds every type, over every transport that a server
//! has, and the same answers as `kdig` shows of them.
#![cfg(all(feature = "dns", feature = "tls", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

#[path = "dns/beside.rs"]
mod beside;
#[path = "dns/exchange.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod exchange;
#[path = "dns/tools.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod tools;

use std::net::SocketAddr;

use beside::{beside, sets};
use netsonde::dns::{DnsConfig, DnsProber, DnsReport, DnsTransport, Question};
use netsonde::tls::{TlsConfig, Trust};
use netsonde::wire::dns::{RecordBuf, RecordType};
use netsonde::{ProbeResult, Prober};
use netsonde_support::daemon::dns::{self, Zone};
use netsonde_support::{Pki, require_command};
use tools::{Tool, like_kdig};

const ZONE: Zone<'static> =
    Zone { name: "netsonde.test", text: include_str!("dns/netsonde.test.zone") };

/// How a server is asked: by which transport, and whom its certificate is checked against.
struct Way {
    transport: DnsTransport,
    server: SocketAddr,
    root: Option<String>,
    resolves: bool,
    /// Questions that go over one connection without waiting for each other.
    at_once: usize,
}

fn ask(way: &Way, questions: Vec<Question>) -> ProbeResult<DnsReport> {
    let tls = way.root.as_ref().map(|root| TlsConfig {
        trust: Trust::Pem(root.clone()),
        verify_name: Some(NAME.to_owned()),
        ..TlsConfig::default()
    });
    let config = DnsConfig { questions, transport: way.transport, tls, ..DnsConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { DnsProber::new(config).unwrap().probe(&way.server.into()).await })
}

/// The name in the certificates of the daemons.
const NAME: &str = "dns.netsonde.test";

/// Each set of records of the zone, asked for in probes of many questions, beside what kdig shows.
fn every_set_is_the_same(way: &Way, plain: SocketAddr, all: &[RecordBuf], kdig: &Tool) {
    let mut sets: Vec<(String, RecordType)> = sets(all).into_iter().collect();
    if way.resolves {
        // A resolver keeps to itself what only belongs to DNSSEC, unless it is asked for that.
        sets.retain(|(_, rtype)| ![RecordType::NSEC, RecordType::RRSIG].contains(rtype));
    }
    let mut records: Vec<RecordBuf> = Vec::new();
    for some in sets.chunks(way.at_once) {
        let question =
            |(owner, rtype): &(String, RecordType)| Question::new(owner.parse().unwrap(), *rtype);
        let result = ask(way, some.iter().map(question).collect());
        assert!(result.verdict.is_pass(), "{} {}: {result}", way.transport, way.server);
        for exchange in result.report.exchanges() {
            let asked = exchange.question.as_ref().unwrap();
            assert!(!exchange.answer.is_empty(), "{asked}");
            assert!(exchange.edns.is_some() && exchange.edns_error.is_none(), "{asked}");
            let shown = exchange.answer.iter().map(|record| record.presentation.parse().unwrap());
            records.extend(shown);
            assert!(
                exchange.answer.iter().all(|record| record.presentation.ends_with(&record.data)),
                "{asked}"
            );
        }
    }
    beside(&records, kdig.ask(plain, &sets), like_kdig);
}

#[test]
fn knot_bind_nsd_and_unbound_answer_over_udp_tcp_and_tls_what_kdig_shows() {
    let Some(kdig) = require_command("kdig").map(Tool::kdig) else { return };
    let pki = Pki::new();
    let issued = pki.leaf(NAME).issue();
    let root = || Some(pki.root.pem());
    let Some(knot) = dns::knot(&[ZONE], "") else { return };
    let Some(named) = dns::named(&issued, &[ZONE], "") else { return };
    let Some(nsd) = dns::nsd(&issued, &[ZONE], "") else { return };
    let all = exchange::transfer(knot.addr_of("dns"), ZONE.name);
    let stubs = [(ZONE.name, knot.addr_of("dns"))];
    let Some(unbound) = dns::unbound(&issued, &stubs, "") else { return };
    for daemon in [&knot, &named, &nsd, &unbound] {
        let plain = daemon.addr_of("dns");
        for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
            let resolves = std::ptr::eq(daemon, &raw const unbound);
            let way = Way { transport, server: plain, root: None, resolves, at_once: 50 };
            every_set_is_the_same(&way, plain, &all, &kdig);
        }
    }
    for daemon in [&nsd, &unbound, &named] {
        let (transport, server) = (DnsTransport::Tls, daemon.addr_of("dot"));
        let resolves = std::ptr::eq(daemon, &raw const unbound);
        // nsd 4.6 forgets what stands behind a question in the same TLS record, until more comes.
        let at_once = if std::ptr::eq(daemon, &raw const nsd) { 1 } else { 50 };
        let way = Way { transport, server, root: root(), resolves, at_once };
        every_set_is_the_same(&way, daemon.addr_of("dns"), &all, &kdig);
    }
    for daemon in [&knot, &named, &nsd] {
        let way = Way {
            transport: DnsTransport::Udp,
            server: daemon.addr6_of("dns"),
            root: None,
            resolves: false,
            at_once: 1,
        };
        let result = ask(&way, vec!["netsonde.test SOA".parse().unwrap()]);
        assert!(result.verdict.is_pass(), "{result}");
        assert!(result.report.exchange.header.as_ref().unwrap().authoritative);
    }
}
