//! Connecting: the rows of the fault list that loopback can make.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use check::{
    checked, code, connecting, free_ports, in_own_process, none_dialled, peer_end, saying,
    script_of, stuck, until, within_ms,
};
use netsonde::script::Step;
use netsonde::tcp::{SocketOptions, TcpConfig, TcpProber};
use netsonde::{
    AddressPolicy, BoxFuture, Dialing, Family, LocalFault, Name, OutboundPolicy, Phase,
    ProbeContext, Prober, Resolve, ResolveError, Resolved, StaticResolver, Target, TargetError,
    Verdict,
};
use netsonde_support::skip::require_ipv6;
use netsonde_support::{ClosedPort, FullBacklog, Script, Server};

const CONNECT: Option<Phase> = Some(Phase::Connect);
const RESOLVE: Option<Phase> = Some(Phase::Resolve);
const SETUP: Option<Phase> = Some(Phase::Setup);

fn with_socket(socket: SocketOptions) -> TcpProber {
    TcpProber::new(TcpConfig { socket, ..TcpConfig::default() }).unwrap()
}

fn dialling(dialing: Dialing) -> TcpProber {
    TcpProber::new(TcpConfig { dialing, ..TcpConfig::default() }).unwrap()
}

fn fault<R>(result: &netsonde::ProbeResult<R>) -> &LocalFault {
    let Verdict::Unknown(fault) = &result.verdict else { panic!("{:?}", result.verdict) };
    fault
}

fn named(name: &str, port: u16) -> Target {
    format!("{name}:{port}").parse().unwrap()
}

#[tokio::test]
async fn t1_accepting_server() {
    let server = Server::tcp(Script::new().hang());
    let result = checked(&connecting(), &within_ms(500), server.addr()).await;
    assert_eq!(code(&result), ("pass", None));
    let phases: Vec<Phase> = result.timing.spans.iter().map(|span| span.phase).collect();
    assert_eq!(phases, [Phase::Connect, Phase::Close]);
    let connection = result.report.connection.as_ref().unwrap();
    assert_eq!(connection.peer, server.addr());
    assert_eq!(connection.syn_retransmits, Some(0));
    let rtt = connection.rtt.unwrap();
    assert!(rtt.duration() <= result.timing.total(), "{rtt:?}");
    assert_eq!((peer_end(&result), result.quality.timer_lag_ns), (None, None));

    let Some(()) = require_ipv6() else { return };
    let server = Server::tcp6(Script::new().hang());
    let result = checked(&connecting(), &within_ms(500), server.addr()).await;
    assert_eq!(code(&result), ("pass", None));
}

#[tokio::test]
async fn t2_refused_by_loopback() {
    let closed = ClosedPort::v4();
    let result = checked(&connecting(), &within_ms(500), closed.addr()).await;
    assert_eq!(code(&result), ("refused", CONNECT));
    assert_eq!(result.attempts.len(), 1);
    assert_eq!(result.attempts[0].syn_retransmits, Some(0));
    assert!(result.timing.total() < Duration::from_millis(100), "no second try");
}

#[tokio::test]
async fn t12_listen_queue_full() {
    let full = FullBacklog::v4();
    let result = checked(&connecting(), &within_ms(150), full.addr()).await;
    assert_eq!(code(&result), ("timeout", CONNECT));
    assert_eq!(result.attempts[0].verdict.as_ref(), Some(&result.verdict));
    assert_eq!(result.attempts[0].syn_retransmits, Some(0));
    assert!(result.quality.timer_lag_ns.is_some());

    // The second SYN goes out after a second (RFC 6298, 2.1).
    let result = checked(&connecting(), &within_ms(1300), full.addr()).await;
    assert_eq!(code(&result), ("timeout", CONNECT));
    assert_eq!(result.attempts[0].syn_retransmits, Some(1));
}

#[tokio::test]
async fn t16_self_connect() {
    let port = free_ports(4);
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let source = Some(target.ip());
    let prober = with_socket(SocketOptions {
        source,
        source_ports: Some([port, port]),
        reset_on_close: true,
        ..SocketOptions::default()
    });
    let result = checked(&prober, &within_ms(500), target).await;
    assert_eq!(code(&result), ("self_connect", CONNECT));
    assert_eq!(result.report.connection, None);
}

