//! Replies that are not what they seem, broadcasts, errors with broken extensions, and routers that ration
//! their errors: what the prober makes of the packets themselves, over raw and over datagram sockets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netsonde::icmp::{
    EchoFate, EchoOptions, EngineConfig, EngineStats, IcmpConfig, IcmpEngine, IcmpProber,
    IcmpReport, SocketChoice,
};
use netsonde::{ProbeResult, Prober};
use netsonde_lab::responder::{Answer, Broken, Request, mpls};
use netsonde_lab::{Net, Responder, Topology};

const SOCKETS: [SocketChoice; 2] = [SocketChoice::Raw, SocketChoice::Datagram];

fn stub(word: &str) -> Option<Net> {
    Net::build(word, &Topology { ping_groups: Some((0, 2_147_483_647)), ..Topology::stub() })
}

fn probe(
    net: &Net,
    socket: SocketChoice,
    target: IpAddr,
    config: IcmpConfig,
) -> (ProbeResult<IcmpReport>, EngineStats) {
    net.client.block_on(async || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() }).unwrap();
        let prober = IcmpProber::new(&engine, config).unwrap();
        let result = prober.probe(&target.to_string().parse().unwrap()).await;
        (result, engine.stats())
    })
}

fn train(count: u32) -> IcmpConfig {
    IcmpConfig {
        count,
        interval: Duration::from_millis(10),
        reply_timeout: Duration::from_millis(400),
        ..IcmpConfig::default()
    }
}

fn fates(result: &ProbeResult<IcmpReport>) -> Vec<&'static str> {
    result.report.packets.iter().map(|packet| packet.fate.as_str()).collect()
}

fn answers(request: &Request<'_>) -> Vec<Answer> {
    let reply = request.reply();
    let other: IpAddr = match reply.source {
        IpAddr::V4(_) => [203, 0, 113, 7].into(),
        IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(),
    };
    let length = reply.payload.len();
    match request.number {
        // From another address.
        0 => reply.from(other).answers(),
        // One bit of the cookie, near its beginning and at its end.
        1 => reply.flip(0).answers(),
        2 => reply.flip(127).answers(),
        // Cut to nothing, cut within the cookie, and with a tail.
        3 => reply.payload_length(0).answers(),
        4 => reply.payload_length(12).answers(),
        5 => reply.payload_length(length + 1).answers(),
        6 => reply.payload_length(length + 300).answers(),
        _ => reply.answers(),
    }
}

#[test]
fn i2_i5_i6_i8_what_is_not_the_answer_is_passed_over_and_counted() {
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("forged") else { return };
            let responder = Responder::start(&net.far, answers);
            let (result, stats) = probe(&net, socket, net.target[place], train(8));
            drop(responder);
            let mut wanted = vec!["lost"; 7];
            wanted.push("answered");
            assert_eq!(fates(&result), wanted, "{socket:?} {place}: {result} {stats:?}");
            let strays = &stats.strays;
            assert_eq!(
                (strays.wrong_source, strays.bad_cookie, strays.short, strays.payload),
                (1, 2, 2, 2),
                "{socket:?} {place}: {strays:?}"
            );
            assert_eq!(strays.total(), 7, "{strays:?}");
            // What posed as the answer to one of these packets, and was none.
            assert!(result.report.forgery_suspects >= 2, "{socket:?} {place}: {result}");
        }
    }
}

