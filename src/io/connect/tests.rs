use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Type};
use tokio::time::timeout;

use super::*;
use crate::tcp::TcpState;

mod lab;
#[cfg(feature = "unix")]
mod unix;

const SHORT: Duration = Duration::from_millis(100);

/// Prints why a test cannot run here, or fails where it has to.
fn skip(why: &str) {
    assert!(std::env::var_os("NETSONDE_REQUIRE_ALL").is_none_or(|v| v != "1"), "skipped: {why}");
    println!("skipped: {why}");
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t")
}

/// Runs one test of this binary again, in a process that `wrap` has prepared.
fn run_again(test: &str, mut wrap: Command) {
    let output = wrap
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("NETSONDE_TEST_INSIDE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

fn is_inside() -> bool {
    std::env::var_os("NETSONDE_TEST_INSIDE").is_some()
}

fn listener(ip: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn base() -> SocketOptions {
    SocketOptions::default()
}

async fn connect(to: SocketAddr, options: &SocketOptions) -> Result<Connected, ConnectError> {
    connect_tcp(to, options, Instant::now).await
}

fn failed(kind: FailureKind) -> ConnectErrorKind {
    ConnectErrorKind::Failed(kind)
}

fn local(kind: LocalFaultKind) -> ConnectErrorKind {
    ConnectErrorKind::Local(kind)
}

/// A listener with a full queue: it does not accept, and a SYN gets no answer.
fn full_listener() -> (Socket, SocketAddr, Vec<std::net::TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // A queue of 0 still takes one.
    let held = vec![std::net::TcpStream::connect(address).unwrap()];
    (socket, address, held)
}

/// What a descriptor of this process points at: unique to the socket.
fn identity(connecting: &Connecting) -> PathBuf {
    let fd = connecting.link.as_ref().unwrap().socket().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()
}

fn is_open(identity: &PathBuf) -> bool {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|l| l == *identity))
}

#[tokio::test]
async fn t1_an_open_port_gives_addresses_marks_and_figures() {
    for ip in ["127.0.0.1", "::1"] {
        let (listener, address) = listener(ip);
        let before = Instant::now();
        let connected = connect(address, &base()).await.unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!((connected.remote(), connected.local()), (address, peer));
        let marks = connected.marks();
        let dialled = marks.dialled.unwrap();
        assert!(before <= marks.start && marks.start <= dialled && dialled <= marks.end);

        let info = connected.info().unwrap();
        assert_eq!(info.state, Some(TcpState::Established));
        assert_eq!(connected.syn_retransmits(), Some(0));
        let rtt = connected.handshake_rtt_ns().unwrap();
        assert!(u128::from(rtt) <= (marks.end - dialled).as_nanos(), "{rtt} {marks:?}");
        assert_eq!(info.min_rtt_ns, Some(rtt));
        assert!(info.snd_mss.unwrap() > 536 && info.pmtu.unwrap() > 1500, "{info:?}");
        assert_eq!((info.sack, info.window_scaling), (Some(true), Some(true)));
        assert_eq!(info.congestion_control, None);
        let last = connected.final_info().unwrap();
        assert!(last.congestion_control.is_some_and(|name| name.len() > 2));
    }
}

#[tokio::test]
async fn an_ipv4_address_in_ipv6_form_is_dialled_as_ipv4() {
    let (_listener, address) = listener("127.0.0.1");
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), address.port());
    assert_eq!(connect(mapped, &base()).await.unwrap().remote(), address);
}

#[tokio::test]
async fn a_connection_becomes_a_stream() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (listener, address) = listener("127.0.0.1");
    let mut stream = connect(address, &base()).await.unwrap().into_stream().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    io::Write::write_all(&mut peer, b"220 hi").unwrap();
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(b"QUIT").await.unwrap();
    drop(stream);
    let mut rest = Vec::new();
    io::Read::read_to_end(&mut peer, &mut rest).unwrap();
    assert_eq!((&greeting, rest.as_slice()), (b"220 hi", b"QUIT".as_slice()));
}