#[tokio::test]
async fn t17_no_port_is_no_target() {
    for (text, error) in [
        ("127.0.0.1:0", TargetError::Port),
        ("127.0.0.1:65536", TargetError::Port),
        ("127.0.0.1:-1", TargetError::Port),
        ("127.0.0.1:", TargetError::Port),
        ("[::1]:0", TargetError::Port),
        ("name.test:65536", TargetError::Port),
    ] {
        assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        assert!(serde_json::from_value::<Target>(text.into()).is_err(), "{text}");
    }
    for config in [
        r#"{"dialing":{"connect_to":":0"}}"#,
        r#"{"dialing":{"connect_to":":65536"}}"#,
        r#"{"dialing":{"connect_to":"127.0.0.1:0"}}"#,
    ] {
        assert!(serde_json::from_str::<TcpConfig>(config).is_err(), "{config}");
    }
    // A port of zero that comes in as an address can only be wrong, and nothing is sent to it. It
    // has no text form that could be read back.
    let zero = Target::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let result = connecting().probe(&zero).await;
    assert_eq!(code(&result), ("unsupported_target", SETUP));
    assert_eq!(result.attempts, []);
    // A host is a fine target, but not of this prober.
    for text in ["127.0.0.1", "name.test", "unix:/run/x.sock"] {
        let target: Target = text.parse().unwrap();
        let result = checked(&connecting(), &within_ms(500), target).await;
        assert_eq!(code(&result), ("unsupported_target", SETUP), "{text}");
    }
}

#[tokio::test]
async fn t18_multicast_and_broadcast() {
    for text in ["224.0.0.1:9", "239.255.0.1:9", "255.255.255.255:9", "[ff02::1]:9"] {
        let target: Target = text.parse().unwrap();
        let result = checked(&connecting(), &within_ms(500), target.clone()).await;
        assert_eq!(code(&result), ("policy", SETUP), "{text}");
        assert!(none_dialled(&result), "{result}");

        let open = OutboundPolicy { allow_multicast: true, ..OutboundPolicy::default() };
        let result = checked(&connecting(), &within_ms(500).with_policy(open), target).await;
        assert_eq!(result.verdict.status(), "unknown", "{text}: {result}");
        assert!(fault(&result).code().starts_with("local_"), "{text}: {result}");
    }
}

#[tokio::test]
async fn t20_source_address_not_local() {
    let server = Server::tcp(Script::new().hang());
    let source = Some("192.0.2.1".parse().unwrap());
    let prober = with_socket(SocketOptions { source, ..SocketOptions::default() });
    let result = checked(&prober, &within_ms(500), server.addr()).await;
    assert_eq!(code(&result), ("local_address", SETUP));
    assert_eq!(fault(&result).errno, Some(libc::EADDRNOTAVAIL));
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn t21_port_range_used_up() {
    let server = Server::tcp(Script::new().pause(Duration::from_millis(400)).send("ok\n"));
    let low = free_ports(4);
    let config = TcpConfig {
        socket: SocketOptions {
            source_ports: Some([low, low + 3]),
            reset_on_close: true,
            ..SocketOptions::default()
        },
        script: netsonde::script::Script::new([Step::expect("^ok")]),
        ..TcpConfig::default()
    };
    let prober = Arc::new(TcpProber::new(config).unwrap());
    let target = server.addr();
    let four: Vec<_> = (0..4)
        .map(|_| {
            let prober = Arc::clone(&prober);
            tokio::spawn(async move { checked(&*prober, &within_ms(2000), target).await })
        })
        .collect();
    until("four connections", || server.count() == 4).await;
    let fifth = checked(&*prober, &within_ms(2000), target).await;
    assert_eq!(fifth.verdict.code(), Some("local_address"));
    assert_eq!(fault(&fifth).errno, Some(libc::EADDRNOTAVAIL));
    let mut ports = Vec::new();
    for probe in four {
        let result = probe.await.unwrap();
        assert_eq!(code(&result), ("pass", None));
        ports.push(result.report.connection.unwrap().local.port());
    }
    ports.sort_unstable();
    assert_eq!(ports, [low, low + 1, low + 2, low + 3]);
    assert_eq!(server.count(), 4);
}

#[test]
fn t22_descriptor_limit() {
    if !in_own_process("t22_descriptor_limit", "ulimit -n 64 &&") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::tcp(Script::new().hang());
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
            assert!(hoard.len() < 64);
        }
        let result = checked(&connecting(), &within_ms(500), server.addr()).await;
        assert_eq!(code(&result), ("local_descriptors", SETUP));
        assert_eq!(fault(&result).errno, Some(libc::EMFILE));
        assert_eq!(server.count(), 0);
        drop(hoard);
        let result = checked(&connecting(), &within_ms(500), server.addr()).await;
        assert_eq!(code(&result), ("pass", None));
    });
}

