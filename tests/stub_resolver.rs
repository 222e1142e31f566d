//! The stub resolver against servers that do what they are told.
#![cfg(all(feature = "dns", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use netsonde::dns::{DnsFate, DnsTransport};
use netsonde::engine::stub::Negative;
use netsonde::tcp::{TcpConfig, TcpProber};
use netsonde::wire::dns::{Composer, Flags, Message, Rcode, RecordBuf, RecordType, Section};
use netsonde::{
    Family, LocalFaultKind, Phase, ProbeContext, Prober, Resolve, ResolveError, ResolveSource,
    StubAnswer, StubCache, StubConfig, StubResolver, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What a server holds: records of names, and what it says where it has none.
type Zone = fn(&str, RecordType) -> Said;

struct Said {
    flags: u16,
    answer: Vec<String>,
    authority: Vec<String>,
}

fn said(flags: u16, answer: &[&str]) -> Said {
    let answer = answer.iter().map(ToString::to_string).collect();
    Said { flags, answer, authority: Vec::new() }
}

fn negative(rcode: u16) -> Said {
    let soa = "example. 900 IN SOA ns.example. root.example. 1 2 3 4 30";
    Said { authority: vec![soa.into()], ..said(0x8180 | rcode, &[]) }
}

fn respond(query: &[u8], zone: Zone) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let question = message.questions().next().unwrap();
    let said = zone(&question.name.to_string().to_ascii_lowercase(), question.rtype);
    let mut out = Vec::new();
    let mut composer = Composer::new(&mut out, message.header().id, Flags(said.flags));
    composer.question(question.name, question.rtype, question.class).unwrap();
    for (section, records) in [(Section::Answer, said.answer), (Section::Authority, said.authority)]
    {
        for record in records {
            let record: RecordBuf = record.parse().unwrap();
            record.compose(&mut composer, section).unwrap();
        }
    }
    composer.finish();
    out
}

/// Serves over UDP, and counts the queries.
async fn server(zone: Zone) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut query).await {
            counted.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&respond(&query[..len], zone), from).await.unwrap();
        }
    });
    (address, count)
}

async fn tcp_server(at: SocketAddr, zone: Zone) {
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(len) = stream.read_u16().await {
                let mut query = vec![0; len.into()];
                stream.read_exact(&mut query).await.unwrap();
                let answer = respond(&query, zone);
                let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&len, answer.as_slice()].concat()).await.unwrap();
            }
        }
    });
}

/// A socket at which nobody answers.
fn silent() -> (std::net::UdpSocket, SocketAddr) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn quick(servers: &[SocketAddr]) -> StubConfig {
    StubConfig {
        timeout: Duration::from_millis(300),
        attempts: 1,
        ..StubConfig::asking(servers.iter().copied())
    }
}

async fn lookup(config: StubConfig, name: &str, family: Family) -> StubAnswer {
    StubResolver::new(config).unwrap().lookup(&name.parse().unwrap(), family).await
}

fn ips(answer: &StubAnswer) -> Vec<String> {
    answer.ips().map(|ip| ip.to_string()).collect()
}

fn code(answer: &StubAnswer) -> &'static str {
    match answer.error.as_ref().unwrap() {
        ResolveError::Failed(failure) => failure.code(),
        ResolveError::Local(fault) => fault.code(),
        other => panic!("{other}"),
    }
}

fn www(name: &str, rtype: RecordType) -> Said {
    match (name, rtype) {
        ("www.example.", RecordType::A) => said(
            0x81a0,
            &["www.example. 60 IN CNAME web.example.", "web.example. 50 IN A 127.0.0.1"],
        ),
        ("www.example.", RecordType::AAAA) => {
            said(0x81a0, &["www.example. 60 IN CNAME web.example.", "web.example. 40 IN AAAA ::1"])
        }
        ("four.example." | "four.corp.example.", RecordType::A) => {
            said(0x8180, &[&format!("{name} 9 IN A 192.0.2.4")])
        }
        ("four.example." | "four.corp.example.", _) => negative(0),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR) => {
            said(0x8180, &["1.2.0.192.in-addr.arpa. 9 IN PTR Host.example."])
        }
        _ => negative(3),
    }
}

