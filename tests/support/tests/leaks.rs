//! The leak counter, and the process of its own that it needs.

use std::time::Duration;

use netsonde_support::leaks::{
    Counts, isolated, isolated_blocking, poll_each_await, set_descriptor_limit,
};
use netsonde_support::{Leaks, Script, Server};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(2);

#[test]
fn sockets_tasks_and_threads_are_found_until_they_are_gone() {
    isolated(async || {
        let server = Server::tcp(Script::new().hang());
        let leaks = Leaks::baseline();
        assert_eq!(leaks.found(), Vec::<String>::new());

        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let task = tokio::spawn(std::future::pending::<()>());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        server.until(SOON, |all| all.first().map(drop)).await;
        let found = leaks.found().join("\n");
        // Both ends of the connection are in this process.
        assert_eq!(found.matches("socket:").count(), 2, "{found}");
        assert!(found.contains("1 more tasks") && found.contains("1 more threads"), "{found}");

        drop(stream);
        task.abort();
        drop(stop);
        _ = thread.join();
        leaks.assert_back_to_base(SOON).await;
    });
}

#[test]
fn what_stays_is_named_in_the_panic() {
    isolated(async || {
        let leaks = Leaks::baseline();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            leaks.blocking_assert_back_to_base(Duration::from_millis(20));
        }));
        let message = *outcome.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("socket:["), "{message}");
        drop(listener);
        leaks.blocking_assert_back_to_base(SOON);
    });
}

#[test]
fn a_future_dropped_at_each_await_leaves_nothing() {
    isolated(async || {
        let server = Server::tcp(Script::new().send_each("abc", Duration::from_millis(2)));
        let leaks = Leaks::baseline();
        let make = || async {
            let mut stream = TcpStream::connect(server.addr()).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"abc");
        };
        let polls = poll_each_await(make, async |_| leaks.assert_back_to_base(SOON).await).await;
        assert!(polls > 3, "{polls}");
        leaks.assert_back_to_base(SOON).await;
        let closed = server.connections().iter().filter(|one| one.closed().is_some()).count();
        assert!(closed + 1 >= server.count());
    });
}

#[test]
fn a_servers_own_thread_and_descriptors_go_with_it() {
    isolated_blocking(|| {
        drop(Server::tcp(Script::new()));
        let before = Counts::now();
        for _ in 0..20 {
            drop(Server::tcp(Script::new()));
        }
        assert_eq!(Counts::now(), before);
    });
}

#[test]
fn a_waiting_connection_costs_little() {
    isolated(async || {
        const COUNT: usize = 2_000;
        for script in [Script::new().hang(), Script::new().never_read(), Script::new().read(1)] {
            let server = Server::tcp(script);
            let leaks = Leaks::baseline();
            let mut streams = Vec::new();
            for _ in 0..COUNT {
                streams.push(TcpStream::connect(server.addr()).await.unwrap());
            }
            server.until(SOON, |all| (all.len() == COUNT).then_some(())).await;
            // Both ends, tasks, log.
            let each = leaks.growth() / COUNT as u64;
            println!("{each} bytes for a connection");
            assert!(each < 6 << 10, "{each} bytes for a connection");
            drop(streams);
            server
                .until(SOON, |all| all.iter().all(|one| one.closed().is_some()).then_some(()))
                .await;
        }
    });
}

#[test]
fn descriptors_run_out_at_the_limit() {
    isolated_blocking(|| {
        assert_eq!(set_descriptor_limit(20), 20);
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null")).collect();
        let error = files.into_iter().find_map(Result::err).unwrap();
        assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
        assert!(set_descriptor_limit(u64::MAX) > 20);
    });
}

#[test]
#[should_panic(expected = "failed in its own process")]
fn a_failure_in_the_other_process_is_one_here() {
    isolated_blocking(|| panic!("on purpose"));
}