/// A port that refuses on `::1` and does not answer on 127.0.0.1.
fn refusing_and_silent() -> (ClosedPort, FullBacklog) {
    let silent = FullBacklog::v4();
    (ClosedPort::on((Ipv6Addr::LOCALHOST, silent.addr().port()).into()), silent)
}

#[tokio::test]
async fn t26_both_families_fail_differently() {
    let Some(()) = require_ipv6() else { return };
    let (closed, silent) = refusing_and_silent();
    let both = [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
    let resolver = StaticResolver::new().with("both.test", both).unwrap();
    let cx = within_ms(300).with_resolver(resolver);
    let target = named("both.test", silent.addr().port());
    for addresses in [AddressPolicy::HappyEyeballs, AddressPolicy::Any, AddressPolicy::All] {
        let prober = dialling(Dialing { addresses, ..Dialing::default() });
        let result = checked(&prober, &cx, target.clone()).await;
        let tried: Vec<_> = result
            .attempts
            .iter()
            .map(|attempt| {
                let verdict = attempt.verdict.as_ref().unwrap();
                (attempt.address.clone(), verdict.code().unwrap(), verdict.phase())
            })
            .collect();
        let refused = (Target::from(closed.addr()), "refused", CONNECT);
        let timeout = (Target::from(silent.addr()), "timeout", CONNECT);
        assert_eq!(tried, [refused, timeout], "{addresses:?}");
        assert_eq!(result.verdict.status(), "fail");
        assert!(result.attempts[1].duration() > result.attempts[0].duration());
        let text = result.to_string();
        assert!(text.contains("refused") && text.contains("timeout"), "{text}");
    }
}

#[tokio::test]
async fn an_address_of_another_family_is_no_address() {
    let server = Server::tcp(Script::new().hang());
    for (family, target) in
        [(Family::V6Only, server.addr().into()), (Family::V4Only, named("[::1]", server.port()))]
    {
        let prober = dialling(Dialing { family, ..Dialing::default() });
        let result = checked(&prober, &within_ms(500), target).await;
        assert_eq!(code(&result), ("resolve_no_address", RESOLVE));
        assert_eq!((result.attempts.len(), server.count()), (0, 0));
    }
}

/// Never answers; notes when it is given up.
#[derive(Debug, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
    given_up: Arc<AtomicUsize>,
}

impl Resolve for Slow {
    fn resolve<'a>(
        &'a self,
        _name: &'a Name,
        _family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        struct Note<'a>(&'a AtomicUsize);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _note = Note(&self.given_up);
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn t28_slow_resolver_eats_the_deadline() {
    let (asked, given_up) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let slow = Slow { asked: Arc::clone(&asked), given_up: Arc::clone(&given_up) };
    let cx = within_ms(100).with_resolver(slow);
    let result = checked(&connecting(), &cx, named("slow.test", 80)).await;
    assert_eq!(code(&result), ("timeout", RESOLVE));
    assert!(result.quality.timer_lag_ns.is_some());
    assert_eq!((result.report.resolution.as_ref(), result.attempts.len()), (None, 0));
    let counts = (asked.load(Ordering::SeqCst), given_up.load(Ordering::SeqCst));
    assert_eq!(counts, (1, 1), "asked once, and dropped at the deadline");
}

/// Says another address each time that it is asked.
#[derive(Debug)]
struct Rebinding {
    answers: [Vec<IpAddr>; 2],
    asked: Arc<AtomicUsize>,
}

impl Resolve for Rebinding {
    fn resolve<'a>(
        &'a self,
        _name: &'a Name,
        _family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[turn.min(1)].iter().map(|ip| (*ip, 0).into()).collect();
        Box::pin(std::future::ready(Ok(Resolved::new(answer))))
    }
}

