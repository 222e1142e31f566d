//! Three network namespaces in a row: prober - router - target. They need root.
//!
//! Each test makes its own and runs itself again inside of the prober's. Everything is on one
//! machine, so that an ICMP error often comes back while the kernel is still in `connect`: the case
//! in which it does not close the socket.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::io::socket::tcp_info;

const PROBER: &str = "10.1.0.1";
const ROUTER: &str = "10.1.0.2";
const TARGET: &str = "10.2.0.1";

struct Lab {
    name: String,
}

impl Lab {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Lab { name: format!("nsd{}x{count}", std::process::id()) };
        for place in ["p", "r", "t"] {
            lab.ip(&format!("netns add {}{place}", lab.name));
            lab.ip(&format!("-n {}{place} link set lo up", lab.name));
            // Nobody else could have the addresses, and to make sure takes a second.
            lab.run(place, "sysctl -qw net.ipv6.conf.default.accept_dad=0");
        }
        let n = &lab.name;
        lab.ip(&format!("link add v0 netns {n}p type veth peer name v1 netns {n}r"));
        lab.ip(&format!("link add v3 netns {n}t type veth peer name v2 netns {n}r"));
        for (place, device, net, v6) in [
            ("p", "v0", "10.1.0.1/24", "fd01::1/64"),
            ("r", "v1", "10.1.0.2/24", "fd01::2/64"),
            ("r", "v2", "10.2.0.2/24", "fd02::2/64"),
            ("t", "v3", "10.2.0.1/24", "fd02::1/64"),
        ] {
            lab.ip(&format!("-n {n}{place} addr add {net} dev {device}"));
            lab.ip(&format!("-n {n}{place} addr add {v6} dev {device}"));
            lab.ip(&format!("-n {n}{place} link set {device} up"));
        }
        lab.ip(&format!("-n {n}p route add default via {ROUTER}"));
        lab.ip(&format!("-n {n}t route add default via 10.2.0.2"));
        lab.ip(&format!("-n {n}p route add default via fd01::2"));
        lab.ip(&format!("-n {n}t route add default via fd02::2"));
        for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            lab.run("r", &format!("sysctl -qw {key}"));
        }
        lab.run("r", "sysctl -qw net.ipv4.icmp_ratelimit=0");
        lab.run("r", "sysctl -qw net.ipv6.icmp.ratelimit=0");
        // IPv6 works once the kernel has taken note of the carrier, which it puts off by up to 1 s.
        for (place, device) in [("p", "v0"), ("r", "v1"), ("r", "v2"), ("t", "v3")] {
            let arguments = format!("-n {n}{place} -br link show dev {device} up");
            let is_up = || {
                let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
                String::from_utf8_lossy(&output.stdout).contains(" UP ")
            };
            let patience = Instant::now() + Duration::from_secs(5);
            while !is_up() {
                assert!(Instant::now() < patience, "{device} stays down");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        lab
    }

    fn ip(&self, arguments: &str) {
        run(Command::new("ip").args(arguments.split(' ')));
    }

    /// Runs a command in the prober's, the router's or the target's namespace.
    fn run(&self, place: &str, command: &str) {
        let name = format!("{}{place}", self.name);
        run(Command::new("ip").args(["netns", "exec", &name]).args(command.split(' ')));
    }

    /// Rules of the packet filter, for what comes in (`input`) or goes out (`output`).
    fn filter(&self, place: &str, hook: &str, rules: &[&str]) {
        let mut table = format!(
            "add table inet f\nadd chain inet f c {{ type filter hook {hook} priority 0; }}\n"
        );
        for rule in rules {
            table += &format!("add rule inet f c {rule}\n");
        }
        let file = std::env::temp_dir().join(format!("{}{place}.nft", self.name));
        std::fs::write(&file, table).unwrap();
        self.run(place, &format!("nft -f {}", file.display()));
        std::fs::remove_file(file).unwrap();
    }

    /// Serves on port 80 of the target until it is dropped: accepts, and echoes what comes.
    fn serve(&self) -> Server {
        let test = "io::connect::tests::lab::server";
        let mut server = Command::new("ip")
            .args(["netns", "exec", &format!("{}t", self.name)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("NETSONDE_TEST_SERVE", "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving") {
            line.clear();
            assert_ne!(io::BufRead::read_line(&mut lines, &mut line).unwrap(), 0, "no server");
        }
        Server(server)
    }

    fn probe_with(&self, test: &str) {
        let mut wrap = Command::new("ip");
        let test = format!("io::connect::tests::lab::{test}");
        wrap.args(["netns", "exec", &format!("{}p", self.name)]);
        wrap.env("NETSONDE_TEST_LAB", &self.name);
        run_again(&test, wrap);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for place in ["p", "r", "t"] {
            let name = format!("{}{place}", self.name);
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Not a test of its own: the server of [`Lab::serve`].
#[test]
fn server() {
    if std::env::var_os("NETSONDE_TEST_SERVE").is_none() {
        return;
    }
    let listeners: Vec<_> = ["10.2.0.1:80", "[fd02::1]:80"].map(TcpListener::bind).into();
    println!("serving");
    let threads = listeners.into_iter().map(|listener| {
        let listener = listener.unwrap();
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                std::thread::spawn(move || io::copy(&mut &peer, &mut &peer));
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

/// Whether this is the run inside of the lab. If it is not, makes the lab, lets `set_up` break it,
/// and runs the test again in there.
fn inside(test: &str, set_up: impl FnOnce(&Lab) -> Option<Server>) -> bool {
    if is_inside() {
        return true;
    }
    let has_nft = Command::new("nft").arg("--version").output().is_ok();
    if !is_root() || !has_nft {
        skip("needs root, ip and nft");
        return false;
    }
    let lab = Lab::new();
    let _server = set_up(&lab);
    lab.probe_with(test);
    false
}

/// Runs a command in the router's namespace, from within the run inside.
fn in_router(command: &str) {
    let lab = std::env::var("NETSONDE_TEST_LAB").unwrap();
    let name = format!("{lab}r");
    run(Command::new("ip").args(["netns", "exec", &name]).args(command.split(' ')));
}

fn attempt(to: &str, options: &SocketOptions, limit: u64) -> Result<Connected, ConnectError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connecting = Connecting::start(to.parse().unwrap(), options, &Instant::now)?;
        let limit = Duration::from_millis(limit);
        let _ = timeout(limit, connecting.settle(&Instant::now)).await;
        connecting.finish(&Instant::now)
    })
}

/// An attempt that ends within 200 ms, long before a SYN is sent again.
fn quick_failure(to: &str, options: &SocketOptions) -> ConnectError {
    attempt(to, options, 200).unwrap_err()
}

fn is_icmp(error: &ConnectError, from: &str, icmp_type: u8, code: u8) {
    let icmp = error.icmp.as_deref().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(icmp.from, Some(from.parse().unwrap()));
    assert_eq!((icmp.icmp_type, icmp.code), (icmp_type, code));
}

#[test]
fn t2_a_reset_is_refused_within_a_round_trip() {
    let set_up = |lab: &Lab| {
        lab.filter("t", "input", &["tcp dport 81 reject with tcp reset"]);
        None
    };
    if !inside("t2_a_reset_is_refused_within_a_round_trip", set_up) {
        return;
    }
    for port in [81, 82] {
        let error = quick_failure(&format!("{TARGET}:{port}"), &base());
        assert_eq!((error.kind, error.icmp), (failed(FailureKind::Refused), None));
        assert_eq!(error.local.unwrap().ip().to_string(), PROBER);
    }
}

#[test]
fn t4_a_lost_syn_is_told() {
    let set_up = |lab: &Lab| {
        let rule = "tcp flags & (syn|ack) == syn numgen inc mod 1000000 0 drop";
        lab.filter("t", "input", &[rule]);
        Some(lab.serve())
    };
    if inside("t4_a_lost_syn_is_told", set_up) {
        is_told();
    }
}

#[test]
fn t5_a_lost_syn_ack_is_told() {
    let set_up = |lab: &Lab| {
        let rule = "tcp flags & (syn|ack) == syn|ack numgen inc mod 1000000 0 drop";
        lab.filter("t", "output", &[rule]);
        // The server would repeat its SYN-ACK after a second by itself, just as the client its SYN.
        lab.run("t", "sysctl -qw net.ipv4.tcp_synack_retries=0");
        Some(lab.serve())
    };
    if inside("t5_a_lost_syn_ack_is_told", set_up) {
        is_told();
    }
}

fn is_told() {
    let connected = attempt(&format!("{TARGET}:80"), &base(), 5000).unwrap();
    assert_eq!(connected.syn_retransmits(), Some(1));
    assert_eq!(connected.handshake_rtt_ns(), None);
    let marks = connected.marks();
    let elapsed = marks.end - marks.dialled.unwrap();
    assert!((900..1500).contains(&elapsed.as_millis()), "{elapsed:?}");
    // The next connection is as good as new.
    let connected = attempt(&format!("{TARGET}:80"), &base(), 500).unwrap();
    assert_eq!(connected.syn_retransmits(), Some(0));
    assert!(connected.handshake_rtt_ns().is_some());
}

#[test]
fn t6_host_unreachable_names_the_router() {
    let set_up = |lab: &Lab| {
        lab.ip(&format!("-n {}r route add unreachable 10.3.0.0/24", lab.name));
        lab.ip(&format!("-n {}r route add unreachable fd03::/64", lab.name));
        None
    };
    if !inside("t6_host_unreachable_names_the_router", set_up) {
        return;
    }
    let error = quick_failure("10.3.0.1:80", &base());
    assert_eq!((error.kind, error.step), (failed(FailureKind::HostUnreachable), ConnectStep::Wait));
    assert_eq!(error.errno, Some(libc::EHOSTUNREACH));
    is_icmp(&error, ROUTER, 3, 1);
    assert_eq!(error.to_string(), "host unreachable (connect, ICMP 3/1 from 10.1.0.2)");

    let error = quick_failure("[fd03::1]:80", &base());
    assert!(error.icmp.as_ref().is_some_and(|icmp| icmp.v6), "{error:?}");
    is_icmp(&error, "fd01::2", 1, 0);
    assert_eq!(error.kind, failed(FailureKind::NetUnreachable));
}

#[test]
fn t8_prohibited_is_filtered_and_not_local() {
    let set_up = |lab: &Lab| {
        lab.ip(&format!("-n {}r route add prohibit 10.4.0.0/24", lab.name));
        lab.ip(&format!("-n {}r route add prohibit fd04::/64", lab.name));
        lab.filter("t", "input", &["tcp dport 83 reject with icmp type net-prohibited"]);
        None
    };
    if !inside("t8_prohibited_is_filtered_and_not_local", set_up) {
        return;
    }
    let error = quick_failure("10.4.0.1:80", &base());
    assert_eq!(error.kind, failed(FailureKind::Filtered));
    is_icmp(&error, ROUTER, 3, 13);
    // Here the kernel says EACCES, which from a call of ours would be a local fault.
    let error = quick_failure("[fd04::1]:80", &base());
    assert_eq!((error.kind, error.errno), (failed(FailureKind::Filtered), Some(libc::EACCES)));
    is_icmp(&error, "fd01::2", 1, 1);
    let error = quick_failure(&format!("{TARGET}:83"), &base());
    assert_eq!(error.kind, failed(FailureKind::Prohibited));
    is_icmp(&error, TARGET, 3, 9);
}

#[test]
fn t9_ttl_exceeded_names_the_hop() {
    if !inside("t9_ttl_exceeded_names_the_hop", |lab| Some(lab.serve())) {
        return;
    }
    let hops = |ttl| SocketOptions { ttl: Some(ttl), ..base() };
    let error = quick_failure(&format!("{TARGET}:80"), &hops(1));
    assert_eq!(error.kind, failed(FailureKind::TtlExceeded));
    is_icmp(&error, ROUTER, 11, 0);
    let error = quick_failure("[fd02::1]:80", &hops(1));
    assert_eq!(error.kind, failed(FailureKind::TtlExceeded));
    is_icmp(&error, "fd01::2", 3, 0);
    attempt(&format!("{TARGET}:80"), &hops(2), 500).unwrap();
}

#[test]
fn an_error_that_comes_later_ends_the_wait_too() {
    let set_up = |lab: &Lab| {
        lab.run("p", "ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev v0");
        None
    };
    if !inside("an_error_that_comes_later_ends_the_wait_too", set_up) {
        return;
    }
    // No error until the second SYN, one second on: by then the router has a route that refuses.
    let adder = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(300));
        in_router("ip route add unreachable 10.5.0.0/24");
    });
    in_router("ip route add blackhole 10.5.0.0/16");
    let error = attempt("10.5.0.1:80", &base(), 5000).unwrap_err();
    adder.join().unwrap();
    is_icmp(&error, ROUTER, 3, 1);
    assert_eq!(error.syn_retransmits(), Some(1));
    let elapsed = error.marks.end - error.marks.dialled.unwrap();
    assert!((900..2000).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[test]
fn a_neighbour_that_does_not_answer_is_unreachable_and_the_sender_is_this_host() {
    const TEST: &str =
        "a_neighbour_that_does_not_answer_is_unreachable_and_the_sender_is_this_host";
    if !inside(TEST, |_| None) {
        return;
    }
    let error = attempt("10.1.0.77:80", &base(), 10_000).unwrap_err();
    assert_eq!(error.kind, failed(FailureKind::HostUnreachable));
    is_icmp(&error, PROBER, 3, 1);
}

#[test]
fn i118_the_local_route_table_says_so_at_once() {
    let set_up = |lab: &Lab| {
        for (kind, net) in [("blackhole", 6), ("unreachable", 7), ("prohibit", 8), ("throw", 9)] {
            lab.ip(&format!("-n {}p route add {kind} 10.{net}.0.0/24", lab.name));
        }
        None
    };
    if !inside("i118_the_local_route_table_says_so_at_once", set_up) {
        return;
    }
    for (to, kind, errno) in [
        ("10.6.0.1:80", local(LocalFaultKind::Route), libc::EINVAL),
        ("10.7.0.1:80", failed(FailureKind::HostUnreachable), libc::EHOSTUNREACH),
        ("10.8.0.1:80", local(LocalFaultKind::Permission), libc::EACCES),
        ("10.9.0.1:80", failed(FailureKind::NetUnreachable), libc::ENETUNREACH),
    ] {
        let error = quick_failure(to, &base());
        assert_eq!((error.kind, error.errno), (kind, Some(errno)), "{to}");
        assert_eq!((error.step, &error.icmp), (ConnectStep::Connect, &None), "{to}");
        assert_eq!(error.syn_retransmits(), None);
    }
}

#[test]
fn t21_the_systems_ports_are_used_up_by_the_fifth() {
    let set_up = |lab: &Lab| {
        lab.run("p", "sysctl -qw net.ipv4.ip_local_port_range=40000\t40003");
        Some(lab.serve())
    };
    if !inside("t21_the_systems_ports_are_used_up_by_the_fifth", set_up) {
        return;
    }
    for source in [None, PROBER.parse().ok()] {
        let options = SocketOptions { source, reset_on_close: true, ..base() };
        let to = format!("{TARGET}:80");
        let held: Vec<_> = (0..4).map(|_| attempt(&to, &options, 500).unwrap()).collect();
        let error = quick_failure(&to, &options);
        assert_eq!(error.kind, local(LocalFaultKind::Address));
        assert_eq!((error.step, error.errno), (ConnectStep::Connect, Some(libc::EADDRNOTAVAIL)));
        drop(held);
    }
}

#[test]
fn t24_a_filter_of_this_host_is_local_where_it_says_so() {
    let set_up = |lab: &Lab| {
        lab.filter(
            "p",
            "output",
            &[
                "tcp dport 91 drop",
                "tcp dport 92 reject",
                "tcp dport 93 reject with tcp reset",
                "tcp dport 94 reject with icmp type admin-prohibited",
            ],
        );
        None
    };
    if !inside("t24_a_filter_of_this_host_is_local_where_it_says_so", set_up) {
        return;
    }
    let error = |port: u16| quick_failure(&format!("{TARGET}:{port}"), &base());
    // Linux keeps a SYN that its own filter drops for a lost one, and tells nobody.
    assert_eq!(error(91).kind, failed(FailureKind::Timeout));
    for (port, code) in [(92, 3), (94, 13)] {
        let error = error(port);
        assert_eq!(error.kind, local(LocalFaultKind::Permission), "{port}");
        is_icmp(&error, PROBER, 3, code);
    }
    assert_eq!(error(93).kind, failed(FailureKind::Refused));
}

#[test]
fn t46_without_timestamps_there_is_a_round_trip_all_the_same() {
    let set_up = |lab: &Lab| {
        lab.run("p", "sysctl -qw net.ipv4.tcp_timestamps=0");
        Some(lab.serve())
    };
    if !inside("t46_without_timestamps_there_is_a_round_trip_all_the_same", set_up) {
        return;
    }
    for to in [format!("{TARGET}:80"), "[fd02::1]:80".into()] {
        let connected = attempt(&to, &base(), 500).unwrap();
        assert_eq!(connected.info().unwrap().timestamps, Some(false));
        let rtt = connected.handshake_rtt_ns().unwrap();
        let marks = connected.marks();
        assert!(rtt > 0 && u128::from(rtt) <= (marks.end - marks.dialled.unwrap()).as_nanos());
    }
}

#[test]
fn an_icmp_error_after_the_handshake_does_not_end_the_connection() {
    const TEST: &str = "an_icmp_error_after_the_handshake_does_not_end_the_connection";
    if !inside(TEST, |lab| Some(lab.serve())) {
        return;
    }
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let connected = attempt(&format!("{TARGET}:80"), &base(), 500).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = connected.into_stream().unwrap();
        in_router("ip route add unreachable 10.2.0.1");
        stream.write_all(b"still there?").await.unwrap();
        let mut answer = [0; 12];
        // Repetitions go out after some 200, 600 ms, each answered by an error.
        let wait = Duration::from_millis(700);
        assert!(timeout(wait, stream.read_exact(&mut answer)).await.is_err(), "cut");
        let info = tcp_info::read(&stream).unwrap();
        assert!(info.total_retransmits.unwrap() >= 1, "{info:?}");
        stream.write_all(b"!").await.expect("no error of the network is pending");
        in_router("ip route del unreachable 10.2.0.1");
        let wait = Duration::from_secs(10);
        timeout(wait, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"still there?");
    });
}