#[tokio::test]
async fn a_and_aaaa_are_asked_for_at_once_and_all_of_it_is_told() {
    let (address, count) = server(www).await;
    let answer = lookup(quick(&[address]), "www.example", Family::Any).await;
    assert_eq!(answer.addresses.len(), 2, "{answer:?}");
    assert_eq!(answer.ttl(), Some(Duration::from_secs(40)));
    assert_eq!(answer.canonical.as_ref().unwrap().to_string(), "web.example.");
    assert_eq!((answer.server, answer.source), (Some(address), ResolveSource::Server));
    assert_eq!((answer.authentic, answer.incomplete), (None, false));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    let types: Vec<_> = answer.attempts.iter().map(|a| a.rtype).collect();
    assert!(types.contains(&RecordType::A) && types.contains(&RecordType::AAAA), "{answer:?}");
    for attempt in &answer.attempts {
        assert_eq!((attempt.fate, attempt.rcode), (DnsFate::Answered, Some(Rcode::NOERROR)));
        assert!(attempt.duration_ns > 0 && attempt.transport == DnsTransport::Udp);
    }
    let believed = StubConfig { trust_ad: true, ..quick(&[address]) };
    assert_eq!(lookup(believed, "www.example", Family::Any).await.authentic, Some(true));
    let four = lookup(quick(&[address]), "www.example", Family::V4Only).await;
    assert_eq!((ips(&four), four.attempts.len()), (vec!["127.0.0.1".to_owned()], 1));
    let none = StubConfig { no_aaaa: true, ..quick(&[address]) };
    assert_eq!(lookup(none, "www.example", Family::Any).await.attempts.len(), 1);
}

#[tokio::test]
async fn nothing_is_told_with_its_lifetime() {
    let (address, _) = server(www).await;
    let gone = lookup(quick(&[address]), "gone.example", Family::Any).await;
    let negative = gone.negative.unwrap();
    assert_eq!((negative.kind, negative.ttl_s), (Negative::NoSuchName, Some(30)));
    assert_eq!(code(&gone), "resolve_no_such_name");
    let six = lookup(quick(&[address]), "four.example", Family::V6Only).await;
    assert_eq!(six.negative.unwrap().kind, Negative::NoData);
    assert_eq!(code(&six), "resolve_no_address");
    assert!(six.error.unwrap().to_string().contains("for 30 s"));
}

#[tokio::test]
async fn the_search_list_is_gone_through() {
    let (address, _) = server(www).await;
    let search = vec!["none.example".parse().unwrap(), "corp.example".parse().unwrap()];
    let config = StubConfig { search, ..quick(&[address]) };
    let answer = lookup(config.clone(), "four", Family::V4Only).await;
    assert_eq!(ips(&answer), ["192.0.2.4"]);
    assert_eq!(answer.name.to_string(), "four.corp.example.");
    let asked: Vec<_> = answer.attempts.iter().map(|a| a.name.to_string()).collect();
    assert_eq!(asked, ["four.none.example.", "four.corp.example."]);
    let absolute = lookup(config, "four.", Family::V4Only).await;
    assert_eq!((code(&absolute), absolute.attempts.len()), ("resolve_no_such_name", 1));
}