#[tokio::test]
async fn options_arrive_on_the_socket() {
    for ip in ["127.0.0.1", "::1"] {
        let (_listener, address) = listener(ip);
        let v6 = address.is_ipv6();
        let source = address.ip();
        let options = SocketOptions {
            source: Some(source),
            dscp: Some(46),
            ttl: Some(17),
            nodelay: false,
            reset_on_close: true,
            recv_buffer_bytes: Some(40_000),
            send_buffer_bytes: Some(50_000),
            congestion_control: Some("reno".into()),
            ..base()
        };
        let connected = connect(address, &options).await.unwrap();
        assert_eq!(connected.local().ip(), source);
        assert_eq!(connected.final_info().unwrap().congestion_control.as_deref(), Some("reno"));
        let socket = connected.link.socket();
        let (class, hops) = if v6 {
            (socket.tclass_v6().unwrap(), socket.unicast_hops_v6().unwrap())
        } else {
            (socket.tos_v4().unwrap(), socket.ttl_v4().unwrap())
        };
        // Without the bits of ECN, which are not ours.
        assert_eq!((class & !3, hops), (46 << 2, 17));
        assert!(!socket.tcp_nodelay().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(socket.recv_buffer_size().unwrap(), 80_000);
        assert_eq!(socket.send_buffer_size().unwrap(), 100_000);

        let plain = connect(address, &base()).await.unwrap();
        let socket = plain.link.socket();
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap());
        assert_eq!(socket.linger().unwrap(), None);
    }
}

#[tokio::test]
async fn interface_and_mark_arrive_on_the_socket() {
    if !is_root() {
        return skip("needs root");
    }
    let (_listener, address) = listener("127.0.0.1");
    let options = SocketOptions { interface: Some("lo".into()), fwmark: Some(0xbeef), ..base() };
    let connected = connect(address, &options).await.unwrap();
    let socket = connected.link.socket();
    assert_eq!(socket.mark().unwrap(), 0xbeef);
    assert!(socket.device().unwrap().unwrap().starts_with(b"lo"));
}

#[tokio::test]
async fn what_the_system_refuses_is_local_and_names_the_option() {
    let (_listener, address) = listener("127.0.0.1");
    let refused = |options: SocketOptions| async move {
        let error = connect(address, &options).await.unwrap_err();
        assert_eq!(error.marks.dialled, None);
        (error.step, error.kind, error.errno)
    };
    let device = SocketOptions { interface: Some("no-such-if".into()), ..base() };
    assert_eq!(
        refused(device).await,
        (ConnectStep::Interface, local(LocalFaultKind::Interface), Some(libc::ENODEV))
    );
    let control = SocketOptions { congestion_control: Some("no-such-cc".into()), ..base() };
    assert_eq!(
        refused(control).await,
        (ConnectStep::CongestionControl, local(LocalFaultKind::Io), Some(libc::ENOENT))
    );
    // More than any default of net.core.rmem_max: the kernel would grant less without a word.
    let buffer = SocketOptions { recv_buffer_bytes: Some(1 << 30), ..base() };
    assert_eq!(
        refused(buffer).await,
        (ConnectStep::RecvBuffer, local(LocalFaultKind::Memory), None)
    );
    let family = SocketOptions { source: "::1".parse().ok(), ..base() };
    assert_eq!(refused(family).await, (ConnectStep::Check, local(LocalFaultKind::Family), None));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let (closed, address) = listener("127.0.0.1");
    drop(closed);
    let error = connect(address, &base()).await.unwrap_err();
    assert_eq!((error.kind, error.step), (failed(FailureKind::Refused), ConnectStep::Wait));
    assert_eq!(error.errno, Some(libc::ECONNREFUSED));
    assert_eq!(error.icmp, None);
    assert_eq!(error.local.unwrap().ip(), address.ip());
    assert_eq!(error.syn_retransmits(), Some(0));
    assert_eq!(error.to_string(), "connection refused (connect, errno 111)");
}

