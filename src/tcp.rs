//! TCP and Unix stream sockets: connect, TLS, expect/send scripts.

mod report;

pub use report::{AddressReport, Resolution, TcpConnection, TcpReport, UnixReport};
