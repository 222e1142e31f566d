//! Namespaces, filters, captures and crafted packets, against the kernel's own TCP.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use netsonde_support::netns::Device;
use netsonde_support::packet::{self, Frame, Passage, Responder, Tap, Tcp, Wire};
use netsonde_support::{Lab, Namespace, Script, Server};

const SOON: Duration = Duration::from_secs(5);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 2)), 80);

fn connect(from: &Namespace, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    from.run(|| TcpStream::connect_timeout(&to, timeout))
}

fn serve(on: &Namespace, address: SocketAddr) -> Server {
    on.run(|| Server::builder().address(address).script(Script::new().send("hi")).tcp())
}

/// Client and server with a router between them.
fn routed(lab: &Lab) -> (Namespace, Namespace, Namespace) {
    let (client, router, server) =
        (lab.namespace("client"), lab.namespace("router"), lab.namespace("server"));
    lab.link((&client, "10.1.0.1/24"), (&router, "10.1.0.2/24"));
    lab.link((&router, "10.2.0.1/24"), (&server, "10.2.0.2/24"));
    client.ip("route add default via 10.1.0.2");
    server.ip("route add default via 10.2.0.1");
    router.forward();
    (client, router, server)
}

/// A client and a device where nobody but a [`Tap`] answers for 10.1.0.2.
fn facing_a_tap(lab: &Lab) -> (Namespace, Device, Device) {
    let (client, other) = (lab.namespace("client"), lab.namespace("tap"));
    let (near, far) = lab.link((&client, "10.1.0.1/24"), (&other, ""));
    near.neighbour("10.1.0.2", &far);
    (client, near, far)
}