#[test]
fn i22_a_broadcast_needs_to_be_asked_for_and_lists_64_hosts_at_most() {
    for socket in SOCKETS {
        let Some(net) = stub("broadcast") else { return };
        let responder = Responder::start(&net.far, |request| {
            let hosts = (0..70_u8).map(|host| IpAddr::from([10, 80, 0, 10 + host]));
            hosts.flat_map(|host| request.reply().from(host).answers()).collect()
        });
        let target = IpAddr::from([10, 80, 0, 255]);
        let (refused, _) = probe(&net, socket, target, train(1));
        assert_eq!(refused.verdict.code(), Some("policy"), "{socket:?}: {refused}");
        assert_eq!(responder.packets_seen(), 0, "{socket:?}: nothing left");

        let echo = EchoOptions { broadcast: true, ..EchoOptions::default() };
        let linger = Duration::from_millis(300);
        let (result, _) = probe(&net, socket, target, IcmpConfig { echo, linger, ..train(1) });
        drop(responder);
        assert!(result.verdict.is_pass(), "{socket:?}: {result}");
        let report = &result.report;
        assert_eq!((report.responders.len(), report.responders_left_out), (64, 6), "{result}");
        let first = report.packets[0].fate.answer().unwrap();
        assert_eq!(first.from, IpAddr::V4(Ipv4Addr::new(10, 80, 0, 10)), "{result}");
        assert_eq!(report.packets[0].duplicates, 69, "{socket:?}: {result}");
    }
}

#[test]
fn i86_i88_i89_i90_i92_an_error_with_broken_extensions_is_the_error_alone() {
    const BROKEN: [Broken; 10] = [
        Broken::No,
        Broken::LengthZero,
        Broken::LengthBeyond,
        Broken::Version,
        Broken::Checksum,
        Broken::ObjectZero,
        Broken::ObjectShort,
        Broken::ObjectOdd,
        Broken::ObjectBeyond,
        Broken::Cut,
    ];
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("broken") else { return };
            let responder = Responder::start(&net.far, |request| {
                let v4 = request.echo.ip.source.is_ipv4();
                let (kind, code) = if v4 { (11, 0) } else { (3, 0) };
                let mut error = request.error(kind, code);
                error.objects = vec![mpls(1000, 0, 1)];
                error.broken = BROKEN[usize::try_from(request.number).unwrap() % BROKEN.len()];
                error.answers()
            });
            let count = u32::try_from(BROKEN.len()).unwrap();
            let (result, stats) = probe(&net, socket, net.target[place], train(count));
            drop(responder);
            for (broken, packet) in BROKEN.iter().zip(&result.report.packets) {
                let EchoFate::Refused(error) = &packet.fate else {
                    panic!("{socket:?} {place} {broken:?}: {packet:?} {stats:?}")
                };
                let labels: Vec<u32> = error.mpls.iter().map(|label| label.label).collect();
                // The error queue has them without the object that they come in.
                let whole = *broken == Broken::No && socket == SocketChoice::Raw;
                let wanted: &[u32] = if whole { &[1000] } else { &[] };
                assert_eq!(labels, wanted, "{socket:?} {place} {broken:?}: {error:?}");
            }
        }
    }
}

#[test]
fn i72_of_rationed_errors_each_belongs_to_its_packet_and_the_rest_is_lost() {
    for socket in SOCKETS {
        let ping_groups = Some((0, 2_147_483_647));
        let Some(net) = Net::build("ration", &Topology { ping_groups, ..Topology::path(1) }) else {
            return;
        };
        // Time exceeded alone is rationed: six at once, then one in ten seconds.
        net.routers[0].sysctl("ipv4/icmp_ratelimit", "10000");
        let echo = EchoOptions { ttl: Some(1), ..EchoOptions::default() };
        let config = IcmpConfig { echo, ..train(20) };
        let (result, stats) = probe(&net, socket, net.target[0], config);
        let fates = fates(&result);
        let refused = fates.iter().take_while(|fate| **fate == "refused").count();
        assert!((1..20).contains(&refused), "{socket:?}: {fates:?}");
        assert!(fates[refused..].iter().all(|fate| *fate == "lost"), "{socket:?}: {fates:?}");
        for packet in &result.report.packets[..refused] {
            let EchoFate::Refused(error) = &packet.fate else { unreachable!() };
            assert_eq!((error.icmp_type, error.code), (11, 0), "{error:?}");
            assert_eq!(error.from, "10.80.0.2".parse().ok(), "{error:?}");
        }
        assert_eq!(result.verdict.code(), Some("ttl_exceeded"), "{socket:?}: {result}");
        assert_eq!(stats.strays.total(), 0, "{stats:?}");
        // The target itself is not to blame: with a longer life all are answered.
        let (result, _) = probe(&net, socket, net.target[0], train(5));
        assert_eq!(result.report.stats.unwrap().received, 5, "{socket:?}");
    }
}

