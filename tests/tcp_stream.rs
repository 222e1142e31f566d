//! After the handshake: the rows of the fault list that loopback can make.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use check::{
    checked, code, connecting, in_own_process, peer_end, run_own_process, saying, script_of, stuck,
    within_ms,
};
use netsonde::script::Step;
use netsonde::tcp::PeerEnd;
use netsonde::{Event, Observer, Phase, Prober};
use netsonde_support::{Script, Server};

const SCRIPT: Option<Phase> = Some(Phase::Script);

#[tokio::test]
async fn t33_immediate_fin_without_a_script() {
    let server = Server::tcp(Script::new());
    for _ in 0..50 {
        let result = checked(&connecting(), &within_ms(500), server.addr()).await;
        assert_eq!(code(&result), ("pass", None));
    }
}

#[tokio::test]
async fn t34_immediate_fin_while_a_script_waits() {
    let server = Server::tcp(Script::new());
    let prober = saying([Step::expect("^220")]);
    let result = checked(&prober, &within_ms(500), server.addr()).await;
    assert_eq!(stuck(&result), ("closed", SCRIPT, Some(0)));
    assert_eq!(peer_end(&result), Some(PeerEnd::Closed));
    assert_eq!(script_of(&result).bytes_received, 0);
}

#[tokio::test]
async fn t36_reset_racing_the_connect_result() {
    let server = Server::tcp(Script::new().rst());
    let probers = [connecting(), saying([Step::expect("^220")])];
    let mut seen = [0; 2];
    for turn in 0..400 {
        let prober = &probers[turn % 2];
        let result = checked(prober, &within_ms(1000), server.addr()).await;
        let waits = turn % 2 == 1;
        match code(&result) {
            ("pass", None) if !waits => seen[0] += 1,
            ("reset", Some(Phase::Connect)) => seen[1] += 1,
            ("reset", SCRIPT) if waits => seen[1] += 1,
            _ => panic!("{result}"),
        }
    }
    assert!(seen[1] >= 200, "a script that waits sees the reset: {seen:?}");
}

#[tokio::test]
async fn t37_peer_silent() {
    let server = Server::tcp(Script::new().hang());
    let prober = saying([Step::send("hello\n"), Step::expect("^220")]);
    let result = checked(&prober, &within_ms(150), server.addr()).await;
    assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(1)));
    assert_eq!(peer_end(&result), None);
    assert!(result.quality.timer_lag_ns.is_some());
    assert_eq!(script_of(&result).bytes_sent, 6);
}

#[tokio::test]
async fn t40_zero_window_that_opens_later() {
    let size = 3 << 20;
    let server = Server::builder()
        .receive_buffer(4096)
        .keep(0)
        .script(Script::new().pause(Duration::from_millis(500)).read(size).send("ok\n"))
        .tcp();
    let prober = saying([Step::send("x".repeat(size)), Step::expect("^ok$")]);
    let result = checked(&prober, &within_ms(5000), server.addr()).await;
    assert_eq!(code(&result), ("pass", None));
    assert!(result.timing.phase(Phase::Script).unwrap() >= Duration::from_millis(500));
    assert_eq!(script_of(&result).bytes_sent, size as u64);
    assert_eq!(server.connection(0).received_count, size as u64);
}

/// A listener whose connections announce segments of 88 bytes, the least that Linux takes.
fn tiny_segments() -> (TcpListener, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_tcp_mss(88).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn t41_mss_88() {
    let (listener, address) = tiny_segments();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut got = vec![0; 10_000];
        peer.read_exact(&mut got).unwrap();
        peer.write_all(&got).unwrap();
        peer.write_all(b"\n").unwrap();
        peer.read_to_end(&mut got).unwrap();
    });
    let text: String = ('a'..='z').cycle().take(10_000).collect();
    let prober = saying([Step::send(text.clone()), Step::expect(format!("^{text}$"))]);
    let result = checked(&prober, &within_ms(3000), address).await;
    assert_eq!(code(&result), ("pass", None));
    let connection = result.report.connection.as_ref().unwrap();
    let mss = connection.at_connect.as_ref().unwrap().snd_mss.unwrap();
    assert!(mss <= 88, "{mss}");
    drop(result);
    server.join().unwrap();
}

