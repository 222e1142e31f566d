use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;

use socket2::SockRef;

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn client(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn steps_run_in_their_order() {
    let server = Server::tcp(
        Script::new()
            .send("hello\r\n")
            .read_line()
            .read(3)
            .read_until("END")
            .expect("x")
            .pause(Duration::from_millis(20))
            .send_each("slow", Duration::from_millis(1))
            .fin()
            .read_to_end(),
    );
    let mut stream = client(&server);
    let start = Instant::now();
    stream.write_all(b"a line\nabc more ENDx").unwrap();
    assert_eq!(read_all(&stream), b"hello\r\nslow");
    assert!(start.elapsed() >= Duration::from_millis(24));
    drop(stream);
    let seen = server.blocking_until(SOON, |all| all[0].outcome.clone().map(|_| all[0].clone()));
    assert_eq!(seen.outcome, Some(Ok(())));
    assert_eq!(seen.received, b"a line\nabc more ENDx");
    assert_eq!((seen.received_count, seen.sent_count), (20, 11));
}

#[test]
fn an_unexpected_byte_ends_the_script_with_a_reason() {
    let server = Server::tcp(Script::new().expect("abc").send("never"));
    let mut stream = client(&server);
    stream.write_all(b"abd").unwrap();
    assert_eq!(read_all(&stream), b"");
    let seen = server.connection(0);
    assert_eq!(seen.outcome.unwrap().unwrap_err(), r#"expected "abc", received "abd""#);
}

#[test]
fn every_connection_has_its_script_and_the_last_one_repeats() {
    let server = Server::builder()
        .script(Script::new().send("first"))
        .script(Script::new().send("later"))
        .tcp();
    let answers: Vec<_> = (0..3).map(|_| read_all(client(&server))).collect();
    assert_eq!(answers, [b"first", b"later", b"later"]);
}

#[test]
fn rst_and_fin_of_the_server_are_told_apart_by_the_client() {
    let server = Server::builder().script(Script::new().rst()).script(Script::new().fin()).tcp();
    let reset = client(&server).read(&mut [0]).unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(client(&server).read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_peers_close_is_seen_within_100_ms_whatever_the_script_does() {
    for script in [
        Script::new().hang(),
        Script::new().never_read(),
        Script::new().pause(SOON),
        Script::new().read(1_000_000),
        Script::new().run(async |conn| {
            tokio::time::sleep(SOON).await;
            conn.send(b"").await
        }),
    ] {
        for end in [End::Fin, End::Reset] {
            let server = Server::tcp(script.clone());
            let mut stream = client(&server);
            // Unread bytes must not hide the close.
            stream.write_all(b"some bytes").unwrap();
            server.blocking_until(SOON, |all| all.first().map(drop));
            std::thread::sleep(Duration::from_millis(10));
            assert!(server.connection(0).closed().is_none());
            if end == End::Reset {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let before = Instant::now();
            drop(stream);
            let closed = server.blocking_closed(0, SOON);
            assert!(closed.at - before < Duration::from_millis(100), "{closed:?}");
            server.blocking_until(SOON, |all| all[0].closed().filter(|one| one.end == end));
        }
    }
}

#[test]
fn a_peer_that_never_reads_stalls_the_sender() {
    let server = Server::builder().receive_buffer(2048).script(Script::new().never_read()).tcp();
    let mut stream = client(&server);
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        match stream.write(&[b'x'; 64 << 10]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert!(sent < 8 << 20, "{sent} bytes were taken");
    assert_eq!(server.connection(0).received_count, 0);
}

#[test]
fn a_flood_goes_on_until_the_client_has_enough() {
    let server = Server::tcp(Script::new().send_forever("line\n"));
    let mut stream = client(&server);
    let mut taken = 0;
    let mut chunk = vec![0; 64 << 10];
    while taken < 50 << 20 {
        taken += stream.read(&mut chunk).unwrap();
    }
    drop(stream);
    server.blocking_closed(0, SOON);
}

#[test]
fn an_urgent_byte_is_sent() {
    let server = Server::tcp(Script::new().send("ab").urgent(b'!').send("cd"));
    let stream = client(&server);
    // Inline, the byte shows up in its place.
    SockRef::from(&stream).set_out_of_band_inline(true).unwrap();
    assert_eq!(read_all(&stream), b"ab!cd");
}

#[test]
fn repeat_makes_an_echo() {
    let server = Server::tcp(
        Script::new()
            .run(async |conn| {
                let line = conn.read_line().await?;
                conn.send(&line).await
            })
            .repeat(),
    );
    let mut stream = client(&server);
    for text in [b"one\n", b"two\n"] {
        stream.write_all(text).unwrap();
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, text);
    }
}

#[test]
fn unix_sockets_take_the_same_scripts() {
    let path = std::env::temp_dir().join(format!("support-{}.sock", std::process::id()));
    {
        let server = Server::unix(&path, Script::new().send("hi\n").read_line());
        let mut stream = UnixStream::connect(server.path().unwrap()).unwrap();
        stream.write_all(b"yo\n").unwrap();
        assert_eq!(read_all(&stream), b"hi\n");
        drop(stream);
        assert_eq!(server.blocking_closed(0, SOON).end, End::Fin);
        assert_eq!(server.connection(0).text(), "yo\n");
    }
    assert!(!path.exists());

    let name = format!("support-{}", std::process::id());
    let _server = Server::builder().script(Script::new().send("abstract")).unix_abstract(&name);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    assert_eq!(read_all(UnixStream::connect_addr(&address).unwrap()), b"abstract");
}

#[test]
fn ipv6_works_alike() {
    let Some(()) = crate::skip::require_ipv6() else { return };
    let server = Server::tcp6(Script::new().send("six"));
    assert_eq!(read_all(client(&server)), b"six");
    let full = FullBacklog::v6();
    assert!(TcpStream::connect_timeout(&full.addr(), Duration::from_millis(50)).is_err());
    assert!(TcpStream::connect(ClosedPort::v6().addr()).is_err());
}

#[test]
fn dropping_the_server_closes_listener_and_connections() {
    let server = Server::tcp(Script::new().hang());
    let address = server.addr();
    let mut stream = client(&server);
    server.blocking_until(SOON, |all| all.first().map(drop));
    drop(server);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_stop_the_server() {
    let server = Server::tcp(Script::new().pause(Duration::from_millis(30)).send("x"));
    let stream = client(&server);
    assert_eq!(read_all(&stream), b"x");
    drop(stream);
    assert_eq!(server.closed(0, SOON).await.end, End::Fin);
    assert_eq!(server.finished(0, SOON).await.outcome, Some(Ok(())));
}