#[tokio::test]
async fn a_dead_server_and_one_that_fails_are_left_for_the_next() {
    let (_socket, dead) = silent();
    let closed = silent().1;
    let (failing, _) = server(|_, _| said(0x8182, &[])).await;
    let (refusing, _) = server(|_, _| said(0x8185, &[])).await;
    let (fine, _) = server(www).await;
    let servers = [dead, closed, failing, refusing, fine];
    let start = Instant::now();
    let answer = lookup(quick(&servers), "four.example", Family::V4Only).await;
    assert_eq!(ips(&answer), ["192.0.2.4"], "{answer:?}");
    assert!(start.elapsed() >= Duration::from_millis(300));
    let fates: Vec<_> = answer.attempts.iter().map(|a| (a.server, a.fate, a.rcode)).collect();
    let wanted = [
        (dead, DnsFate::TimedOut, None),
        (closed, DnsFate::Refused, None),
        (failing, DnsFate::Answered, Some(Rcode::SERVFAIL)),
        (refusing, DnsFate::Answered, Some(Rcode::REFUSED)),
        (fine, DnsFate::Answered, Some(Rcode::NOERROR)),
    ];
    assert_eq!(fates, wanted);
    assert_eq!(answer.server, Some(fine));

    let none = lookup(quick(&[dead, failing]), "four.example", Family::V4Only).await;
    assert_eq!(code(&none), "resolve_failed");
    let twice = StubConfig { attempts: 2, ..quick(&[closed]) };
    assert_eq!(lookup(twice, "four.example", Family::V4Only).await.attempts.len(), 2);
}

#[tokio::test]
async fn rotation_begins_with_the_next_server_each_time() {
    let (one, first) = server(www).await;
    let (two, second) = server(www).await;
    let config = StubConfig { rotate: true, ..quick(&[one, two]) };
    let resolver = StubResolver::new(config).unwrap();
    for _ in 0..6 {
        resolver.lookup(&"four.example".parse().unwrap(), Family::V4Only).await;
    }
    assert_eq!([first, second].map(|count| count.load(Ordering::Relaxed)), [3, 3]);
}

#[tokio::test]
async fn d45_an_answer_cut_short_is_asked_for_over_tcp() {
    let (address, _) = server(|_, _| said(0x8380, &[])).await;
    tcp_server(address, www).await;
    let answer = lookup(quick(&[address]), "four.example", Family::V4Only).await;
    assert_eq!(ips(&answer), ["192.0.2.4"], "{answer:?}");
    let ways: Vec<_> = answer.attempts.iter().map(|a| a.transport).collect();
    assert_eq!(ways, [DnsTransport::Udp, DnsTransport::Tcp]);
    let tcp = StubConfig { use_vc: true, ..quick(&[address]) };
    let answer = lookup(tcp, "four.example", Family::V4Only).await;
    assert_eq!((ips(&answer).len(), answer.attempts.len()), (1, 1), "{answer:?}");
}

#[tokio::test]
async fn half_an_answer_is_an_answer_that_says_so() {
    let (address, _) = server(|name, rtype| match rtype {
        RecordType::A => www(name, rtype),
        _ => said(0x8182, &[]),
    })
    .await;
    let answer = lookup(quick(&[address]), "four.example", Family::Any).await;
    assert_eq!((ips(&answer).len(), answer.incomplete), (1, true), "{answer:?}");
}

#[tokio::test]
async fn trouble_of_this_host_is_no_failure_of_the_name() {
    let (address, _) = server(www).await;
    let mut config = quick(&[address]);
    config.socket.source = Some("192.0.2.200".parse::<IpAddr>().unwrap());
    let answer = lookup(config, "four.example", Family::V4Only).await;
    let Some(ResolveError::Local(fault)) = &answer.error else { panic!("{answer:?}") };
    assert_eq!(fault.kind, LocalFaultKind::Address);
}

