//! The reports of all probers under one roof.

use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::dns::DnsReport;
use crate::icmp::IcmpReport;
use crate::icmp::mtu::MtuReport;
use crate::icmp::trace::TraceReport;
use crate::tcp::{TcpReport, UnixReport};

/// A report of any kind, typed or erased.
pub trait AnyReport: Serialize {
    /// The kind of the prober that made it: `tcp`, `unix`.
    fn kind(&self) -> &'static str;

    /// Writes what a person wants to know of it, a line each, indented by two spaces. `at` is when
    /// the probe started: ages and remaining days count from there.
    ///
    /// # Errors
    /// Those of the formatter.
    fn describe(&self, at: SystemTime, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// The report of one kind of prober.
pub trait ReportBody: AnyReport + DeserializeOwned + Send {
    /// The kind: `tcp`, `unix`.
    const KIND: &'static str;

    /// The same report, erased.
    fn into_report(self) -> Report;
}

/// A report of any prober. In JSON the `kind` stands beside it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", content = "report", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Report {
    /// Of the TCP prober.
    Tcp(Box<TcpReport>),
    /// Of the Unix socket prober.
    Unix(Box<UnixReport>),
    /// Of the ICMP prober.
    Icmp(Box<IcmpReport>),
    /// Of a trace of the path.
    Trace(Box<TraceReport>),
    /// Of a discovery of the path MTU.
    Mtu(Box<MtuReport>),
    /// Of the DNS prober.
    Dns(Box<DnsReport>),
}

impl Report {
    fn inner(&self) -> &dyn DynReport {
        match self {
            Report::Tcp(report) => &**report,
            Report::Unix(report) => &**report,
            Report::Icmp(report) => &**report,
            Report::Trace(report) => &**report,
            Report::Mtu(report) => &**report,
            Report::Dns(report) => &**report,
        }
    }
}

/// The part of [`AnyReport`] that can be called through a reference to any report.
trait DynReport {
    fn kind(&self) -> &'static str;
    fn describe(&self, at: SystemTime, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<R: AnyReport> DynReport for R {
    fn kind(&self) -> &'static str {
        AnyReport::kind(self)
    }

    fn describe(&self, at: SystemTime, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        AnyReport::describe(self, at, f)
    }
}

impl AnyReport for Report {
    fn kind(&self) -> &'static str {
        DynReport::kind(self.inner())
    }

    fn describe(&self, at: SystemTime, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DynReport::describe(self.inner(), at, f)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Report::Tcp(report) => report.serialize(serializer),
            Report::Unix(report) => report.serialize(serializer),
            Report::Icmp(report) => report.serialize(serializer),
            Report::Trace(report) => report.serialize(serializer),
            Report::Mtu(report) => report.serialize(serializer),
            Report::Dns(report) => report.serialize(serializer),
        }
    }
}
