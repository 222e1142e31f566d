//! DNS: questions over every transport, what came of each attempt, and rules on the answer.
//!
//! Configurations, reports and expectations are plain data and always compiled; the prober is behind the
//! feature `dns`, and its transports over TLS need the feature `tls` as well.
//!
//! What an answer says is data: a name that does not exist is an answer like any other. Whether it is
//! the one that is wanted is up to the [expectation](DnsExpect), which by default wants `NOERROR`.

mod chain;
mod config;
mod describe;
mod edns;
mod expect;
#[cfg(all(feature = "dns", target_os = "linux"))]
mod prober;
mod report;

pub use chain::{DnsAlias, DnsChain};
pub use config::{
    DnsConfig, DnsLimits, DnsTransport, HttpsMethod, HttpsOptions, QueryFlags, Question, TlsProfile,
};
pub use edns::{ClientSubnet, EdnsConfig, RawOption};
pub use expect::{
    Bounds, DnsExpect, ExtendedErrorsExpect, FlagsExpect, NsidMatch, Pattern, QuestionExpect,
    RecordMatch, SectionExpect, SoaExpect,
};
#[cfg(all(feature = "dns", target_os = "linux"))]
pub use prober::DnsProber;
pub use report::{
    DnsAttempt, DnsExchange, DnsFate, DnsHeader, DnsRecord, DnsReport, EdnsOptionReport, EdnsReport,
};
