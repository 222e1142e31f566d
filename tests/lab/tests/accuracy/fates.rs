//! What is lost on this host is no loss of the path, and nothing else is lost at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netsonde::icmp::{EchoFate, EngineConfig, IcmpConfig, IcmpEngine, IcmpReport, SocketChoice};
use netsonde::{Event, Observer, ProbeResult};
use netsonde_lab::Net;

use crate::common::*;

#[test]
fn a16_nothing_is_lost_that_was_answered_with_10000_in_flight() {
    const RUNS: usize = 20;
    let _turn = turn();
    let Some(net) = path("a16", ms(450)) else { return };
    let (mut answered, mut lost, mut false_loss, mut here) = (0, 0, 0, 0);
    let mut fewest = usize::MAX;
    for run in 0..RUNS {
        let target = net.target[run % 2];
        let train = Train::new(&raw(), &burst(10_000, ms(2000)), target);
        let (results, marks) = send(&net, vec![train]);
        let packets = &results[0].report.packets;
        let echoes = echoes(&marks, target);
        assert_eq!((packets.len(), echoes.len()), (10_000, 10_000));
        for (packet, echo) in packets.iter().zip(&echoes) {
            match &packet.fate {
                EchoFate::Answered(_) => answered += 1,
                EchoFate::Lost => {
                    lost += 1;
                    // The line of a busy machine may lose packets: then the capture has no reply.
                    false_loss += usize::from(echo.replies > 0);
                }
                EchoFate::LostLocally => here += 1,
                fate => panic!("{fate:?}"),
            }
        }
        fewest = fewest.min(in_flight(&marks, target));
    }
    println!(
        "A-16 {RUNS} runs of 10,000, {fewest} in flight or more: {answered} answered, {lost} lost, of which the capture has \
         seen replies to {false_loss}, {here} lost on this host"
    );
    assert_eq!((false_loss, here), (0, 0));
    // The line may lose a few on a busy machine, and a few may be answered before the last one is sent.
    assert!(fewest >= 9_000, "{fewest}");
    assert!(answered >= 199_000, "{answered}");
}

fn fates(result: &ProbeResult<IcmpReport>) -> Vec<&'static str> {
    let mut fates: Vec<_> = result.report.packets.iter().map(|p| p.fate.as_str()).collect();
    fates.sort_unstable();
    fates.dedup();
    fates
}

/// One train in each family, on sockets of this kind.
fn both(net: &Net, socket: SocketChoice, config: &IcmpConfig) -> Vec<ProbeResult<IcmpReport>> {
    let engine = engine(socket, netsonde::icmp::Stamps::Full);
    let trains = net.target.map(|target| Train::new(&engine, config, target));
    send(net, trains.into()).0
}

#[test]
fn a17_what_the_system_did_not_take_is_not_lost() {
    let _turn = turn();
    let Some(net) = wire("a17") else { return };
    // The other end takes only shorter packets: the device throws longer ones away.
    net.server.ip(&format!("link set {} mtu 1280", net.far.name));
    let mut long = config(20, ms(1), ms(200));
    long.echo.size = 1400;
    let check = |what: &str, config: &IcmpConfig, errno: i32| {
        for socket in [SocketChoice::Raw, SocketChoice::Datagram] {
            for result in both(&net, socket, config) {
                let unsent = EchoFate::NotSent { errno, mtu: None };
                let target = result.report.address.unwrap();
                if socket == SocketChoice::Datagram && target.is_ipv6() {
                    // The one hole: there Linux says that it has sent what it has not (docs/design.md,
                    // "Why does IPv6 over a datagram socket not know local drops?").
                    assert_eq!(fates(&result), ["lost"], "{what}");
                    continue;
                }
                assert!(result.report.packets.iter().all(|p| p.fate == unsent), "{what} {result}");
                let stats = result.report.stats.as_ref().unwrap();
                assert_eq!((stats.not_sent, stats.sent, stats.loss), (20, 0, None), "{what}");
                println!("A-17 {what}, {socket:?}, {target}: 20 not sent, none lost");
            }
        }
    };
    check("ENOBUFS", &long, libc::ENOBUFS);
    net.client.nft(
        "add table inet t\nadd chain inet t out { type filter hook output priority 0; }\n\
         add rule inet t out meta l4proto { icmp, ipv6-icmp } drop\n",
    );
    check("EPERM", &config(20, ms(1), ms(200)), libc::EPERM);
}

/// Keeps the prober from reading when its first packets have been sent.
#[derive(Debug, Default)]
struct Sleepy(AtomicBool);

impl Observer for Sleepy {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Packet { .. }) && !self.0.swap(true, Ordering::Relaxed) {
            std::thread::sleep(ms(300));
        }
    }
}

#[test]
fn a17_what_did_not_fit_into_the_receive_queue_is_not_lost() {
    let _turn = turn();
    let Some(net) = path("a17b", ms(20)) else { return };
    for target in net.target {
        let small = EngineConfig {
            socket: SocketChoice::Raw,
            receive_buffer_bytes: 32 << 10,
            ..EngineConfig::default()
        };
        let engine = IcmpEngine::new(small).unwrap();
        // Answers come while nobody reads.
        let mut train = Train::new(&engine, &config(2_000, us(100), ms(1000)), target);
        train.observer = Some(Arc::new(Sleepy::default()));
        let (results, marks) = send(&net, vec![train]);
        let result = &results[0];
        let stats = result.report.stats.as_ref().unwrap();
        let replies = echoes(&marks, target).iter().filter(|echo| echo.replies > 0).count();
        let dropped = engine.stats().dropped_here;
        println!(
            "A-17 overflow, {target}: {} sent, {} answered, {} lost here ({dropped} counted), {} lost; \
             the capture has seen {replies} replies",
            stats.sent, stats.received, stats.lost_locally, stats.lost
        );
        assert!(stats.lost_locally > 0, "{:?}", fates(result));
        assert_eq!(stats.lost as usize, 2_000 - replies, "{:?}", fates(result));
    }
}
