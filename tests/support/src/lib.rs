//! What netsonde's tests stand on: scripted servers, certificates made at test time, TLS servers that
//! misbehave, real daemons, network namespaces, and counters that show what a probe left behind.
//!
//! Nothing here knows netsonde, so the unit tests of the library can use it as well as those of the
//! programs. A helper panics when it cannot do its work: in a test, that is the report wanted.
//!
//! ```
//! use netsonde_support::{Pki, Script, Server, TlsServer};
//!
//! // A banner server, and the same one behind TLS with a chain made a moment ago.
//! let plain = Server::tcp(Script::new().send("220 hello\r\n").read_line());
//! let pki = Pki::new();
//! let tls = TlsServer::new(pki.leaf("good.test").issue());
//! let secure = Server::tcp(Script::new().start_tls(&tls).send("220 hello\r\n"));
//! assert_ne!(plain.addr(), secure.addr());
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "test support: a panic is a failed test, and no one outside this workspace builds on it"
)]

pub mod daemon;
pub mod leaks;
pub mod netns;
pub mod packet;
pub mod pki;
pub mod relay;
pub mod rights;
pub mod server;
pub mod skip;
mod sys;
mod temp;
pub mod tls;

pub use daemon::Daemon;
pub use leaks::Leaks;
pub use netns::{Lab, Namespace};
pub use pki::{Authority, Issued, Key, Pki};
pub use relay::{Fate, Flow, Point, Relay};
pub use server::{
    Closed, ClosedPort, Connection, End, FullBacklog, Script, Server, Step, Unaccepted,
};
pub use skip::{require_command, require_root, skip};
pub use temp::TempDir;
pub use tls::TlsServer;