#[tokio::test]
async fn t12_a_full_queue_is_waited_for_and_the_figures_survive_the_deadline() {
    let (_listener, address, _held) = full_listener();
    let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
    let started = Instant::now();
    assert!(timeout(SHORT, connecting.settle(&Instant::now)).await.is_err());
    assert!(!connecting.is_settled());
    let error = connecting.finish(&Instant::now).unwrap_err();
    assert_eq!((error.kind, error.step), (failed(FailureKind::Timeout), ConnectStep::Wait));
    assert_eq!(error.errno, None);
    assert_eq!(error.info.as_ref().unwrap().state, Some(TcpState::SynSent));
    assert!(error.marks.end >= started + SHORT);
    let text = error.verdict().failure().unwrap().to_string();
    assert_eq!(text, "the deadline passed (connect)");
}

#[tokio::test]
async fn a_wait_can_be_given_up_and_taken_up_again_and_a_repeated_syn_is_no_round_trip() {
    let (listener, address, mut held) = full_listener();
    let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
    assert!(timeout(SHORT, connecting.settle(&Instant::now)).await.is_err());
    listener.accept().unwrap();
    held.clear();
    // The next SYN goes out a second after the first.
    timeout(Duration::from_secs(5), connecting.settle(&Instant::now)).await.unwrap();
    let connected = connecting.finish(&Instant::now).unwrap();
    assert_eq!(connected.syn_retransmits(), Some(1));
    assert_eq!(connected.handshake_rtt_ns(), None);
    let marks = connected.marks();
    assert!(marks.end - marks.dialled.unwrap() >= Duration::from_millis(900));
}

#[tokio::test]
async fn dropping_an_attempt_closes_its_socket() {
    let (_listener, address, _held) = full_listener();
    let connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
    let socket = identity(&connecting);
    assert!(is_open(&socket));
    drop(connecting);
    assert!(!is_open(&socket));

    // Registered with the runtime.
    let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
    let socket = identity(&connecting);
    assert!(timeout(SHORT / 10, connecting.settle(&Instant::now)).await.is_err());
    assert!(matches!(connecting.link, Some(Link::Registered(_))));
    drop(connecting);
    assert!(!is_open(&socket));

    // In the middle of a future that owns everything.
    let seen = std::cell::OnceCell::new();
    let attempt = async {
        let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
        seen.set(identity(&connecting)).unwrap();
        connecting.settle(&Instant::now).await;
    };
    assert!(timeout(SHORT / 10, attempt).await.is_err());
    assert!(!is_open(seen.get().unwrap()));
}

#[tokio::test]
async fn t16_a_socket_that_finds_itself_is_no_connection() {
    let (free, address) = listener("127.0.0.1");
    drop(free);
    let port = address.port();
    let source = Some(address.ip());
    let options = SocketOptions { source, source_ports: Some([port, port]), ..base() };
    let error = connect(address, &options).await.unwrap_err();
    assert_eq!(error.kind, failed(FailureKind::SelfConnect));
    assert_eq!(error.local, Some(address));

    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let error = connect(any, &options).await.unwrap_err();
    assert_eq!(error.kind, failed(FailureKind::SelfConnect));
}

#[tokio::test]
async fn t18_nothing_is_sent_to_many() {
    for many in ["224.0.0.1:9", "255.255.255.255:9", "[ff02::1%1]:9"] {
        let error = connect(many.parse().unwrap(), &base()).await.unwrap_err();
        assert!(matches!(error.kind, ConnectErrorKind::Local(_)), "{many}: {error:?}");
        assert_eq!(error.step, ConnectStep::Connect, "{many}");
    }
}

