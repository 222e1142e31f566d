//! Many packets that are not what was asked for, and other programs that ask at the same time.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use netsonde::icmp::{
    EngineConfig, EngineStats, IcmpConfig, IcmpEngine, IcmpProber, IcmpReport, SocketChoice,
};
use netsonde::{ProbeResult, Prober};
use netsonde_lab::blast::blast;
use netsonde_lab::echo;
use netsonde_lab::netlab::address;
use netsonde_lab::responder::Request;
use netsonde_lab::{Net, Responder, Topology};
use netsonde_support::rights::thread_time;
use netsonde_support::{packet, require_command};

const SOCKETS: [SocketChoice; 2] = [SocketChoice::Raw, SocketChoice::Datagram];

/// Floods want the machine for themselves.
static TURN: Mutex<()> = Mutex::new(());

fn stub(word: &str) -> Option<Net> {
    Net::build(word, &Topology { ping_groups: Some((0, 2_147_483_647)), ..Topology::stub() })
}

struct Ran {
    result: ProbeResult<IcmpReport>,
    stats: EngineStats,
    /// Processor time of the thread of the prober.
    cost: Duration,
    took: Duration,
}

fn probe(net: &Net, socket: SocketChoice, target: IpAddr, config: IcmpConfig) -> Ran {
    net.client.block_on(async || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() }).unwrap();
        let prober = IcmpProber::new(&engine, config).unwrap();
        let (start, before) = (Instant::now(), thread_time());
        let result = prober.probe(&target.to_string().parse().unwrap()).await;
        let (cost, took) = (thread_time() - before, start.elapsed());
        Ran { result, stats: engine.stats(), cost, took }
    })
}

fn lock() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn i10_every_identifier_guessed_is_no_answer_and_the_genuine_one_is() {
    let _turn = lock();
    for socket in SOCKETS {
        let Some(net) = stub("guess") else { return };
        // The answer comes in the middle of the flood.
        let responder = Responder::right(&net.far, Duration::from_millis(1_200));
        let (client, target) = (address(0, 1)[0], net.target[0]);
        let config = IcmpConfig { reply_timeout: Duration::from_secs(5), ..IcmpConfig::default() };
        let ran = std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                // Every identifier with the first four sequence numbers, which a new engine uses.
                blast(&net.far, 200_000, 4 << 16, |number| {
                    let (id, seq) = (number as u16, (number >> 16) as u16);
                    let body = echo::message(target, client, false, id, seq, &[0xa5; 56]);
                    let packet = packet::ip(target, client, echo::protocol(target), 64, &body);
                    echo::frame(net.near.mac, net.far.mac, &packet)
                })
            });
            let ran = probe(&net, socket, target, config);
            println!("{socket:?}: flood of {:?}, probe {:?}", flood.join().unwrap(), ran.took);
            ran
        });
        drop(responder);
        let answer = ran.result.report.packets[0].fate.answer().copied();
        let answer = answer.unwrap_or_else(|| panic!("{socket:?}: {} {:?}", ran.result, ran.stats));
        // None of the guesses, which came earlier.
        assert!(answer.rtt.duration() >= Duration::from_millis(1_200), "{answer:?}");
        assert_eq!(ran.result.report.packets[0].duplicates, 0, "{}", ran.result);
        assert!(ran.stats.strays.total() > 0, "{socket:?}: {:?}", ran.stats);
        // One thread is one processor at most; most of the flood does not wake it.
        assert!(ran.cost < ran.took, "{:?} of {:?}", ran.cost, ran.took);
    }
}

#[test]
fn i97_a_hundred_thousand_errors_about_one_packet_are_one_result() {
    let _turn = lock();
    for socket in SOCKETS {
        let Some(net) = stub("errors") else { return };
        let responder = Responder::start(&net.far, |request: &Request<'_>| {
            let mut error = request.error(3, 1);
            error.times = 100_000;
            error.gap = Duration::from_micros(10);
            error.answers()
        });
        let linger = Duration::from_millis(1_500);
        let ran =
            probe(&net, socket, net.target[0], IcmpConfig { linger, ..IcmpConfig::default() });
        drop(responder);
        println!("{socket:?}: {:?} of {:?}, {:?}", ran.cost, ran.took, ran.stats);
        assert_eq!(ran.result.verdict.code(), Some("host_unreachable"), "{}", ran.result);
        assert_eq!(ran.result.report.packets.len(), 1);
        assert!(ran.stats.strays.afterwards > 1_000, "{socket:?}: {:?}", ran.stats);
        assert!(ran.cost < ran.took, "{:?} of {:?}", ran.cost, ran.took);
        assert_eq!(ran.stats.waiting, 0);
    }
}

