//! The targets of the demo, all on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use netsonde_support::{Authority, ClosedPort, Pki, Script, Server, TempDir, TlsServer};

/// Every target, running until dropped; files and sockets go with them.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) banner: Server,
    pub(crate) smtp: Server,
    pub(crate) tls: Server,
    pub(crate) expired: Server,
    pub(crate) wrong_name: Server,
    pub(crate) untrusted: Server,
    pub(crate) slow: Server,
    pub(crate) silent: Server,
    pub(crate) resetting: Server,
    pub(crate) refusing: ClosedPort,
    _unix: Server,
    /// The target as `sonde` takes it.
    pub(crate) unix_target: String,
    folder: TempDir,
}

/// The longest path that the kernel takes (unix(7)), without the NUL behind it.
const SOCKET_PATH: usize = 107;

impl Servers {
    /// Makes certificates and starts everything.
    ///
    /// # Errors
    /// The folder for the authority's certificate cannot be written.
    pub(crate) fn start() -> Result<Self, String> {
        let folder = TempDir::new("demo");
        let pki = Pki::new();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, pki.root.pem())
            .map_err(|error| format!("{}: {error}", ca.display()))?;
        let greeting = folder.join("greeting.yml");
        std::fs::write(&greeting, GREETING)
            .map_err(|error| format!("{}: {error}", greeting.display()))?;

        let www = pki.leaf("www.demo.test").dns("api.demo.test").issue();
        let mail = TlsServer::new(pki.leaf("mail.demo.test").issue());
        let stranger = Authority::root("Somebody Else's Root");
        let secure = |issued| Server::tcp(Script::new().start_tls(&TlsServer::new(issued)));

        let redis = Script::new().read_until("PING\r\n").send("+PONG\r\n");
        let socket = folder.join("redis.sock");
        let (unix, unix_target) = if socket.as_os_str().len() <= SOCKET_PATH {
            let target = format!("unix:{}", socket.display());
            (Server::unix(socket, redis), target)
        } else {
            let name = format!("sonde-demo-{}", std::process::id());
            (Server::builder().script(redis).unix_abstract(&name), format!("unix:@{name}"))
        };

        Ok(Servers {
            banner: Server::tcp(Script::new().send("SSH-2.0-demo_9.9 not a real one\r\n")),
            smtp: Server::tcp(
                Script::new()
                    .send("220 mail.demo.test ESMTP\r\n")
                    .read_line()
                    .send("250-mail.demo.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
                    .read_line()
                    .send("220 go ahead\r\n")
                    .start_tls(&mail),
            ),
            tls: secure(www),
            expired: secure(pki.leaf("old.demo.test").days(-90, -3).issue()),
            wrong_name: secure(pki.leaf("other.demo.test").issue()),
            untrusted: secure(stranger.leaf("odd.demo.test").issue()),
            slow: Server::tcp(
                Script::new().pause(Duration::from_millis(300)).send("220 sorry, busy\r\n"),
            ),
            silent: Server::tcp(Script::new().hang()),
            resetting: Server::tcp(Script::new().read(1).rst()),
            refusing: ClosedPort::v4(),
            _unix: unix,
            unix_target,
            folder,
        })
    }

    /// The certificate of the authority that most targets have theirs from.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A script that waits for a greeting.
    pub(crate) fn greeting(&self) -> PathBuf {
        self.folder.join("greeting.yml")
    }

    /// What runs where.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, String)> {
        let internet: [(&str, SocketAddr); 10] = [
            ("banner", self.banner.addr()),
            ("smtp", self.smtp.addr()),
            ("tls", self.tls.addr()),
            ("expired", self.expired.addr()),
            ("wrong-name", self.wrong_name.addr()),
            ("untrusted", self.untrusted.addr()),
            ("slow", self.slow.addr()),
            ("silent", self.silent.addr()),
            ("resetting", self.resetting.addr()),
            ("refusing", self.refusing.addr()),
        ];
        let mut all: Vec<(&str, String)> =
            internet.into_iter().map(|(name, address)| (name, address.to_string())).collect();
        all.push(("unix", self.unix_target.clone()));
        all
    }
}

const GREETING: &str = "\
steps:
  - name: greeting
    expect: '^220 (?P<text>.*)'
    reject: '^[45]'
    labels: [{name: greeting, value: '${text}'}]
";