/// Where the header behind the quoted IP header begins.
fn behind(request: &Request<'_>) -> usize {
    if request.echo.ip.source.is_ipv4() { 20 } else { 40 }
}

#[test]
fn i76_i77_i84_i85_i96_a_quote_is_matched_by_what_no_nat_changes() {
    fn says(request: &Request<'_>) -> Vec<Answer> {
        let v4 = request.echo.ip.source.is_ipv4();
        let mut error = if v4 { request.error(3, 1) } else { request.error(1, 3) };
        let at = behind(request);
        match request.number {
            // Of another program: no identifier of ours. With our destination, and one of ours that is
            // not this packet's.
            0 => error.quote[at + 4] ^= 0x80,
            1 => error.quote[at + 5] ^= 1,
            // A NAT has rewritten time to live and checksum, then the source.
            2 if v4 => error.quote[8..12].copy_from_slice(&[3, 1, 0xab, 0xcd]),
            2 => error.quote[7] = 3,
            3 if v4 => error.quote[12..16].copy_from_slice(&[198, 51, 100, 77]),
            3 => error.quote[8..24].copy_from_slice(&[0x20; 16]),
            // First the reply, then an error about the same packet.
            4 => {
                error.hold = Duration::from_millis(20);
                return [request.reply().answers(), error.answers()].concat();
            }
            _ => return request.reply().answers(),
        }
        error.answers()
    }
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("quote") else { return };
            let responder = Responder::start(&net.far, says);
            let (result, stats) = probe(&net, socket, net.target[place], train(6));
            drop(responder);
            let wanted = ["lost", "lost", "refused", "refused", "answered", "answered"];
            assert_eq!(fates(&result), wanted, "{socket:?} {place}: {result} {stats:?}");
            if socket == SocketChoice::Raw {
                // The filter keeps the first away.
                let strays = &stats.strays;
                assert_eq!((strays.unmatched, strays.total()), (1, 2), "{strays:?}");
                // The packet was answered, and is not remembered without a time to linger.
                assert_eq!(strays.stale_cookie + strays.afterwards, 1, "{strays:?}");
            }
        }
    }
}

#[test]
fn i37_i109_bytes_of_a_reply_are_no_time_whatever_they_are() {
    // Seconds and microseconds as ping writes them: huge, nothing, and before all time.
    const TIMES: [[i64; 2]; 4] = [[i64::MAX, 999_999], [0, 0], [-1, -1], [i64::MIN, i64::MIN]];
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("times") else { return };
            let responder = Responder::start(&net.far, |request: &Request<'_>| {
                let mut reply = request.reply();
                if let Some(time) = TIMES.get(usize::try_from(request.number).unwrap()) {
                    let bytes = time.map(i64::to_ne_bytes).concat();
                    reply.payload[..16].copy_from_slice(&bytes);
                }
                reply.answers()
            });
            // An odd payload, for the checksum.
            let echo = EchoOptions { size: 57, ..EchoOptions::default() };
            let config = IcmpConfig { echo, ..train(6) };
            let (result, _) = probe(&net, socket, net.target[place], config);
            drop(responder);
            let wanted = ["lost", "lost", "lost", "lost", "answered", "answered"];
            assert_eq!(fates(&result), wanted, "{socket:?} {place}: {result}");
            for packet in &result.report.packets[4..] {
                let answer = packet.fate.answer().unwrap();
                assert!(answer.rtt.ns > 0 && answer.rtt.ns < 400_000_000, "{answer:?}");
                assert_eq!(answer.payload_bytes, 57);
            }
        }
    }
}
