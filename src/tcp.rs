//! TCP and Unix stream sockets: connect, TLS, expect/send scripts.

mod info;
mod options;
mod report;

pub use info::{TcpInfo, TcpState};
pub use options::SocketOptions;
pub use report::{AddressReport, Resolution, TcpConnection, TcpReport, UnixReport};
