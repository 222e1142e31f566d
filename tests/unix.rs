//! Unix stream sockets through the prober.
#![cfg(all(feature = "unix", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use check::{checked, code, stuck, within_ms};
use netsonde::script::{Script as Steps, Step};
use netsonde::tcp::{PeerEnd, UnixConfig, UnixProber};
use netsonde::{OutboundPolicy, Phase, Prober, RawCode, Target, UnixAddress};
use netsonde_support::leaks::{self, poll_each_await};
use netsonde_support::{Leaks, Script, Server, TempDir};
use socket2::{Domain, SockAddr, Socket, Type};

const CONNECT: Option<Phase> = Some(Phase::Connect);
const SCRIPT: Option<Phase> = Some(Phase::Script);
const SETUP: Option<Phase> = Some(Phase::Setup);

fn connecting() -> UnixProber {
    UnixProber::new(UnixConfig::default()).unwrap()
}

fn saying(steps: impl IntoIterator<Item = Step>) -> UnixProber {
    UnixProber::new(UnixConfig { script: Steps::new(steps), ..UnixConfig::default() }).unwrap()
}

fn at(folder: &TempDir, name: &str) -> Target {
    UnixAddress::Path(folder.join(name).to_str().unwrap().into()).into()
}

#[tokio::test]
async fn a_path_and_an_abstract_name_connect() {
    let folder = TempDir::new("unix-both");
    let by_path = Server::unix(folder.join("sock"), Script::new().hang());
    let name = format!("netsonde-both-{}", std::process::id());
    let by_name = Server::builder().script(Script::new().hang()).unix_abstract(&name);
    for (target, server) in
        [(at(&folder, "sock"), by_path), (format!("unix:@{name}").parse().unwrap(), by_name)]
    {
        let result = checked(&connecting(), &within_ms(500), target).await;
        assert_eq!(code(&result), ("pass", None));
        let phases: Vec<Phase> = result.timing.spans.iter().map(|span| span.phase).collect();
        assert_eq!(phases, [Phase::Connect, Phase::Close]);
        let connection = result.report.connection.unwrap();
        assert_eq!(connection.busy_retries, 0);
        server.closed(0, Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn the_listener_s_credentials_are_reported() {
    let folder = TempDir::new("unix-creds");
    let _listener = UnixListener::bind(folder.join("sock")).unwrap();
    let result = checked(&connecting(), &within_ms(500), at(&folder, "sock")).await;
    let who = result.report.connection.as_ref().unwrap().credentials.unwrap();
    assert_eq!(who.pid, Some(std::process::id()));
    let owner = std::fs::metadata("/proc/self").unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((who.uid, who.gid), (owner.uid(), owner.gid()));
    assert!(result.to_string().contains(&format!("process {}", std::process::id())), "{result}");
}

#[tokio::test]
async fn each_cause_has_its_code() {
    let folder = TempDir::new("unix-causes");
    let left = folder.join("left");
    drop(UnixListener::bind(&left).unwrap());
    let _datagrams = UnixDatagram::bind(folder.join("datagrams")).unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    let nobody = format!("unix:@netsonde-nobody-{}", std::process::id());
    for (target, expected, errno) in [
        (at(&folder, "nowhere"), "no_such_socket", libc::ENOENT),
        (at(&folder, "file/under"), "no_such_socket", libc::ENOTDIR),
        (at(&folder, "datagrams"), "no_such_socket", libc::EPROTOTYPE),
        (at(&folder, "left"), "refused", libc::ECONNREFUSED),
        (at(&folder, "file"), "refused", libc::ECONNREFUSED),
        (nobody.parse().unwrap(), "refused", libc::ECONNREFUSED),
    ] {
        let result = checked(&connecting(), &within_ms(500), target).await;
        assert_eq!(code(&result), (expected, CONNECT), "{result}");
        let raw = result.verdict.failure().unwrap().raw;
        assert_eq!(raw, Some(RawCode::Errno { value: errno }), "{result}");
        assert_eq!(result.attempts.len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_unix_socket_is_no_target() {
    for text in ["127.0.0.1:80", "name.test"] {
        let target: Target = text.parse().unwrap();
        let result = checked(&connecting(), &within_ms(500), target).await;
        assert_eq!(code(&result), ("unsupported_target", SETUP), "{text}");
    }
    let long: Target = UnixAddress::Path("x".repeat(108).into()).into();
    // It has no text form that could be read back.
    let result = connecting().probe(&long).await;
    assert_eq!(result.verdict.code(), Some("local_address"));
}

#[tokio::test]
async fn the_policy_may_refuse_them() {
    let folder = TempDir::new("unix-policy");
    let server = Server::unix(folder.join("sock"), Script::new().hang());
    let cx = within_ms(500).with_policy(OutboundPolicy::guarded());
    let result = checked(&connecting(), &cx, at(&folder, "sock")).await;
    assert_eq!(code(&result), ("policy", SETUP));
    assert_eq!((result.attempts.len(), server.count()), (0, 0));
}

fn listener_with_a_full_queue(folder: &TempDir) -> (Socket, Socket) {
    let name = SockAddr::unix(folder.join("sock")).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&name).unwrap();
    listener.listen(0).unwrap();
    let first = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    first.connect(&name).unwrap();
    (listener, first)
}

#[tokio::test]
async fn t12_a_full_queue_is_waited_for() {
    let folder = TempDir::new("unix-busy");
    let (listener, _first) = listener_with_a_full_queue(&folder);
    let result = checked(&connecting(), &within_ms(100), at(&folder, "sock")).await;
    assert_eq!(code(&result), ("timeout", CONNECT));
    assert!(result.quality.timer_lag_ns.is_some());
    assert_eq!(result.report.connection, None);
    assert_eq!(result.attempts[0].verdict.as_ref(), Some(&result.verdict));

    let room = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        listener.accept().unwrap();
        listener
    });
    let result = checked(&connecting(), &within_ms(2000), at(&folder, "sock")).await;
    assert_eq!(code(&result), ("pass", None));
    assert!(result.report.connection.as_ref().unwrap().busy_retries >= 5, "{result:?}");
    assert!(result.timing.phase(Phase::Connect).unwrap() >= Duration::from_millis(90));
    room.join().unwrap();
}

#[tokio::test]
async fn scripts_run_over_them() {
    let folder = TempDir::new("unix-script");
    let script =
        Script::new().expect("*1\r\n$4\r\nPING\r\n").send_each("+PONG\r\n", Duration::ZERO);
    let server = Server::unix(folder.join("redis"), script);
    let dialogue = Some("redis".parse::<netsonde::script::Dialogue>().unwrap());
    let prober = UnixProber::new(UnixConfig { dialogue, ..UnixConfig::default() }).unwrap();
    let result = checked(&prober, &within_ms(1000), at(&folder, "redis")).await;
    assert_eq!(stuck(&result), ("pass", None, None), "{result}");
    assert_eq!(result.report.script.as_ref().unwrap().steps[1].matched.as_deref(), Some("+PONG"));
    drop(server);

    for (script, steps, expected, end) in [
        (Script::new().hang(), [Step::expect("^ok")], ("timeout", SCRIPT, Some(0)), None),
        (Script::new(), [Step::expect("^ok")], ("closed", SCRIPT, Some(0)), Some(PeerEnd::Closed)),
        (
            Script::new().never_read(),
            [Step::send("x".repeat(10 << 20))],
            ("timeout", SCRIPT, Some(0)),
            None,
        ),
        (
            Script::new().read(100).close(),
            [Step::send("x".repeat(10 << 20))],
            ("reset", SCRIPT, Some(0)),
            None,
        ),
    ] {
        let server = Server::unix(folder.join("sock"), script);
        let result = checked(&saying(steps), &within_ms(150), at(&folder, "sock")).await;
        assert_eq!(stuck(&result), expected, "{result}");
        if end.is_some() {
            assert_eq!(result.report.peer_end, end);
        }
        drop(server);
    }
}

#[test]
fn t76_dropped_at_every_await_point() {
    leaks::isolated(async || {
        let folder = TempDir::new("unix-drop");
        let script = Script::new().send_each("220 hi\r\n", Duration::from_millis(3)).read_line();
        let server = Server::unix(folder.join("sock"), script);
        let prober = saying([Step::expect("^220"), Step::send("bye\r\n"), Step::expect("^221")]);
        let (cx, target) = (within_ms(200), at(&folder, "sock"));
        checked(&prober, &cx, target.clone()).await;
        let leaks = Leaks::baseline();
        for _ in 0..10 {
            let after_drop = async |_| {
                let dropped = Instant::now();
                leaks.assert_back_to_base(Duration::from_secs(2)).await;
                let closed = server.connections().into_iter().filter_map(|c| Some(c.closed()?.at));
                let late = closed.max().map(|at| at.saturating_duration_since(dropped));
                assert!(late.unwrap_or_default() <= Duration::from_millis(100), "{late:?}");
            };
            let polls = poll_each_await(|| prober.probe_with(&cx, &target), after_drop).await;
            assert!(polls >= 5, "{polls} await points");
        }
    });
}
