//! The leak counter, and the process of its own that it needs.

use std::time::Duration;

use netsonde_support::leaks::{Counts, isolated, isolated_blocking, poll_each_await};
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
#[should_panic(expected = "failed in its own process")]
fn a_failure_in_the_other_process_is_one_here() {
    isolated_blocking(|| panic!("on purpose"));
}