#[tokio::test]
async fn t29_rebinding() {
    let good = Server::tcp(Script::new().send("good\n"));
    let port = good.port();
    let bad_ip = IpAddr::from([127, 0, 0, 2]);
    let bad = Server::builder().address((bad_ip, port)).script(Script::new().send("bad\n")).tcp();
    let policy =
        OutboundPolicy { deny: vec!["127.0.0.2/32".parse().unwrap()], ..Default::default() };
    let cx = |answers| {
        let asked = Arc::<AtomicUsize>::default();
        let resolver = Rebinding { answers, asked: Arc::clone(&asked) };
        (within_ms(1000).with_policy(policy.clone()).with_resolver(resolver), asked)
    };
    let prober = saying([Step::expect("^good$")]);

    // Allowed when it is checked, denied when it would be asked for again.
    let (context, asked) = cx([vec![good.ip()], vec![bad_ip]]);
    let result = checked(&prober, &context, named("rebinding.test", port)).await;
    assert_eq!(code(&result), ("pass", None));
    assert_eq!(script_of(&result).steps[0].matched.as_deref(), Some("good"));
    assert_eq!(result.report.connection.as_ref().unwrap().peer, good.addr());
    assert_eq!((asked.load(Ordering::SeqCst), good.count(), bad.count()), (1, 1, 0));

    // The other way round, nobody is asked until the answer pleases.
    let (context, asked) = cx([vec![bad_ip], vec![good.ip()]]);
    let result = checked(&prober, &context, named("rebinding.test", port)).await;
    assert_eq!(code(&result), ("policy", SETUP));
    assert_eq!((asked.load(Ordering::SeqCst), good.count(), bad.count()), (1, 1, 0));

    // Of a mixed answer only what is allowed is dialled.
    for addresses in [AddressPolicy::HappyEyeballs, AddressPolicy::Any, AddressPolicy::All] {
        let (context, _) = cx([vec![bad_ip, good.ip()], vec![]]);
        let config = TcpConfig {
            dialing: Dialing { addresses, ..Dialing::default() },
            script: netsonde::script::Script::new([Step::expect("^good$")]),
            ..TcpConfig::default()
        };
        let prober = TcpProber::new(config).unwrap();
        let result = checked(&prober, &context, named("rebinding.test", port)).await;
        assert_eq!(code(&result), ("pass", None), "{addresses:?}");
        assert_eq!((result.attempts.len(), bad.count()), (1, 0), "{addresses:?}");
        let refused: Vec<_> = result.report.refused.iter().map(|one| one.address).collect();
        assert_eq!(refused, [bad.addr()], "{addresses:?}");
    }
}

#[tokio::test]
async fn t30_denied_ranges() {
    let server = Server::tcp(Script::new().hang());
    let cx = || within_ms(500).with_policy(OutboundPolicy::guarded());
    let port = server.port();
    for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "169.254.169.254", "[::1]", "[fe80::1]"] {
        let result = checked(&connecting(), &cx(), named(host, port)).await;
        assert_eq!(code(&result), ("policy", SETUP), "{host}");
        assert!(none_dialled(&result) && result.report.connection.is_none(), "{result}");
    }
    // By a name, and by "where to connect".
    let resolver = StaticResolver::new().with("meta.test", [server.ip()]).unwrap();
    let result =
        checked(&connecting(), &cx().with_resolver(resolver), named("meta.test", port)).await;
    assert_eq!(code(&result), ("policy", SETUP));
    let connect_to = Some(server.addr().to_string().parse().unwrap());
    let prober = dialling(Dialing { connect_to, ..Dialing::default() });
    let result = checked(&prober, &cx(), named("192.0.2.1", 80)).await;
    assert_eq!(code(&result), ("policy", SETUP));
    assert_eq!(server.count(), 0, "nothing was sent");
}

#[tokio::test]
async fn t32_denied_addresses_in_other_spellings() {
    let server = Server::tcp(Script::new().hang());
    let port = server.port();
    let cx = || within_ms(500).with_policy(OutboundPolicy::guarded());
    for host in [
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::169.254.169.254]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[2001:0:7f00:1::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
    ] {
        let result = checked(&connecting(), &cx(), named(host, port)).await;
        assert_eq!(code(&result), ("policy", SETUP), "{host}");
        assert!(none_dialled(&result), "{result}");
    }
    // The same out of a resolver.
    for address in ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
        let resolver = StaticResolver::new().with("x.test", [address.parse().unwrap()]).unwrap();
        let cx = cx().with_resolver(resolver);
        let result = checked(&connecting(), &cx, named("x.test", port)).await;
        assert_eq!(code(&result), ("policy", SETUP), "{address}");
    }
    assert_eq!(server.count(), 0, "nothing was sent");
    // What is not denied may be spelled as it likes.
    let result =
        checked(&connecting(), &ProbeContext::new(), named("[::ffff:127.0.0.1]", port)).await;
    assert_eq!(stuck(&result), ("pass", None, None));
}
