//! Unix stream sockets.

use std::os::unix::net::{UnixDatagram, UnixListener};

use super::*;
use crate::UnixAddress;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nsd-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> UnixAddress {
        UnixAddress::Path(self.0.join(name).to_str().unwrap().into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn dial(address: &UnixAddress) -> Result<ConnectedUnix, ConnectError> {
    connect_unix(address, UNIX_RETRY, Instant::now).await
}

#[tokio::test]
async fn a_path_and_an_abstract_name_connect() {
    use tokio::io::AsyncWriteExt;

    let folder = Folder::new("both");
    let name = format!("nsd-{}", std::process::id());
    let abstract_name = SockAddr::unix(format!("\0{name}")).unwrap();
    let space = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    space.bind(&abstract_name).unwrap();
    space.listen(1).unwrap();
    let path = folder.path("socket");
    let listeners = [
        (path.clone(), UnixListener::bind(path.to_string()).unwrap()),
        (UnixAddress::Abstract(name.into()), UnixListener::from(std::os::fd::OwnedFd::from(space))),
    ];
    for (address, listener) in listeners {
        let connected = dial(&address).await.unwrap();
        assert_eq!(connected.busy(), 0);
        let peer = connected.peer().unwrap();
        assert_eq!(peer.pid, Some(std::process::id()));
        assert_eq!(peer.uid == 0, is_root());
        connected.into_stream().unwrap().write_all(b"x").await.unwrap();
        let mut got = Vec::new();
        io::Read::read_to_end(&mut listener.accept().unwrap().0, &mut got).unwrap();
        assert_eq!(got, b"x");
    }
}

#[tokio::test]
async fn each_cause_has_its_kind() {
    let folder = Folder::new("causes");
    let kind = async |address: &UnixAddress| {
        let error = dial(address).await.unwrap_err();
        (error.kind, error.errno)
    };
    let nowhere = folder.path("nowhere");
    assert_eq!(kind(&nowhere).await, (failed(FailureKind::NoSuchSocket), Some(libc::ENOENT)));
    let left = folder.path("left");
    drop(UnixListener::bind(left.to_string()).unwrap());
    let refused = (failed(FailureKind::Refused), Some(libc::ECONNREFUSED));
    assert_eq!(kind(&left).await, refused);
    assert_eq!(kind(&UnixAddress::Abstract("nsd-nobody".into())).await, refused);
    let datagrams = folder.path("datagrams");
    let _datagrams = UnixDatagram::bind(datagrams.to_string()).unwrap();
    assert_eq!(kind(&datagrams).await, (failed(FailureKind::NoSuchSocket), Some(libc::EPROTOTYPE)));
    assert_eq!(
        kind(&folder.path("left/under-a-socket")).await,
        (failed(FailureKind::NoSuchSocket), Some(libc::ENOTDIR))
    );
    let long = UnixAddress::Path("x".repeat(108).into());
    assert_eq!(kind(&long).await, (local(LocalFaultKind::Address), None));
}

#[test]
fn a_socket_that_we_may_not_use_is_a_local_fault() {
    const TEST: &str = "io::connect::tests::unix::a_socket_that_we_may_not_use_is_a_local_fault";
    if !is_inside() {
        if is_root() {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]);
            return run_again(TEST, setpriv);
        }
        return run_again(TEST, Command::new("env"));
    }
    let folder = Folder::new("closed");
    let address = folder.path("socket");
    let _listener = UnixListener::bind(address.to_string()).unwrap();
    let mut mode = std::fs::metadata(address.to_string()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0);
    std::fs::set_permissions(address.to_string(), mode).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(dial(&address)).unwrap_err();
    assert_eq!(error.kind, local(LocalFaultKind::Permission));
    assert_eq!(error.errno, Some(libc::EACCES));
}

#[tokio::test]
async fn a_full_queue_is_tried_again_until_there_is_room() {
    let folder = Folder::new("full");
    let address = folder.path("socket");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(address.to_string()).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _held = dial(&address).await.unwrap();
    assert!(timeout(SHORT, dial(&address)).await.is_err(), "no room");

    let waiting = tokio::spawn({
        let address = address.clone();
        async move { dial(&address).await }
    });
    tokio::time::sleep(SHORT).await;
    socket.accept().unwrap();
    let connected = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
    assert!((5..=11).contains(&connected.busy()), "{}", connected.busy());
    let marks = connected.marks();
    assert!(marks.end - marks.dialled.unwrap() >= SHORT - UNIX_RETRY);
}