#[tokio::test]
async fn the_hosts_file_and_special_names_need_no_server() {
    let folder = netsonde_support::TempDir::new("stub");
    let path = folder.join("hosts");
    std::fs::write(&path, "192.0.2.7 db.internal db\n2001:db8::7 db.internal\n").unwrap();
    let (address, count) = server(www).await;
    let config = StubConfig { hosts_file: Some(path), ..quick(&[address]) };
    let resolver = StubResolver::new(config).unwrap();
    let answer = resolver.lookup(&"DB.internal.".parse().unwrap(), Family::V4Only).await;
    assert_eq!((ips(&answer), answer.source), (vec!["192.0.2.7".into()], ResolveSource::Hosts));
    let own = resolver.lookup(&"a.localhost".parse().unwrap(), Family::V6Only).await;
    assert_eq!((ips(&own), own.source), (vec!["::1".into()], ResolveSource::Local));
    let onion = resolver.lookup(&"x.onion".parse().unwrap(), Family::Any).await;
    assert_eq!(code(&onion), "resolve_no_such_name");
    let name = resolver.reverse("192.0.2.7".parse().unwrap()).await.unwrap();
    assert_eq!(name.as_deref(), Some("db.internal"));
    assert_eq!(count.load(Ordering::Relaxed), 0);
    let name = resolver.reverse("192.0.2.1".parse().unwrap()).await.unwrap();
    assert_eq!(name.as_deref(), Some("Host.example"));
    assert_eq!(resolver.reverse("192.0.2.2".parse().unwrap()).await.unwrap(), None);
    let missing = StubConfig { hosts_file: Some(folder.join("none")), ..quick(&[address]) };
    assert!(StubResolver::new(missing).unwrap_err().to_string().contains("hosts_file"));
}

#[tokio::test]
async fn nothing_is_kept_unless_asked_and_then_for_as_long_as_it_may() {
    let zone: Zone = |name, _| match name {
        "brief.example." => said(0x8180, &["brief.example. 1 IN A 192.0.2.1"]),
        _ => negative(3),
    };
    let (address, count) = server(zone).await;
    let asked = || count.load(Ordering::Relaxed);
    let brief = "brief.example".parse().unwrap();
    let plain = StubResolver::new(quick(&[address])).unwrap();
    for _ in 0..2 {
        plain.lookup(&brief, Family::V4Only).await;
    }
    assert_eq!(asked(), 2);

    let config = StubConfig { cache: Some(StubCache::default()), ..quick(&[address]) };
    let keeping = StubResolver::new(config).unwrap();
    let first = keeping.lookup(&brief, Family::V4Only).await;
    assert_eq!((asked(), first.source), (3, ResolveSource::Server));
    let second = keeping.lookup(&brief, Family::V4Only).await;
    if second.source == ResolveSource::Cache {
        assert_eq!((asked(), second.addresses[0].ttl_s), (3, Some(0)));
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(keeping.lookup(&brief, Family::V4Only).await.source, ResolveSource::Server);

    let before = asked();
    let gone = "gone.example".parse().unwrap();
    keeping.lookup(&gone, Family::V4Only).await;
    let kept = keeping.lookup(&gone, Family::V4Only).await;
    assert_eq!((asked(), kept.source), (before + 1, ResolveSource::Cache));
    assert!(kept.negative.unwrap().ttl_s.unwrap() <= 30);
    assert_eq!(code(&kept), "resolve_no_such_name");
}

#[tokio::test]
async fn a_stale_answer_is_given_when_no_server_has_another_and_says_so() {
    static ALIVE: AtomicUsize = AtomicUsize::new(1);
    let zone: Zone = |_, _| match ALIVE.load(Ordering::Relaxed) {
        1 => said(0x8180, &["old.example. 1 IN A 192.0.2.1"]),
        _ => said(0x8182, &[]),
    };
    let (address, _) = server(zone).await;
    let cache = StubCache { stale: Duration::from_secs(60), ..StubCache::default() };
    let config = StubConfig { cache: Some(cache), ..quick(&[address]) };
    let resolver = StubResolver::new(config).unwrap();
    let old = "old.example".parse().unwrap();
    resolver.lookup(&old, Family::V4Only).await;
    ALIVE.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let stale = resolver.lookup(&old, Family::V4Only).await;
    assert_eq!((ips(&stale).len(), stale.source), (1, ResolveSource::StaleCache), "{stale:?}");
    assert_eq!(stale.addresses[0].ttl_s, Some(0));
    assert_eq!(stale.attempts[0].rcode, Some(Rcode::SERVFAIL));
}

#[tokio::test]
async fn a_prober_resolves_through_it_and_shows_its_time() {
    let (_socket, dead) = silent();
    let (fine, _) = server(www).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let resolver = StubResolver::new(quick(&[dead, fine])).unwrap();
    let cx = ProbeContext::new().with_resolver(resolver);
    let mut config = TcpConfig::default();
    config.dialing.family = Family::V4Only;
    let target: Target = format!("www.example:{port}").parse().unwrap();
    let prober = TcpProber::new(config).unwrap();
    let result = prober.probe_with(&cx, &target).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert!(result.timing.phase(Phase::Resolve).unwrap() >= Duration::from_millis(300));
    let resolution = result.report.resolution.clone().unwrap();
    assert_eq!(resolution.ttl_s, Some(50));
    let detail = resolution.detail.unwrap();
    assert_eq!((detail.source, detail.server), (ResolveSource::Server, Some(fine)));
    assert_eq!((detail.canonical.as_deref(), detail.queries), (Some("web.example."), 2));
    let json = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<netsonde::ProbeResult<_>>(&json).unwrap(), result);

    let gone: Target = format!("gone.example:{port}").parse().unwrap();
    let result = prober.probe_with(&cx, &gone).await;
    assert_eq!(result.verdict.code(), Some("resolve_no_such_name"), "{result}");
}

