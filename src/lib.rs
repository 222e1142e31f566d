//! Measure a network endpoint the way an outsider sees it, and be able to say how it was measured.
//!
//! ```
//! use netsonde::tcp::{TcpConfig, TcpProber};
//! use netsonde::tls::TlsConfig;
//! use netsonde::{Prober, Verdict};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?.to_string();
//! # drop(listener);
//! let config = TcpConfig { tls: Some(TlsConfig::default()), ..TcpConfig::default() };
//! let result = TcpProber::new(config)?.probe(&address.parse()?).await;
//! match &result.verdict {
//!     Verdict::Pass => println!("fine, in {:?}", result.timing.total()),
//!     Verdict::Fail(failure) => println!("{}: {failure}", failure.code()),
//!     Verdict::Unknown(fault) => println!("could not find out: {fault}"),
//!     _ => {}
//! }
//! println!("{result}"); // a waterfall of the phases
//! # assert_eq!(result.verdict.code(), Some("refused"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The parts
//!
//! - A [`Prober`] is made once from its configuration and probes any number of targets:
//!   [`tcp::TcpProber`] connects, speaks TLS and runs expect/send scripts; [`tcp::UnixProber`] does
//!   the same over Unix sockets; [`icmp::IcmpProber`] sends echo requests through one
//!   [`icmp::IcmpEngine`] for all targets; [`icmp::trace::TraceProber`] finds the routers on the way;
//!   [`dns::DnsProber`] asks name servers.
//!   [`Probe`] binds a prober to a target and hides its type.
//! - A [`Target`] is a [`Host`], an [`Endpoint`] or a [`UnixAddress`], each with a text form.
//! - A [`ProbeResult`] is all that one probe found out: verdict, phases, every address tried, how
//!   good the figures are, and a report of its kind. It is JSON both ways, and its `Display` is a
//!   waterfall.
//! - A [`Verdict`] is pass, fail or unknown. A [`Failure`] says what, where and whose; trouble of this
//!   host is a [`LocalFault`], never an outage of the target. Codes are stable.
//! - [`judge`] applies an [`Expectation`] to a result, clause by clause, also to a stored one.
//! - A [`ProbeContext`] carries what surrounds a probe: timeout, resolver, outbound policy,
//!   observer, clock.
//! - [`script`] has expect/send scripts as data and ready dialogues; [`engine::script`] runs them
//!   without any IO. [`tls`] has what to trust and what was seen.
//!
//! # What holds everywhere
//!
//! - A probe that fails is a result; [`Error`] is only for set-up.
//! - What did not happen is `None`, never zero. The spans of a [`Timing`] tile the probe exactly.
//! - Dropping the future of a probe frees all it holds: descriptors, timers, memory. The one
//!   exception is the system's resolver, which cannot be interrupted; see [`SystemResolver`].
//! - No retries that nobody asked for, no globals, no threads of its own, no tasks but that of an
//!   [`icmp::IcmpEngine`].
//! - Every cap has a default that can be changed, and says so when it is hit.
//!
//! # Features
//!
//! All are additive. Without any, the data types remain: results can be read, judged and shown.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tcp` | yes | [`tcp::TcpProber`]; needs a tokio runtime with IO and time |
//! | `unix` | yes | [`tcp::UnixProber`] |
//! | `icmp` | yes | [`icmp::IcmpProber`], [`icmp::trace::TraceProber`], [`icmp::mtu::MtuProber`] (Linux), the [engine](engine::echo) |
//! | `dns` | yes | [`dns::DnsProber`] (Linux; over TLS with the feature `tls`), [`StubResolver`], the [engine](engine::query) |
//! | `script` | with `tcp` | [`engine::script`] |
//! | `tls` | yes | TLS in the probers; needs a provider |
//! | `ring` | yes | *ring* as the provider of cryptography |
//! | `aws-lc-rs` | no | aws-lc-rs as the provider: post-quantum key exchange, P-521 |
//! | `webpki-roots` | yes | Mozilla's trusted roots, compiled in |
//! | `native-roots` | yes | the trusted roots of the system |
//! | `idna` | yes | names outside ASCII |

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod clock;
pub mod dns;
mod duration;
#[cfg(any(feature = "script", feature = "icmp", feature = "dns"))]
pub mod engine;
mod error;
mod expect;
pub mod icmp;
#[cfg(any(feature = "tcp", feature = "icmp"))]
mod io;
mod limits;
mod observe;
mod policy;
mod probe;
mod render;
mod report;
mod resolve;
pub mod script;
mod secret;
#[cfg(feature = "dns")]
mod stub;
mod target;
pub mod tcp;
mod timing;
pub mod tls;
mod verdict;
pub mod wire;

pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use expect::{Clause, ClauseStatus, Common, Expectation, Judgement, judge};
#[cfg(all(feature = "dns", target_os = "linux"))]
pub use io::resolve::StubResolver;
#[cfg(any(feature = "tcp", feature = "icmp"))]
pub use io::resolve::SystemResolver;
pub use limits::Limits;
pub use observe::{Event, Observer};
pub use policy::{OutboundPolicy, PolicyRefusal, Ports, PortsError};
pub use probe::{Attempt, Probe, ProbeContext, ProbeResult, Prober, SCHEMA};
pub use report::{AnyReport, Report, ReportBody};
pub use resolve::{
    AddressPolicy, BoxFuture, ConnectTo, Dialing, Family, Resolve, ResolveDetail, ResolveError,
    ResolveSource, Resolved, StaticResolver, interleave,
};
pub use secret::Secret;
#[cfg(feature = "dns")]
pub use stub::{StubAnswer, StubAttempt, StubCache, StubConfig, StubNegative};
pub use target::{Endpoint, Host, Name, Target, TargetError, UnixAddress};
pub use timing::{
    NetworkTime, Phase, PhaseClock, Quality, Span, StampSource, Timing, UnknownPhase, duration_ns,
};
pub use verdict::{
    Failure, FailureKind, LimitHit, LocalFault, LocalFaultKind, RawCode, Side, UnknownCode, Verdict,
};