/// An urgent byte stands in the stream where it was sent (`SO_OOBINLINE`, socket(7)).
#[tokio::test]
async fn t45_urgent_byte_stays_in_its_place() {
    let server = Server::tcp(Script::new().send("ab").urgent(b'!').send("cd\n").hang());
    let prober = saying([Step::expect("^ab!cd$")]);
    for _ in 0..20 {
        let result = checked(&prober, &within_ms(500), server.addr()).await;
        assert_eq!(code(&result), ("pass", None));
    }
    // Alone, first, and the last of all.
    for (script, pattern) in [
        (Script::new().urgent(b'!').hang(), "^!"),
        (Script::new().urgent(b'!').send("x").hang(), "^!x"),
        (Script::new().send("x").urgent(b'!'), "^x!"),
        (Script::new().urgent(b'1').urgent(b'2').hang(), "^12"),
    ] {
        let server = Server::tcp(script);
        let prober = saying([Step::expect_raw(pattern)]);
        let result = checked(&prober, &within_ms(500), server.addr()).await;
        assert_eq!(code(&result), ("pass", None), "{pattern}");
    }
}

const STOPPED: &str = "t48_process_stopped_for_3_s";

#[test]
fn t48_process_stopped_for_3_s() {
    // The process that is stopped is another one: this one stops it and lets it go on.
    if std::env::var_os("NETSONDE_TEST_ALONE").is_none() {
        return stop_and_continue();
    }
    assert!(in_own_process(STOPPED, ""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::tcp(Script::new().hang());
        let prober = saying([Step::expect("^220")]);
        println!("probing");
        let started = Instant::now();
        let result = checked(&prober, &within_ms(1500), server.addr()).await;
        assert!(started.elapsed() >= Duration::from_secs(3), "it was not stopped");
        assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(0)));
        let lag = Duration::from_nanos(result.quality.timer_lag_ns.unwrap());
        assert!(lag >= Duration::from_millis(1000), "{lag:?}");
        assert!(result.timing.total() >= Duration::from_secs(3));
    });
}

/// An answer that is there when the process goes on counts, and the result says how late that was.
#[tokio::test]
async fn t48_an_answer_that_came_while_nobody_looked() {
    let banner = Script::new().pause(Duration::from_millis(50)).send("220 hi\n").hang();
    let server = Server::tcp(banner);
    let cx = within_ms(150).with_observer(Arc::new(Sleeper));
    let target = server.addr().into();
    let result = saying([Step::expect("^220")]).probe_with(&cx, &target).await;
    check::check(&result);
    assert_eq!(code(&result), ("pass", None), "{result}");
    let lag = Duration::from_nanos(result.quality.timer_lag_ns.unwrap());
    let range = Duration::from_millis(240)..=result.timing.total();
    assert!(range.contains(&lag), "{lag:?} of {:?}", result.timing.total());
    // In time, there is nothing to tell.
    let result = checked(&saying([Step::expect("^220")]), &within_ms(2000), target).await;
    assert_eq!((code(&result), result.quality.timer_lag_ns), (("pass", None), None));
}

/// Keeps the probe's thread from running when the script begins.
#[derive(Debug)]
struct Sleeper;

impl Observer for Sleeper {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Entered { phase: Phase::Script, .. }) {
            std::thread::sleep(Duration::from_millis(400));
        }
    }
}

fn stop_and_continue() {
    let mut child =
        run_own_process(STOPPED, "").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut output = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    while !output.contains("probing") {
        assert_ne!(std::io::BufRead::read_line(&mut stdout, &mut output).unwrap(), 0, "{output}");
    }
    std::thread::sleep(Duration::from_millis(100));
    let signal = |name: &str| {
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    };
    signal("STOP");
    std::thread::sleep(Duration::from_secs(3));
    signal("CONT");
    stdout.read_to_string(&mut output).unwrap();
    print!("{output}");
    assert!(child.wait().unwrap().success() && output.contains("1 passed"), "{output}");
}