#[test]
fn i18_a_reply_that_comes_a_thousand_times_is_one_answer() {
    let _turn = lock();
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("thousand") else { return };
            let responder = Responder::start(&net.far, |request: &Request<'_>| {
                request.reply().times(1_000, Duration::from_micros(100)).answers()
            });
            let linger = Duration::from_secs(1);
            let config = IcmpConfig { linger, ..IcmpConfig::default() };
            let ran = probe(&net, socket, net.target[place], config);
            drop(responder);
            let stats = ran.result.report.stats.as_ref().unwrap();
            assert_eq!((stats.received, stats.duplicates), (1, 999), "{}", ran.result);
            assert_eq!(ran.result.report.packets.len(), 1);
        }
    }
}

#[test]
fn i20_a_late_reply_is_late_and_never_the_answer_to_the_next() {
    let _turn = lock();
    for socket in SOCKETS {
        for place in [0, 1] {
            let Some(net) = stub("late") else { return };
            // The first answer comes in the time of the second request, which has none.
            let responder =
                Responder::start(&net.far, |request: &Request<'_>| match request.number {
                    0 => request.reply().hold(Duration::from_millis(250)).answers(),
                    1 => Vec::new(),
                    _ => request.reply().answers(),
                });
            let config = IcmpConfig {
                count: 3,
                interval: Duration::from_millis(200),
                reply_timeout: Duration::from_millis(150),
                linger: Duration::from_millis(300),
                ..IcmpConfig::default()
            };
            let ran = probe(&net, socket, net.target[place], config);
            drop(responder);
            let fates = ran.result.report.packets.iter().map(|packet| packet.fate.as_str());
            let fates: Vec<_> = fates.collect();
            assert_eq!(fates, ["late", "lost", "answered"], "{socket:?} {place}: {}", ran.result);
            let stats = ran.result.report.stats.as_ref().unwrap();
            assert_eq!((stats.received, stats.late), (1, 1), "{}", ran.result);
        }
    }
}

#[test]
fn i16_a_ping_of_the_system_with_the_same_identifier_is_passed_over() {
    let _turn = lock();
    let Some(ping) = require_command("ping") else { return };
    let Some(net) = stub("same") else { return };
    let ids = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&ids);
    let responder = Responder::start(&net.far, move |request: &Request<'_>| {
        seen.lock().unwrap().push(request.echo.id);
        request.reply().answers()
    });
    let config = IcmpConfig {
        count: 60,
        interval: Duration::from_millis(20),
        reply_timeout: Duration::from_secs(1),
        ..IcmpConfig::default()
    };
    let target = net.target[0];
    let (ran, output) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let id = loop {
                let first = ids.lock().unwrap().first().copied();
                match first {
                    Some(id) => break id,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            net.client.run(|| {
                let mut command = std::process::Command::new(&ping);
                command.args(["-n", "-c", "10", "-i", "0.05", "-e"]).arg(id.to_string());
                command.arg(target.to_string()).output().unwrap()
            })
        });
        (probe(&net, SocketChoice::Raw, target, config), other.join().unwrap())
    });
    drop(responder);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("invalid option") {
        netsonde_support::skip("this ping cannot be told its identifier");
        return;
    }
    // That it takes our answers for its own, and the bytes in them for times, is not ours to mend.
    assert!(text.contains(" packets transmitted, "), "{text}{errors}");
    let stats = ran.result.report.stats.as_ref().unwrap();
    assert_eq!((stats.sent, stats.received, stats.duplicates), (60, 60, 0), "{}", ran.result);
    // Its answers came through the filter, since they have an identifier of ours, and were not believed.
    let strays = &ran.stats.strays;
    let ids = ids.lock().unwrap();
    let foreign = ids.len() as u64 - 60;
    assert!(foreign > 0 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!((strays.total(), strays.corrupt), (foreign, 0), "{strays:?}");
}
