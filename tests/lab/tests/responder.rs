//! The responder and the plain sender, as the capture sees them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netsonde_lab::blast::{blast, echo_request};
use netsonde_lab::echo::{self, Echo};
use netsonde_lab::netlab::address;
use netsonde_lab::responder::{Answer, Broken, mpls};
use netsonde_lab::{Capture, Flood, Hogs, Marks, Net, Responder, Topology};
use netsonde_support::packet::{self, Ip, Trunk};

/// Each of these tests wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const ID: u16 = 0x2000;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Sends so many requests to a target, one a millisecond, and keeps the frames that come back.
fn ask(net: &Net, target: IpAddr, count: u64) -> (Marks, Vec<Vec<u8>>) {
    let frames = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&frames);
    let capture = Capture::start_with(&net.near, move |seen| {
        if !seen.outgoing {
            kept.lock().unwrap().push(seen.bytes.to_vec());
        }
    });
    let source = address(0, 1)[usize::from(target.is_ipv6())];
    let wire = (&net.near, &net.far);
    blast(&net.near, 1000, count, |number| echo_request(wire, source, target, ID, number));
    std::thread::sleep(ms(60));
    capture.settle();
    let marks = capture.end();
    let frames = std::mem::take(&mut *frames.lock().unwrap());
    (marks, frames)
}

#[test]
fn it_answers_after_an_exact_time_for_every_address() {
    let _turn = turn();
    let Some(net) = Net::build("exact", &Topology::stub()) else { return };
    let responder = Responder::right(&net.far, ms(5));
    for target in ["10.80.0.2", "10.80.77.9", "198.51.100.7", "fd80::2", "2001:db8::99"] {
        let target = target.parse().unwrap();
        let mut best = Duration::MAX;
        for _ in 0..3 {
            _ = responder.log();
            let (marks, _) = ask(&net, target, 100);
            let log = responder.log();
            assert_eq!((log.len(), marks.echoes.len()), (100, 100));
            let mut late: Vec<_> =
                log.iter().map(|answer| answer.held.unwrap().checked_sub(ms(5)).unwrap()).collect();
            late.sort_unstable();
            let rtt = |number| marks.echo_rtt(ID, number, target).unwrap();
            let mut beyond: Vec<_> =
                (0..100).map(|number| rtt(number).checked_sub(ms(5)).unwrap()).collect();
            beyond.sort_unstable();
            println!(
                "{target}: late by p50 {:?}, p99 {:?}; the capture says {:?}, {:?}",
                late[50], late[98], beyond[50], beyond[98]
            );
            best = best.min(beyond[50]);
        }
        assert!(best < ms(1), "{best:?}");
    }
    assert_eq!(responder.health().lost(), 0);
}

#[test]
fn replies_are_as_wrong_as_told() {
    let _turn = turn();
    let stranger: [IpAddr; 2] = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    let Some(net) = Net::build("wrong", &Topology::stub()) else { return };
    for family in [0, 1] {
        let _responder = Responder::start(&net.far, move |request| {
            let reply = request.reply();
            let reply = match request.number {
                0 => reply,
                1 => reply.from(stranger[family]),
                2 => reply.payload_length(3),
                3 => reply.payload_length(100),
                4 => reply.flip(7),
                5 => reply.times(50, Duration::from_micros(100)),
                _ => return Vec::new(),
            };
            reply.answers()
        });
        let (marks, frames) = ask(&net, net.target[family], 7);
        let target = net.target[family];
        let replies = |seq| marks.echoes[&(target, ID, seq)].replies.len();
        let counts: Vec<_> = (0..7).map(replies).collect();
        assert_eq!(counts, [1, 0, 1, 1, 1, 50, 0]);
        let strays: Vec<_> = marks.strays.iter().map(|(key, _)| *key).collect();
        assert_eq!(strays, [(stranger[family], ID, 1)]);
        let payload = |seq| {
            let echoes = frames.iter().filter_map(|frame| Echo::parse(frame));
            let mut echoes = echoes.filter(|echo| echo.seq == seq && !echo.is_request);
            echoes.next().unwrap().payload.to_vec()
        };
        assert_eq!(payload(0), 0_u64.to_be_bytes());
        assert_eq!((payload(2).len(), payload(3).len()), (3, 100));
        assert_eq!(payload(4), [1, 0, 0, 0, 0, 0, 0, 4]);
        for frame in &frames {
            let body = packet::payload_of(packet::packet_of(frame).unwrap()).unwrap();
            let ip = Ip::parse(packet::packet_of(frame).unwrap()).unwrap();
            let sum = if ip.source.is_ipv4() {
                packet::checksum(&[body])
            } else {
                packet::transport_checksum(ip.source, ip.destination, packet::ICMPV6, body)
            };
            assert_eq!(sum, 0);
        }
    }
}

#[test]
fn batches_come_in_reverse_order() {
    let _turn = turn();
    let Some(net) = Net::build("reverse", &Topology::stub()) else { return };
    let _responder = Responder::reversed(&net.far, 20, Duration::from_micros(50));
    for target in net.target {
        let (marks, _) = ask(&net, target, 40);
        let came: Vec<_> = (0..40).map(|seq| marks.echoes[&(target, ID, seq)].replies[0]).collect();
        for batch in came.chunks(20) {
            assert!(batch.windows(2).all(|pair| pair[1] < pair[0]), "{batch:?}");
        }
        assert!(came[39] > came[0], "the second batch comes after the first");
    }
}

