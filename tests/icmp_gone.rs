//! What is taken away under probes that wait: interfaces, addresses, the way there. Each probe ends, others
//! go on, and waiting costs no processor time.
#![cfg(all(feature = "icmp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::{Duration, Instant};

use netsonde::icmp::{
    EchoFate, EchoOptions, EngineConfig, IcmpConfig, IcmpEngine, IcmpProber, IcmpReport,
    SocketChoice,
};
use netsonde::{ProbeResult, Prober, Target};
use netsonde_support::rights::thread_time;
use netsonde_support::{Lab, Namespace};
use tokio::time::sleep;

/// A client with two neighbours: one that never answers and one that does.
struct Two {
    here: Namespace,
    silent: Namespace,
    _lab: Lab,
}

const SILENT: [&str; 2] = ["10.9.0.2", "fd09::2"];
const GOOD: [&str; 2] = ["10.8.0.2", "fd08::2"];

fn two(word: &str) -> Option<Two> {
    let lab = Lab::new(word)?;
    let (here, silent, good) = (lab.namespace("a"), lab.namespace("b"), lab.namespace("c"));
    for (there, net) in [(&silent, 9), (&good, 8)] {
        let ends = (format!("10.{net}.0.1/24"), format!("10.{net}.0.2/24"));
        let (near, far) = lab.link((&here, &ends.0), (there, &ends.1));
        near.address(&format!("fd0{net}::1/64"));
        far.address(&format!("fd0{net}::2/64"));
    }
    // What it refuses it refuses without rationing (see `Namespace::forward`).
    silent.forward();
    silent.sysctl("ipv4/icmp_echo_ignore_all", "1");
    silent.sysctl("ipv6/icmp/echo_ignore_all", "1");
    here.sysctl("ipv4/ping_group_range", "0 2147483647");
    Some(Two { here, silent, _lab: lab })
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

const WAIT: Duration = Duration::from_millis(1200);

/// A train that is under way for half a second and waits for its last answer until 1.7 s.
fn train(echo: EchoOptions) -> IcmpConfig {
    let interval = Duration::from_millis(50);
    IcmpConfig { count: 11, interval, reply_timeout: WAIT, echo, ..IcmpConfig::default() }
}

/// Probes the silent neighbour, has something happen to it after a quarter of a second, and probes the
/// good one all the while. Returns what became of the first.
fn take_away(
    two: &Two,
    (socket, place): (SocketChoice, usize),
    echo: EchoOptions,
    happen: impl FnOnce(&Namespace) + Send,
) -> ProbeResult<IcmpReport> {
    let here = &two.here;
    here.block_on(async || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() }).unwrap();
        let prober = IcmpProber::new(&engine, train(echo)).unwrap();
        let single = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
        let (silent, good) = (target(SILENT[place]), target(GOOD[place]));
        let start = Instant::now();
        let others = async {
            assert!(single.probe(&good).await.verdict.is_pass());
            sleep(Duration::from_millis(250)).await;
            happen(here);
            for _ in 0..10 {
                let result = single.probe(&good).await;
                assert!(result.verdict.is_pass(), "{socket:?}: {result}");
            }
            sleep(Duration::from_millis(500)).await;
            // From here on there is only the wait for answers that do not come.
            let before = (thread_time(), start.elapsed());
            sleep(Duration::from_millis(500)).await;
            let spent = thread_time() - before.0;
            assert!(spent < Duration::from_millis(100), "{spent:?} from {:?} on", before.1);
        };
        let (result, ()) = tokio::join!(prober.probe(&silent), others);
        assert!(start.elapsed() < WAIT + Duration::from_secs(3), "{result}");
        assert_eq!(engine.stats().waiting, 0, "{result}");
        result
    })
}