fn sockets() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// In a process of its own: other tests open sockets at the same time.
#[test]
fn a_lookup_that_is_dropped_leaves_no_socket() {
    if std::env::var_os("STUB_ALONE").is_none() {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_lookup_that_is_dropped_leaves_no_socket"])
            .env("STUB_ALONE", "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_socket, dead) = silent();
        let config = StubConfig::asking([dead]);
        let resolver = StubResolver::new(config).unwrap();
        let before = sockets();
        let name = "four.example".parse().unwrap();
        let looking = resolver.lookup(&name, Family::Any);
        let mut looking = Box::pin(looking);
        let waited = tokio::time::timeout(Duration::from_millis(100), &mut looking).await;
        assert!(waited.is_err());
        assert_eq!(sockets(), before + 2);
        drop(looking);
        assert_eq!(sockets(), before);
    });
}

#[test]
fn a_resolv_conf_makes_a_resolver() {
    let text = "nameserver 192.0.2.1\nnameserver fe80::1%lo\nsearch a.example\n\
                options rotate timeout:2 attempts:3 ndots:2 edns0 trust-ad use-vc strange\n";
    let resolver = StubResolver::from_resolv_conf(text).unwrap();
    let config = resolver.config();
    assert_eq!(config.servers[0], "192.0.2.1:53".parse().unwrap());
    let SocketAddr::V6(scoped) = config.servers[1] else { panic!("{config:?}") };
    assert_ne!(scoped.scope_id(), 0);
    assert_eq!((config.ndots, config.attempts, config.timeout.as_secs()), (2, 3, 2));
    assert!(config.rotate && config.edns0 && config.trust_ad && config.use_vc);
    assert_eq!(resolver.warnings().len(), 1);
    let nowhere = StubResolver::from_resolv_conf("nameserver fe80::1%no-such-if\n");
    assert!(nowhere.unwrap_err().to_string().starts_with("nameserver:"));
    let default = StubResolver::from_resolv_conf("").unwrap();
    assert_eq!(default.config().servers, ["127.0.0.1:53".parse().unwrap()]);
    StubResolver::from_system().unwrap();
}

#[test]
fn a_configuration_round_trips_and_refuses_what_cannot_be() {
    let config = StubConfig { cache: Some(StubCache::default()), ..quick(&[silent().1]) };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<StubConfig>(&json).unwrap(), config);
    for (key, wrong) in [
        ("servers", StubConfig::default()),
        ("attempts", StubConfig { attempts: 0, ..config.clone() }),
        ("timeout", StubConfig { timeout: Duration::ZERO, ..config.clone() }),
        ("udp_payload", StubConfig { udp_payload: 100, ..config.clone() }),
        ("message_bytes", StubConfig { message_bytes: 0, ..config }),
    ] {
        let error = StubResolver::new(wrong).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}:")), "{error}");
    }
}