#[test]
fn packets_take_their_route_and_namespaces_go_away() {
    let Some(lab) = Lab::new("route") else { return };
    let home = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let (client, _router, server) = routed(&lab);
    assert_ne!(home, client.run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap()));
    let service = serve(&server, SERVER);
    let mut text = String::new();
    connect(&client, SERVER, SOON).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hi");
    assert!(service.connection(0).peer.starts_with("10.1.0.1:"));
    // This thread has not moved.
    assert_eq!(home, std::fs::read_link("/proc/thread-self/ns/net").unwrap());

    // And the same on a runtime inside.
    let answer = client.block_on(async || {
        use tokio::io::AsyncReadExt;
        let mut stream = tokio::net::TcpStream::connect(SERVER).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    assert_eq!(answer, "hi");

    drop(service);
    let name = client.name().to_owned();
    let list = || {
        let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(list().contains(&name));
    drop(lab);
    assert!(!list().contains(&name));
}

#[test]
fn leftovers_of_dead_processes_are_removed_and_only_they() {
    let Some(lab) = Lab::new("first") else { return };
    let alive = lab.namespace("alive");
    // No process has this id: the kernel's limit is lower (proc(5), pid_max).
    let dead = "netsonde-lab-99999999-0-dead-x";
    Command::new("ip").args(["netns", "add", dead]).status().unwrap();
    let Some(_second) = Lab::new("second") else { return };
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(!list.contains(dead) && list.contains(alive.name()), "{list}");
}

#[test]
fn ipv6_addresses_work_at_once() {
    let Some(lab) = Lab::new("six") else { return };
    let (client, server) = (lab.namespace("client"), lab.namespace("server"));
    lab.link((&client, "fd00::1/64"), (&server, "fd00::2/64"));
    let address = "[fd00::2]:80".parse().unwrap();
    let _service = serve(&server, address);
    connect(&client, address, SOON).unwrap();
}

#[test]
fn filters_and_routes_refuse() {
    let Some(lab) = Lab::new("filter") else { return };
    let (client, router, server) = routed(&lab);
    let _service = serve(&server, SERVER);
    router.nft(
        "add table ip t; add chain ip t f { type filter hook forward priority 0; }; \
         add rule ip t f tcp dport 80 reject with icmp type admin-prohibited",
    );
    let error = connect(&client, SERVER, SOON).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(113), "EHOSTUNREACH: {error}");
    router.nft("flush ruleset");
    connect(&client, SERVER, SOON).unwrap();
    router.ip("route add unreachable 10.3.0.0/24");
    let error = connect(&client, "10.3.0.1:80".parse().unwrap(), SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
    client.drop_first_out(1, "tcp flags syn / syn,ack");
    let start = Instant::now();
    connect(&client, SERVER, SOON).unwrap();
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    let start = Instant::now();
    connect(&client, SERVER, SOON).unwrap();
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(client.exec("ip", "route show").contains("default via 10.1.0.2"));
}

#[test]
fn a_capture_shows_the_handshake_with_stamps() {
    let Some(lab) = Lab::new("capture") else { return };
    let (client, server) = (lab.namespace("client"), lab.namespace("server"));
    let (near, _far) = lab.link((&client, "10.2.0.1/24"), (&server, "10.2.0.2/24"));
    let _service = serve(&server, SERVER);
    // Hosts say hello to their groups at any time.
    let before = SystemTime::now();
    let tap = Tap::open(&near);
    let mut stream = connect(&client, SERVER, SOON).unwrap();
    stream.write_all(b"payload").unwrap();
    let frames = tap.receive_until(SOON, |frame| {
        frame.outgoing && frame.tcp().is_some_and(|tcp| tcp.payload == b"payload")
    });
    let after = SystemTime::now();
    assert!(frames.iter().all(|frame| before <= frame.at && frame.at <= after), "{frames:?}");
    let tcp: Vec<(bool, Tcp)> =
        frames.iter().filter_map(|frame| Some((frame.outgoing, frame.tcp()?))).collect();
    assert!(tcp[0].0 && tcp[0].1.is_syn());
    assert!(!tcp[1].0 && tcp[1].1.flags == Tcp::SYN | Tcp::ACK);
    assert_eq!(tcp[1].1.acknowledgment, tcp[0].1.sequence.wrapping_add(1));
    // With the offloads off, every checksum is the right one: the sum over all is then zero.
    for frame in frames.iter().filter(|frame| frame.tcp().is_some()) {
        let ip = frame.ip().unwrap();
        let body = frame.payload().unwrap();
        assert_eq!(packet::transport_checksum(ip.source, ip.destination, packet::TCP, body), 0);
        assert_eq!(packet::checksum(&[&frame.packet().unwrap()[..20]]), 0);
    }
    // What is read comes out the same when written.
    let syn = &frames[frames.iter().position(|frame| frame.tcp().is_some()).unwrap()];
    let ip = syn.ip().unwrap();
    let written = syn.tcp().unwrap().bytes(ip.source, ip.destination);
    let (there, here) = (syn.payload().unwrap(), &written[..]);
    assert_eq!(there.len(), here.len());
    assert_eq!(there[..16], here[..16]);
    assert_eq!(there[16..18], here[16..18], "the checksum");
}

fn answer_syn(frame: &Frame, change: impl Fn(Tcp) -> Tcp) -> Option<Vec<u8>> {
    let ip = frame.ip()?;
    let answer = change(frame.tcp().filter(Tcp::is_syn)?.syn_ack(1000));
    Some(frame.reply(packet::TCP, &answer.bytes(ip.destination, ip.source)))
}

#[test]
fn crafted_answers_reach_the_kernels_tcp() {
    let Some(lab) = Lab::new("crafted") else { return };
    let (client, _near, far) = facing_a_tap(&lab);
    let address = "10.1.0.2:80".parse().unwrap();
    {
        let _right = Responder::start(Tap::open(&far), |frame| answer_syn(frame, |it| it.mss(88)));
        let stream = connect(&client, address, SOON).unwrap();
        assert!(socket2::SockRef::from(&stream).tcp_mss().unwrap() <= 88);
    }
    {
        let _forged = Responder::start(Tap::open(&far), |frame| {
            answer_syn(frame, |mut answer| {
                answer.acknowledgment = answer.acknowledgment.wrapping_add(7);
                answer
            })
        });
        let error = connect(&client, address, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    {
        let _reset = Responder::start(Tap::open(&far), |frame| {
            answer_syn(frame, |answer| Tcp { flags: Tcp::RST | Tcp::ACK, ..answer })
        });
        let error = connect(&client, address, SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    // An ICMP error from somebody on the way: host unreachable, quoting the SYN.
    let _router = Responder::start(Tap::open(&far), |frame| {
        frame.tcp().filter(Tcp::is_syn)?;
        let quoted = &frame.packet()?[..28];
        let message = packet::icmp(3, 1, [0; 4], quoted);
        Some(frame.reply_from("10.1.0.9".parse().unwrap(), packet::ICMP, &message))
    });
    let error = connect(&client, address, SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
}

#[test]
fn fragmentation_needed_lowers_the_route() {
    let Some(lab) = Lab::new("pmtu") else { return };
    let (client, _near, far) = facing_a_tap(&lab);
    let _router = Responder::start(Tap::open(&far), |frame| {
        let tcp = frame.tcp()?;
        if tcp.is_syn() {
            return answer_syn(frame, |answer| answer.mss(1460));
        }
        if tcp.payload.is_empty() {
            return None;
        }
        let message = packet::fragmentation_needed(frame.packet()?, 600);
        Some(frame.reply(packet::ICMP, &message))
    });
    let mut stream = connect(&client, "10.1.0.2:80".parse().unwrap(), SOON).unwrap();
    stream.write_all(&[0; 1400]).unwrap();
    let end = Instant::now() + SOON;
    while !client.ip("route get 10.1.0.2").contains("mtu 600") {
        assert!(Instant::now() < end, "{}", client.ip("route get 10.1.0.2"));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_wire_delays_loses_and_doubles() {
    let Some(lab) = Lab::new("wire") else { return };
    let (client, middle, server) =
        (lab.namespace("client"), lab.namespace("wire"), lab.namespace("server"));
    let (_, left) = lab.link((&client, "10.2.0.1/24"), (&middle, ""));
    let (right, _) = lab.link((&middle, ""), (&server, "10.2.0.2/24"));
    let _service = serve(&server, SERVER);
    let start =
        |judge: fn(&Frame, bool) -> Passage| Wire::join(Tap::open(&left), Tap::open(&right), judge);
    let time = || {
        let start = Instant::now();
        connect(&client, SERVER, SOON).unwrap();
        start.elapsed()
    };
    {
        let _wire = start(|_, _| Passage::Pass);
        time();
        assert!(time() < Duration::from_millis(200));
    }
    {
        let _wire = start(|_, _| Passage::Delay(Duration::from_millis(25)));
        let elapsed = time();
        assert!(elapsed >= Duration::from_millis(50), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
    }
    {
        let _wire = start(|_, _| Passage::Twice);
        let mut text = String::new();
        connect(&client, SERVER, SOON).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
    }
    let mut lost = false;
    let _wire = Wire::join(Tap::open(&left), Tap::open(&right), move |frame, to_right| {
        if !to_right && !lost && frame.tcp().is_some() {
            lost = true;
            return Passage::Drop;
        }
        Passage::Pass
    });
    let elapsed = time();
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
}
