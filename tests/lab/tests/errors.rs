//! Errors that come back for echo requests, over raw and over datagram sockets: each names its kind, its
//! code and its sender, and what it says beside that.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::IpAddr;
use std::time::Duration;

use netsonde::FailureKind as Kind;
use netsonde::Prober;
use netsonde::icmp::{
    EchoFate, EngineConfig, EngineStats, IcmpConfig, IcmpEngine, IcmpProber, IcmpReport,
    Implausible, SocketChoice,
};
use netsonde_lab::responder::{IcmpError, Request};
use netsonde_lab::{Net, Responder, Topology};

/// What the other side says to a request, and what is to be made of it.
struct Case {
    says: fn(&Request<'_>) -> IcmpError,
    kind: Kind,
    numbers: (u8, u8),
    mtu: Option<u32>,
    implausible: Option<Implausible>,
    pointer: Option<u32>,
    /// Whether Linux keeps it from datagram sockets.
    raw_alone: bool,
}

fn case(says: fn(&Request<'_>) -> IcmpError, kind: Kind, numbers: (u8, u8)) -> Case {
    Case { says, kind, numbers, mtu: None, implausible: None, pointer: None, raw_alone: false }
}

fn mtu(says: fn(&Request<'_>) -> IcmpError, mtu: u32, implausible: Option<Implausible>) -> Case {
    let mtu = Some(mtu).filter(|mtu| *mtu > 0);
    Case { mtu, implausible, ..case(says, Kind::FragmentationNeeded, (0, 0)) }
}

const ROUTER: [&str; 2] = ["203.0.113.9", "2001:db8::9"];

/// Sends a request for each case, two of them side by side with one that is answered, and returns the
/// report and what the engine has counted.
fn run(
    word: &str,
    (socket, place): (SocketChoice, usize),
    says: Vec<fn(&Request<'_>) -> IcmpError>,
) -> Option<(IcmpReport, EngineStats)> {
    let topology = Topology { ping_groups: Some((0, 2_147_483_647)), ..Topology::stub() };
    let net = Net::build(word, &topology)?;
    let count = says.len();
    let router: IpAddr = ROUTER[place].parse().unwrap();
    let responder = Responder::start(&net.far, move |request| {
        let says = usize::try_from(request.number).ok().and_then(|number| says.get(number));
        match says {
            Some(says) => says(request).from(router).answers(),
            None => request.reply().answers(),
        }
    });
    let target = net.target[place].to_string().parse().unwrap();
    let got = net.client.block_on(async || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() }).unwrap();
        let config = IcmpConfig {
            count: u32::try_from(count + 1).unwrap(),
            interval: Duration::from_millis(20),
            reply_timeout: Duration::from_millis(700),
            ..IcmpConfig::default()
        };
        let result = IcmpProber::new(&engine, config).unwrap().probe(&target).await;
        assert!(result.verdict.is_pass(), "the last one is answered: {result}");
        (result.report, engine.stats())
    });
    drop(responder);
    Some(got)
}

const SOCKETS: [SocketChoice; 2] = [SocketChoice::Raw, SocketChoice::Datagram];

fn check(word: &str, place: usize, cases: &[Case]) {
    for socket in SOCKETS {
        let says = cases.iter().map(|case| case.says).collect();
        let Some((report, stats)) = run(word, (socket, place), says) else { return };
        let from: Option<IpAddr> = ROUTER[place].parse().ok();
        for (case, packet) in cases.iter().zip(&report.packets) {
            if case.raw_alone && socket == SocketChoice::Datagram {
                assert_eq!(packet.fate, EchoFate::Lost, "{packet:?}");
                continue;
            }
            let EchoFate::Refused(error) = &packet.fate else {
                panic!("{socket:?}: {packet:?} {stats:?}")
            };
            assert_eq!((error.failure, error.from), (case.kind, from), "{socket:?}: {error:?}");
            if case.numbers != (0, 0) {
                assert_eq!((error.icmp_type, error.code), case.numbers, "{socket:?}");
            }
            assert_eq!(
                (error.mtu, error.mtu_implausible, error.pointer),
                (case.mtu, case.implausible, case.pointer),
                "{socket:?}: {error:?}"
            );
            assert!(error.rtt.is_some() && !error.weak_match, "{socket:?}: {error:?}");
        }
        assert!(matches!(report.packets.last().unwrap().fate, EchoFate::Answered(_)));
    }
}

#[test]
fn i52_i53_i57_i58_i62_i65_i66_i98_every_error_of_ipv4_says_all_it_has_to_say() {
    let cases = [
        case(|request| request.error(3, 2), Kind::ProtocolUnreachable, (3, 2)),
        case(|request| request.error(3, 3), Kind::PortUnreachable, (3, 3)),
        mtu(|request| request.error(3, 4), 0, None),
        mtu(|request| request.error(3, 4).mtu(1), 1, Some(Implausible::TooSmall)),
        mtu(|request| request.error(3, 4).mtu(65_535), 65_535, Some(Implausible::NotSmaller)),
        mtu(|request| request.error(3, 4).mtu(80), 80, None),
        case(|request| request.error(3, 14), Kind::Unreachable, (3, 14)),
        case(|request| request.error(3, 15), Kind::Unreachable, (3, 15)),
        case(|request| request.error(11, 0), Kind::TtlExceeded, (11, 0)),
        Case {
            raw_alone: true,
            ..case(|request| request.error(11, 1), Kind::TtlExceeded, (11, 1))
        },
        Case {
            pointer: Some(20),
            ..case(|request| request.error(12, 0).pointer(20), Kind::Unreachable, (12, 0))
        },
    ];
    check("four", 0, &cases);
}

#[test]
fn i54_i69_i70_i98_every_error_of_ipv6_says_all_it_has_to_say() {
    let not_smaller = Some(Implausible::NotSmaller);
    let cases = [
        case(|request| request.error(1, 0), Kind::NetUnreachable, (1, 0)),
        case(|request| request.error(1, 1), Kind::Filtered, (1, 1)),
        case(|request| request.error(1, 2), Kind::Unreachable, (1, 2)),
        case(|request| request.error(1, 3), Kind::HostUnreachable, (1, 3)),
        case(|request| request.error(1, 4), Kind::PortUnreachable, (1, 4)),
        case(|request| request.error(1, 5), Kind::Prohibited, (1, 5)),
        case(|request| request.error(1, 6), Kind::Prohibited, (1, 6)),
        case(|request| request.error(1, 7), Kind::Unreachable, (1, 7)),
        // It has 104 bytes, and none of these would keep it from passing.
        mtu(|request| request.error(2, 0).mtu(1280), 1280, not_smaller),
        mtu(|request| request.error(2, 0).mtu(1279), 1279, Some(Implausible::TooSmall)),
        Case { mtu: Some(0), ..mtu(|request| request.error(2, 0), 0, Some(Implausible::TooSmall)) },
        case(|request| request.error(3, 0), Kind::TtlExceeded, (3, 0)),
        case(|request| request.error(3, 1), Kind::TtlExceeded, (3, 1)),
        Case {
            pointer: Some(6),
            ..case(|request| request.error(4, 1).pointer(6), Kind::Unreachable, (4, 1))
        },
    ];
    check("six", 1, &cases);
}

#[test]
fn i68_redirects_are_counted_and_change_nothing() {
    for socket in SOCKETS {
        let says: Vec<fn(&Request<'_>) -> IcmpError> =
            vec![|request| request.error(5, 0), |request| request.error(5, 1)];
        let Some((report, stats)) = run("redirect", (socket, 0), says) else { return };
        let fates: Vec<&str> = report.packets.iter().map(|packet| packet.fate.as_str()).collect();
        assert_eq!(fates, ["lost", "lost", "answered"], "{socket:?}");
        assert_eq!(stats.strays.advice, 2, "{socket:?}: {stats:?}");
    }
}

#[test]
fn i81_i82_what_quotes_something_else_is_nobodys() {
    let says: Vec<fn(&Request<'_>) -> IcmpError> = vec![
        |request| {
            // As if it had been a reply that was refused.
            let mut error = request.error(3, 1);
            let header = if request.echo.ip.source.is_ipv4() { 20 } else { 40 };
            error.quote[header] = if header == 20 { 0 } else { 129 };
            error
        },
        |request| {
            // As if it had been UDP.
            let mut error = request.error(3, 1);
            let at = if request.echo.ip.source.is_ipv4() { 9 } else { 6 };
            error.quote[at] = 17;
            error
        },
    ];
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some((report, _)) = run("quotes", (socket, place), says.clone()) else { return };
            let fates: Vec<&str> =
                report.packets.iter().map(|packet| packet.fate.as_str()).collect();
            assert_eq!(fates, ["lost", "lost", "answered"], "{socket:?} {place}");
        }
    }
}