#[test]
fn errors_come_from_anywhere_with_any_code() {
    let _turn = turn();
    let Some(net) = Net::build("errors", &Topology::stub()) else { return };
    for (family, router) in [(0, "203.0.113.1"), (1, "2001:db8::1")] {
        let router: IpAddr = router.parse().unwrap();
        let _responder = Responder::start(&net.far, move |request| {
            let error = request.error(3, request.number as u8).from(router);
            let error = match request.number {
                1 => error.quote_behind_header(8),
                2 => error.object(mpls(16, 0, 1)),
                3 => error.object(mpls(16, 0, 1)).broken(Broken::Checksum),
                4 => error.edit_quote(|quote| quote[8] ^= 1),
                _ => error,
            };
            error.answers()
        });
        let target = net.target[family];
        let (marks, frames) = ask(&net, target, 5);
        assert_eq!(marks.errors.len(), 5, "{:?}", marks.errors);
        for (seq, error) in (0..).zip(&marks.errors) {
            assert_eq!((error.from, error.kind, error.code), (router, 3, seq as u8));
            // In IPv6 what was changed of number 4 is its source, as a NAT does.
            assert_eq!(error.about, Some((target, ID, seq)));
        }
        let lengths: Vec<_> = frames.iter().map(Vec::len).collect();
        assert!(lengths[1] < lengths[0] + 8 && lengths[2] > lengths[0] + 60, "{lengths:?}");
        assert_eq!(lengths[2], lengths[3]);
    }
}

#[test]
fn any_packet_can_be_answered() {
    let _turn = turn();
    let Some(net) = Net::build("any", &Topology::stub()) else { return };
    let responder = Responder::packets(&net.far, |incoming| {
        if incoming.ip.protocol != packet::UDP {
            return Vec::new();
        }
        // Back to where it came from, source and destination swapped.
        let body = packet::payload_of(incoming.packet).unwrap();
        let mut back = [&body[2..4], &body[..2], &body[4..6], &[0, 0], b"answer"].concat();
        back[4..6].copy_from_slice(&14_u16.to_be_bytes());
        let (source, destination) = (incoming.ip.destination, incoming.ip.source);
        let sum = packet::transport_checksum(source, destination, packet::UDP, &back);
        back[6..8].copy_from_slice(&sum.to_be_bytes());
        let packet = packet::ip(source, destination, packet::UDP, 64, &back);
        vec![Answer { packet, ..Answer::default() }]
    });
    let answer = net.client.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(ms(2000))).unwrap();
        socket.send_to(b"question", "198.51.100.1:53").unwrap();
        let mut buffer = [0; 64];
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, "198.51.100.1:53".parse().unwrap());
        buffer[..count].to_vec()
    });
    assert_eq!(answer, b"answer");
    assert!(responder.packets_seen() > 0);
}

#[test]
fn a_flood_is_as_fast_as_told_and_the_capture_keeps_up() {
    const COUNT: u64 = 60_000;
    let _turn = turn();
    let Some(net) = Net::build("flood", &Topology::stub()) else { return };
    let (from, to) = (net.target[0], address(0, 1)[0]);
    for rate in [20_000, 200_000] {
        let mut capture = Trunk::open(&net.near);
        let took = blast(&net.far, rate, COUNT, |number| {
            let body = echo::message(from, to, false, number as u16, 0, b"forged!!");
            let packet = packet::ip(from, to, packet::ICMP, 64, &body);
            echo::frame(net.near.mac, net.far.mac, &packet)
        });
        let mut seen = 0;
        while capture.receive(|frame| seen += u64::from(Echo::parse(frame.bytes).is_some())) > 0 {}
        let lost = capture.statistics().dropped;
        let reached = COUNT as f64 / took.as_secs_f64();
        println!("asked for {rate} a second, sent {reached:.0}, captured {seen}, lost {lost}");
        assert!(reached <= 1.05 * f64::from(rate), "never faster than told");
        assert_eq!((seen, lost), (COUNT, 0));
    }
}

#[test]
fn among_forged_replies_and_busy_threads_the_truth_is_told() {
    let _turn = turn();
    let Some(net) = Net::build("among", &Topology::stub()) else { return };
    let responder = Responder::right(&net.far, ms(5));
    let (target, source) = (net.target[1], address(0, 1)[1]);
    let (near, far) = (net.near.mac, net.far.mac);
    let flood = Flood::start(&net.far, 20_000, move |number| {
        // Every identifier but the right one.
        let id = (number as u16) | 1;
        let body = echo::message(target, source, false, id, number as u16, b"forged!!");
        echo::frame(near, far, &packet::ip(target, source, packet::ICMPV6, 64, &body))
    });
    let hogs = Hogs::start(4);
    let (marks, frames) = ask(&net, target, 200);
    drop(hogs);
    let mut late: Vec<_> = responder.log().iter().filter_map(|answer| answer.held).collect();
    late.sort_unstable();
    println!(
        "{} a second beside 4 busy threads, held {:?}",
        flood.rate() as u64,
        late[late.len() / 2]
    );
    assert_eq!(late.len(), 200);
    assert!(flood.sent() > 0 && frames.len() > 1000, "{} came", frames.len());
    for number in 0..200 {
        assert!(marks.echo_rtt(ID, number, target).unwrap() >= ms(5));
    }
    assert_eq!(marks.echoes.len(), 200);
    assert!(marks.stray_count > 1000, "{}", marks.stray_count);
}
