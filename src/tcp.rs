//! TCP and Unix stream sockets: connect, TLS, expect/send scripts.
//!
//! Configurations, reports and expectations are plain data and always compiled; the probers are
//! behind the features `tcp` and `unix`.

mod config;
mod describe;
mod expect;
mod info;
mod options;
#[cfg(feature = "tcp")]
mod prober;
mod report;

pub use config::{TcpConfig, UnixConfig};
pub use expect::{StreamExpect, TcpExpect};
pub use info::{TcpInfo, TcpState};
pub use options::SocketOptions;
pub(crate) use options::is_interface_name;
#[cfg(feature = "tcp")]
pub use prober::TcpProber;
#[cfg(all(unix, feature = "unix"))]
pub use prober::UnixProber;
pub use report::{
    AddressReport, PeerCredentials, PeerEnd, RefusedAddress, Resolution, TcpConnection, TcpReport,
    UnixConnection, UnixReport,
};