#[tokio::test]
async fn a_link_local_address_without_a_zone_is_an_interface_fault() {
    let error = connect("[fe80::1]:9".parse().unwrap(), &base()).await.unwrap_err();
    assert_eq!(error.kind, local(LocalFaultKind::Interface));
    assert_eq!(error.errno, Some(libc::EINVAL));
}

#[tokio::test]
async fn t20_a_source_that_is_not_ours_is_local() {
    let (_listener, address) = listener("127.0.0.1");
    let options = SocketOptions { source: "192.0.2.1".parse().ok(), ..base() };
    let error = connect(address, &options).await.unwrap_err();
    assert_eq!((error.kind, error.step), (local(LocalFaultKind::Address), ConnectStep::Bind));
    assert_eq!(error.errno, Some(libc::EADDRNOTAVAIL));
}

#[tokio::test]
async fn t21_four_ports_carry_four_connections_to_one_target_and_not_five() {
    let (one, address) = listener("127.0.0.1");
    // Below the range that the system takes ports from on its own.
    let options = SocketOptions { source_ports: Some([23_411, 23_414]), ..base() };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect(address, &options).await.unwrap());
        one.accept().unwrap();
    }
    let mut ports: Vec<u16> = held.iter().map(|connected| connected.local().port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [23_411, 23_412, 23_413, 23_414]);
    let error = connect(address, &options).await.unwrap_err();
    assert_eq!(error.kind, local(LocalFaultKind::Address));
    assert_eq!(error.errno, Some(libc::EADDRNOTAVAIL));

    let (_other, elsewhere) = listener("127.0.0.2");
    assert!(
        connect(elsewhere, &options).await.is_ok(),
        "the ports are used up for one target only"
    );
    held.pop();
}

#[test]
fn t22_no_descriptor_left_is_local() {
    if !is_inside() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]);
        return run_again("io::connect::tests::t22_no_descriptor_left_is_local", sh);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_listener, address) = listener("127.0.0.1");
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
            assert!(hoard.len() < 100);
        }
        let error = connect(address, &base()).await.unwrap_err();
        assert_eq!(error.kind, local(LocalFaultKind::Descriptors));
        assert_eq!((error.step, error.errno), (ConnectStep::Socket, Some(libc::EMFILE)));
        drop(hoard);
        assert!(connect(address, &base()).await.is_ok());
    });
}

#[tokio::test]
async fn t36_a_reset_right_behind_the_handshake_is_a_connection_or_a_reset() {
    let (listener, address) = listener("127.0.0.1");
    let server = std::thread::spawn(move || {
        for _ in 0..200 {
            let (peer, _) = listener.accept().unwrap();
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    for _ in 0..200 {
        let outcome = timeout(Duration::from_secs(5), connect(address, &base())).await.unwrap();
        if let Err(error) = outcome {
            assert_eq!(error.kind, failed(FailureKind::Reset), "{error:?}");
        }
    }
    server.join().unwrap();
}

#[tokio::test]
async fn reset_on_close_resets_and_its_absence_closes() {
    let (listener, address) = listener("127.0.0.1");
    for reset_on_close in [true, false] {
        let options = SocketOptions { reset_on_close, ..base() };
        let connected = connect(address, &options).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        drop(connected);
        let end = io::Read::read(&mut peer, &mut [0]);
        if reset_on_close {
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        } else {
            assert_eq!(end.unwrap(), 0);
        }
    }
}

#[test]
fn t80_a_runtime_shut_down_in_flight_is_no_panic() {
    let (_listener, address, _held) = full_listener();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
        tell.send(identity(&connecting)).unwrap();
        connecting.settle(&Instant::now).await;
    });
    let socket = told.recv().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert!(!is_open(&socket));

    // Asked to wait by a runtime that is gone.
    let mut connecting = Connecting::start(address, &base(), &Instant::now).unwrap();
    handle.block_on(connecting.settle(&Instant::now));
    let error = connecting.finish(&Instant::now).unwrap_err();
    assert_eq!(error.kind, local(LocalFaultKind::Cancelled));
}
