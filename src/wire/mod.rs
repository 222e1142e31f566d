//! Packets as bytes and as values: IP, ICMP for both families with the packets they quote and their
//! extensions, UDP and TCP headers.
//!
//! There is no clock and no socket here, and reading allocates nothing. A *view* is checked once,
//! when it is parsed; none of its accessors can fail or panic after that. A *repr* is an owned
//! description that emits a packet, with its checksums, at the end of a `Vec<u8>`.
//!
//! ```
//! use netsonde::wire::icmp::{EchoRepr, Icmp};
//!
//! let mut packet = Vec::new();
//! EchoRepr::request(0x1234, 7, b"hello").emit(&mut packet);
//! assert!(netsonde::wire::icmp::checksum_ok(&packet));
//! let Icmp::EchoRequest(echo) = Icmp::parse(&packet)? else { panic!("not an echo request") };
//! assert_eq!((echo.id(), echo.seq(), echo.payload()), (0x1234, 7, &b"hello"[..]));
//! # Ok::<(), netsonde::wire::WireError>(())
//! ```

pub mod checksum;
pub mod dns;
mod error;
pub mod extension;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
mod quote;
pub mod reader;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod udp;

pub use error::{WireError, WireErrorKind};