/// The fates as words, in the order of the packets, each run of equal ones once.
fn runs(result: &ProbeResult<IcmpReport>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for packet in &result.report.packets {
        let word = match &packet.fate {
            EchoFate::NotSent { errno, .. } => format!("not_sent {errno}"),
            other => other.as_str().to_owned(),
        };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
    words
}

fn sockets() -> impl Iterator<Item = (SocketChoice, usize)> {
    [SocketChoice::Raw, SocketChoice::Datagram]
        .into_iter()
        .flat_map(|socket| [(socket, 0), (socket, 1)])
}

#[test]
fn i121_an_interface_that_goes_away_ends_its_probes_and_no_others() {
    for kind in sockets() {
        let Some(two) = two("gone") else { return };
        let result =
            take_away(&two, kind, EchoOptions::default(), |here| drop(here.ip("link delete to-b")));
        println!("{kind:?}: {:?}\n{result}", runs(&result));
        // What had left is lost, what came behind has no route any more.
        assert_eq!(result.verdict.code(), Some("timeout"), "{kind:?}: {result}");
        let wanted = ["lost".to_owned(), format!("not_sent {}", libc::ENETUNREACH)];
        assert_eq!(runs(&result), wanted, "{kind:?}: {result}");
    }
}

#[test]
fn i121_an_interface_that_was_asked_for_by_name_and_goes_away_is_local() {
    for kind in sockets() {
        let Some(two) = two("named") else { return };
        let echo = EchoOptions { interface: Some("to-b".into()), ..EchoOptions::default() };
        let result = take_away(&two, kind, echo, |here| drop(here.ip("link delete to-b")));
        let [lost, unsent] = &runs(&result)[..] else { panic!("{kind:?}: {result}") };
        let local = [libc::ENODEV, libc::ENXIO].map(|errno| format!("not_sent {errno}"));
        assert!(lost == "lost" && local.contains(unsent), "{kind:?}: {unsent} {result}");
    }
}

#[test]
fn a_link_that_is_down_costs_no_processor_time() {
    for kind in sockets() {
        let Some(two) = two("down") else { return };
        let down = |here: &Namespace| drop(here.ip("link set to-b down"));
        let result = take_away(&two, kind, EchoOptions::default(), down);
        assert_eq!(runs(&result).first().map(String::as_str), Some("lost"), "{kind:?}: {result}");
        assert!(runs(&result).len() == 2 && runs(&result)[1].starts_with("not_sent"), "{result}");
    }
}

#[test]
fn i122_an_address_that_goes_away_ends_in_a_timeout() {
    for kind in sockets() {
        let Some(two) = two("address") else { return };
        let result = take_away(&two, kind, EchoOptions::default(), |here| {
            let family = ["10.9.0.1/24", "fd09::1/64"][kind.1];
            here.ip(&format!("address delete {family} dev to-b"));
        });
        println!("{kind:?}: {:?}", runs(&result));
        assert_eq!(result.verdict.code(), Some("timeout"), "{kind:?}: {result}");
        assert_eq!(runs(&result).first().map(String::as_str), Some("lost"), "{kind:?}: {result}");
    }
}

#[test]
fn a_source_that_goes_away_is_local_for_what_comes_behind() {
    for kind in sockets() {
        let Some(two) = two("source") else { return };
        let source = ["10.9.0.1", "fd09::1"][kind.1];
        let echo = EchoOptions { source: source.parse().ok(), ..EchoOptions::default() };
        let result = take_away(&two, kind, echo, |here| {
            let prefix = if kind.1 == 0 { 24 } else { 64 };
            here.ip(&format!("address delete {source}/{prefix} dev to-b"));
        });
        let runs = runs(&result);
        println!("{kind:?}: {runs:?}");
        assert!(runs.len() == 2 && runs[0] == "lost", "{kind:?}: {result}");
        assert!(runs[1].starts_with("not_sent"), "{kind:?}: {result}");
    }
}

#[test]
fn an_error_that_the_socket_keeps_costs_no_processor_time_and_harms_no_other() {
    for kind in sockets() {
        let Some(two) = two("error") else { return };
        // The silent neighbour refuses from now on, and tells so for every packet.
        let silent = &two.silent;
        let result = take_away(&two, kind, EchoOptions::default(), |_| {
            silent.nft(
                "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
                 add rule inet t i icmp type echo-request reject with icmp type host-prohibited; \
                 add rule inet t i icmpv6 type echo-request reject with icmpv6 type admin-prohibited",
            );
        });
        let runs = runs(&result);
        println!("{kind:?}: {runs:?}");
        assert_eq!(runs, ["lost", "refused"], "{kind:?}: {result}");
    }
}

#[test]
fn i117_a_send_that_would_block_waits_and_its_lateness_is_on_record() {
    for socket in [SocketChoice::Raw, SocketChoice::Datagram] {
        let Some(lab) = Lab::new("block") else { return };
        let (here, there) = (lab.namespace("a"), lab.namespace("b"));
        let (_, far) = lab.link((&here, "10.7.0.1/24"), (&there, "10.7.0.2/24"));
        here.sysctl("ipv4/ping_group_range", "0 2147483647");
        // Nobody says who has the address, and what is sent there waits in a queue with room enough: the
        // memory of the socket is used up first.
        there.sysctl("ipv4/conf/to-a/arp_ignore", "8");
        here.sysctl("ipv4/neigh/to-b/unres_qlen_bytes", "10000000");
        const COUNT: u32 = 400;
        let result = here.block_on(async || {
            let config = EngineConfig { socket, ..EngineConfig::default() };
            let engine = IcmpEngine::new(config).unwrap();
            let config = IcmpConfig {
                count: COUNT,
                interval: Duration::from_micros(100),
                reply_timeout: Duration::from_secs(2),
                echo: EchoOptions { size: 1400, ..EchoOptions::default() },
                ..IcmpConfig::default()
            };
            let prober = IcmpProber::new(&engine, config).unwrap();
            let to = target("10.7.0.2");
            let told = async {
                sleep(Duration::from_millis(500)).await;
                let cost = thread_time();
                sleep(Duration::from_millis(200)).await;
                let cost = thread_time() - cost;
                assert!(cost < Duration::from_millis(60), "{cost:?} for waiting");
                let told = format!("lladdr {} dev to-b nud permanent", far.mac_text());
                here.ip(&format!("neighbour replace 10.7.0.2 {told}"));
            };
            tokio::join!(prober.probe(&to), told).0
        });
        let stats = result.report.stats.as_ref().unwrap();
        if socket == SocketChoice::Raw {
            // Linux has a raw socket not wait: it says that there are no buffers (`__ip_append_data`). Such
            // packets have not left, and nobody else is blamed.
            assert_eq!((stats.received, stats.lost), (stats.sent, 0), "{result}");
            let unsent = format!("not_sent {}", libc::ENOBUFS);
            assert!(runs(&result).iter().all(|run| *run == "answered" || *run == unsent));
            assert!(runs(&result).contains(&unsent), "{result}");
            continue;
        }
        assert_eq!(
            (stats.sent, stats.received),
            (COUNT.into(), COUNT.into()),
            "{socket:?}: {result}"
        );
        let slips = result.report.packets.iter();
        let slips: Vec<u64> = slips.map(|p| p.sent_ns.unwrap() - p.planned_ns).collect();
        let late: Vec<u64> = slips.iter().copied().filter(|slip| *slip > 100_000_000).collect();
        println!("{} waited: {:?}", late.len(), late.last());
        // Those that were made before it was known that nothing leaves, and the next one, for which there
        // was no room; the plan starts anew behind them.
        assert!((1..=65).contains(&late.len()), "{late:?}");
        assert!(late.iter().all(|slip| *slip > 600_000_000), "{late:?}");
        assert!(slips[0] < 100_000_000 && slips[slips.len() - 1] < 100_000_000, "{slips:?}");
        // The time of one that waited is that of the way alone.
        let waited = slips.iter().position(|slip| *slip > 100_000_000).unwrap();
        let rtt = result.report.packets[waited].fate.answer().unwrap().rtt.ns;
        assert!(rtt < 100_000_000, "{rtt}");
    }
}
