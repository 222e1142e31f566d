//! A network laboratory: networks made of namespaces, lines that hold packets for a known time,
//! responders that answer as they are told, and captures that say what really happened.
//!
//! Nothing here knows netsonde: it is what netsonde's figures are held against, so packets are made
//! and read by code of its own. Linux only, as root; elsewhere a test reports that it was skipped.
//!
//! ```no_run
//! # fn test() {
//! use std::time::Duration;
//! use netsonde_lab::{Capture, Net, Program, Topology};
//!
//! // 10 ms each way, and the fourth request never arrives.
//! let ten_ms = Duration::from_millis(10);
//! let (forth, back) = (Program::delay(ten_ms).lose([3]), Program::delay(ten_ms));
//! let net = Net::with_line("example", &Topology::default(), forth, back);
//! let Some(net) = net else { return };
//! let capture = Capture::start(&net.near);
//! // A probe of net.target, inside of net.client.
//! net.client.run(|| ());
//! let marks = capture.end();
//! let truth = marks.echo_rtt(1, 1, net.target[0]);
//! # _ = truth;
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "test support: a panic is a failed test, and no one outside this workspace builds on it"
)]
#![cfg(target_os = "linux")]

pub mod blast;
pub mod busy;
pub mod capture;
pub mod delayline;
pub mod echo;
pub mod leakcheck;
pub mod marks;
pub mod netlab;
pub mod ping;
pub mod program;
mod pump;
pub mod responder;
pub mod scenario;
mod set;

pub use busy::{Flood, Hogs};
pub use capture::Capture;
pub use delayline::{Carried, DelayLine, Held};
pub use leakcheck::LeakCheck;
pub use marks::Marks;
pub use netlab::{Lines, Net, Topology};
pub use program::{Passage, Passing, Program, Rules, Subject};
pub use pump::Health;
pub use responder::Responder;
pub use set::{BadSet, Set};
