//! What a probe concluded: passed, failed (what, where and whose), or unknown.
//!
//! The codes are stable: they are listed in `docs/failure-codes.md` and covered by semver. New ones
//! may be added, a code never changes its meaning.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::timing::Phase;

/// Who is at fault when a probe fails. Trouble of this host is never here: see [`LocalFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Side {
    /// The endpoint itself.
    Target,
    /// Something between here and the endpoint.
    Path,
    /// The name service.
    Resolver,
    /// The target did what it does; the caller expected something else.
    Expectation,
}

macro_rules! codes {
    (
        $(#[$enum_doc:meta])* $name:ident, $unknown:ident;
        $($variant:ident = $code:literal, $text:literal;)*
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $(#[doc = concat!("`", $code, "`: ", $text, ".")] $variant,)* }

        impl $name {
            /// Every kind, in the order of `docs/failure-codes.md`.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The stable code: snake_case, at most 40 bytes, safe as a metric label.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $($name::$variant => $code,)* }
            }

            /// What happened, as a phrase for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.code())
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;

            /// # Errors
            /// [`UnknownCode`] if no kind has this code.
            fn from_str(code: &str) -> Result<Self, UnknownCode> {
                $name::ALL.iter().copied().find(|kind| kind.code() == code).ok_or(UnknownCode)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                code.parse().map_err(|_| {
                    serde::de::Error::custom(format_args!("unknown {} `{code}`", $unknown))
                })
            }
        }
    };
}

/// The text is not a known code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown code")
    }
}

impl std::error::Error for UnknownCode {}

const FAILURE_CODE: &str = "failure code";
const LOCAL_FAULT_CODE: &str = "local fault code";

codes! {
    /// What went wrong at the target, on the path or against an expectation.
    FailureKind, FAILURE_CODE;

    Timeout = "timeout", "the deadline passed";
    Refused = "refused", "connection refused";
    Reset = "reset", "connection reset by the peer";
    Closed = "closed", "connection closed by the peer too early";
    NetUnreachable = "net_unreachable", "network unreachable";
    HostUnreachable = "host_unreachable", "host unreachable";
    ProtocolUnreachable = "protocol_unreachable", "protocol unreachable";
    PortUnreachable = "port_unreachable", "port unreachable";
    Prohibited = "prohibited", "communication prohibited on the path";
    Filtered = "filtered", "administratively filtered on the path";
    TtlExceeded = "ttl_exceeded", "time to live exceeded on the path";
    FragmentationNeeded = "fragmentation_needed", "packet too big for the path";
    Unreachable = "unreachable", "unreachable for another reason";
    SelfConnect = "self_connect", "the socket connected to itself: nobody listens there";
    NoSuchSocket = "no_such_socket", "no socket at that path";
    ResolveNoSuchName = "resolve_no_such_name", "no such name";
    ResolveNoAddress = "resolve_no_address", "the name has no address of a wanted family";
    ResolveFailed = "resolve_failed", "the name could not be resolved";
    Protocol = "protocol", "the peer broke the protocol";
    ScriptRejected = "script_rejected", "the peer's answer was one that the script rejects";
    ScriptUnmatched = "script_unmatched", "the peer's answer is not the one that the script waits for";
    StarttlsRefused = "starttls_refused", "the peer does not start TLS";
    InjectedPlaintext = "injected_plaintext", "plaintext arrived behind the agreement to start TLS";
    UnsafeExpansion = "unsafe_expansion", "captured text with line breaks was about to be sent";
    LimitLine = "limit_line", "line longer than the cap";
    LimitLines = "limit_lines", "more lines in one reply than the cap";
    LimitBytes = "limit_bytes", "more bytes received than the cap";
    LimitSend = "limit_send", "expanded text to send longer than the cap";
    TlsExpired = "tls_expired", "a certificate has expired";
    TlsNotYetValid = "tls_not_yet_valid", "a certificate is not valid yet";
    TlsNameMismatch = "tls_name_mismatch", "the certificate is for other names";
    TlsUnknownIssuer = "tls_unknown_issuer", "no chain to a trusted root";
    TlsBadSignature = "tls_bad_signature", "a signature does not verify";
    TlsSignatureAlgorithm = "tls_signature_algorithm", "signature algorithm unsupported or too weak";
    TlsWeakKey = "tls_weak_key", "a key is too weak";
    TlsUnsupportedKey = "tls_unsupported_key", "key type unsupported";
    TlsNotCa = "tls_not_ca", "an issuing certificate is no authority";
    TlsPathLength = "tls_path_length", "path length constraint exceeded";
    TlsDepth = "tls_depth", "certificate chain too deep";
    TlsBudget = "tls_budget", "verifying the chain would cost too much";
    TlsNameConstraint = "tls_name_constraint", "a name constraint is violated";
    TlsUsage = "tls_usage", "the certificate is not for servers";
    TlsCriticalExtension = "tls_critical_extension", "unknown critical certificate extension";
    TlsCertificateEncoding = "tls_certificate_encoding", "a certificate is malformed";
    TlsNoCertificate = "tls_no_certificate", "the server sent no certificate";
    TlsRevoked = "tls_revoked", "a certificate is revoked";
    TlsCrl = "tls_crl", "no usable revocation list";
    TlsOcsp = "tls_ocsp", "the stapled OCSP response is not good";
    TlsVersion = "tls_version", "no TLS version in common";
    TlsNoSuite = "tls_no_suite", "no cipher suite or group in common";
    TlsIllegalParameter = "tls_illegal_parameter", "the server chose something that was not offered";
    TlsUnexpectedMessage = "tls_unexpected_message", "TLS message out of order";
    TlsDowngrade = "tls_downgrade", "sign of a downgrade attack";
    TlsDecrypt = "tls_decrypt", "a TLS record or Finished does not verify";
    TlsAlert = "tls_alert", "the server sent a fatal alert";
    TlsAlertFlood = "tls_alert_flood", "too many warning alerts";
    TlsEmptyFragments = "tls_empty_fragments", "too many empty TLS records";
    TlsLimit = "tls_limit", "TLS message larger than the cap";
    TlsNotTls = "tls_not_tls", "the peer does not speak TLS";
    TlsProtocol = "tls_protocol", "the peer broke the TLS protocol";
    DnsTruncated = "dns_truncated", "the answer was cut short";
    DnsMalformed = "dns_malformed", "the answer cannot be read";
    DnsQuestion = "dns_question", "the answer is to another question";
    DnsTrailing = "dns_trailing_bytes", "octets follow the last record of the answer";
    DnsLength = "dns_length", "the length in front of a message cannot be";
    DnsHttp = "dns_http", "the HTTP response is no DNS answer";
    ExpectationFailed = "expectation_failed", "an expectation was not met";
    UnexpectedSuccess = "unexpected_success", "a failure was expected and the probe succeeded";
}

impl FailureKind {
    /// What an ICMP error, or an ICMPv6 one, says of the target.
    ///
    /// Types and codes are those of RFC 792, RFC 1812 (5.2.7) and RFC 4443; numbers that these do
    /// not name are [`FailureKind::Unreachable`].
    #[must_use]
    pub const fn of_icmp(v6: bool, icmp_type: u8, code: u8) -> Self {
        use FailureKind as K;
        match (v6, icmp_type, code) {
            (false, 3, 0 | 6 | 11) | (true, 1, 0) => K::NetUnreachable,
            (false, 3, 1 | 7 | 12) | (true, 1, 3) => K::HostUnreachable,
            (false, 3, 2) => K::ProtocolUnreachable,
            (false, 3, 3) | (true, 1, 4) => K::PortUnreachable,
            (false, 3, 4) | (true, 2, _) => K::FragmentationNeeded,
            (false, 3, 9 | 10) | (true, 1, 5 | 6) => K::Prohibited,
            (false, 3, 13) | (true, 1, 1) => K::Filtered,
            (false, 11, _) | (true, 3, _) => K::TtlExceeded,
            _ => K::Unreachable,
        }
    }

    /// Whose fault this kind is unless the prober knows better.
    #[must_use]
    pub const fn side(self) -> Side {
        use FailureKind as K;
        match self {
            K::NetUnreachable
            | K::HostUnreachable
            | K::Prohibited
            | K::Filtered
            | K::TtlExceeded
            | K::FragmentationNeeded
            | K::Unreachable => Side::Path,
            K::ResolveNoSuchName | K::ResolveNoAddress | K::ResolveFailed => Side::Resolver,
            K::ScriptRejected
            | K::ScriptUnmatched
            | K::StarttlsRefused
            | K::ExpectationFailed
            | K::UnexpectedSuccess => Side::Expectation,
            _ => Side::Target,
        }
    }
}

codes! {
    /// Why this host could not find out.
    LocalFaultKind, LOCAL_FAULT_CODE;

    Permission = "local_permission", "not permitted on this host";
    Descriptors = "local_descriptors", "no file descriptor left";
    Address = "local_address", "source address or port not available here";
    Memory = "local_memory", "out of memory or buffers";
    PacketSize = "local_packet_size", "packet too big for this host or its way out";
    Interface = "local_interface", "no such network interface";
    Route = "local_route", "the local route table refuses the destination";
    Family = "local_family", "address family not supported here";
    Resolver = "local_resolver", "the resolver of this host does not work";
    Io = "local_io", "local input/output error";
    Policy = "policy", "refused by the outbound policy, nothing was sent";
    Cancelled = "cancelled", "the engine behind the probe was shut down";
    Target = "unsupported_target", "the prober does not take such a target";
    NotEvaluable = "not_evaluable", "an expectation could not be evaluated on this result";
    Callback = "callback_panicked", "code of the caller panicked";
}

/// The code behind the failure in its own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum RawCode {
    /// An error number of the operating system (errno(3)).
    Errno {
        /// The number.
        value: i32,
    },
    /// A TLS alert (RFC 8446, 6).
    TlsAlert {
        /// The alert description.
        value: u8,
    },
    /// A result of getaddrinfo(3).
    Gai {
        /// The EAI_ number.
        value: i32,
    },
    /// An ICMP or ICMPv6 error and who sent it (RFC 792, RFC 4443).
    Icmp {
        /// ICMP type.
        #[serde(rename = "type")]
        icmp_type: u8,
        /// ICMP code.
        code: u8,
        /// The router or host that sent it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
    },
}

impl fmt::Display for RawCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawCode::Errno { value } => write!(f, "errno {value}"),
            RawCode::TlsAlert { value } => write!(f, "TLS alert {value}"),
            RawCode::Gai { value } => write!(f, "getaddrinfo {value}"),
            RawCode::Icmp { icmp_type, code, from } => {
                write!(f, "ICMP {icmp_type}/{code}")?;
                from.map_or(Ok(()), |from| write!(f, " from {from}"))
            }
        }
    }
}

/// One of our own caps was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitHit {
    /// The value of the cap.
    pub cap: u64,
    /// What was seen; at least this much.
    pub seen: u64,
}

impl LimitHit {
    /// A cap and what was seen.
    #[must_use]
    pub fn new(cap: u64, seen: u64) -> Self {
        LimitHit { cap, seen }
    }
}

/// A failed probe: what, where and whose.
///
/// ```
/// use netsonde::{Failure, FailureKind, Phase, RawCode};
///
/// let failure = Failure::new(FailureKind::Refused)
///     .in_phase(Phase::Connect)
///     .with_raw(RawCode::Errno { value: 111 });
/// assert_eq!(failure.code(), "refused");
/// assert_eq!(failure.to_string(), "connection refused (connect, errno 111)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// In which phase; `None` if it belongs to none.
    pub phase: Option<Phase>,
    /// In which script step, counted from 0.
    pub step: Option<u32>,
    /// Whose fault it is.
    pub side: Side,
    /// The original code, where there is one.
    pub raw: Option<RawCode>,
    /// The cap that was hit, for the `limit_*` kinds and their like.
    pub limit: Option<LimitHit>,
    /// More words: which certificate, what was expected and seen. Bounded, printable.
    pub detail: Option<String>,
}

impl Failure {
    /// The most bytes that [`Failure::with_detail`] keeps.
    pub const DETAIL_BYTES: usize = 512;

    /// A failure of this kind, on the side that the kind implies.
    #[must_use]
    pub fn new(kind: FailureKind) -> Self {
        let side = kind.side();
        Failure { kind, phase: None, step: None, side, raw: None, limit: None, detail: None }
    }

    /// The stable code of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Names the phase.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Names the script step, counted from 0.
    #[must_use]
    pub fn at_step(mut self, step: u32) -> Self {
        self.step = Some(step);
        self
    }

    /// Says whose fault it is where the kind alone would be wrong.
    #[must_use]
    pub fn on_side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// Adds the original code.
    #[must_use]
    pub fn with_raw(mut self, raw: RawCode) -> Self {
        self.raw = Some(raw);
        self
    }

    /// Adds the cap that was hit.
    #[must_use]
    pub fn with_limit(mut self, limit: LimitHit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds words. Control characters are escaped; at most [`Failure::DETAIL_BYTES`] are kept.
    #[must_use]
    pub fn with_detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = Some(printable(detail.as_ref(), Self::DETAIL_BYTES));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.text())?;
        let step = self.step.map(|step| format!("step {step}"));
        let limit = self.limit.map(|limit| format!("cap {}, seen {}", limit.cap, limit.seen));
        let parts =
            [self.phase.map(|p| p.to_string()), step, self.raw.map(|r| r.to_string()), limit];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// Trouble of this host: it says nothing about the target.
///
/// ```
/// use netsonde::{LocalFault, LocalFaultKind};
///
/// let fault = LocalFault::new(LocalFaultKind::Descriptors).with_errno(24);
/// assert_eq!(fault.code(), "local_descriptors");
/// assert_eq!(fault.to_string(), "no file descriptor left (errno 24)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalFault {
    /// What is wrong here.
    pub kind: LocalFaultKind,
    /// In which phase it showed.
    pub phase: Option<Phase>,
    /// The error number of the operating system, where there is one.
    pub errno: Option<i32>,
    /// More words. Bounded, printable.
    pub detail: Option<String>,
}

impl LocalFault {
    /// A local fault of this kind.
    #[must_use]
    pub fn new(kind: LocalFaultKind) -> Self {
        LocalFault { kind, phase: None, errno: None, detail: None }
    }

    /// The stable code of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Names the phase.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Adds the error number.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Adds words, as [`Failure::with_detail`] does.
    #[must_use]
    pub fn with_detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = Some(printable(detail.as_ref(), Failure::DETAIL_BYTES));
        self
    }
}

impl fmt::Display for LocalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.text())?;
        let errno = self.errno.map(|errno| format!("errno {errno}"));
        let parts: Vec<String> =
            [self.phase.map(|p| p.to_string()), errno].into_iter().flatten().collect();
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// The conclusion of a probe.
///
/// In JSON: `status` is `pass`, `fail` or `unknown`; the last two come with `code`, `phase` and
/// `message`, and with what else is known.
///
/// ```
/// use netsonde::{Failure, FailureKind, Phase, Verdict};
///
/// let verdict = Verdict::from(Failure::new(FailureKind::Timeout).in_phase(Phase::Tls));
/// assert_eq!((verdict.status(), verdict.code()), ("fail", Some("timeout")));
/// let json = serde_json::to_string(&verdict)?;
/// assert_eq!(serde_json::from_str::<Verdict>(&json)?, verdict);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The target did what was asked and expected.
    Pass,
    /// It did not.
    Fail(Failure),
    /// This host could not find out: never an outage of the target.
    Unknown(LocalFault),
}

impl Verdict {
    /// Whether the probe passed.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        matches!(self, Verdict::Pass)
    }

    /// `pass`, `fail` or `unknown`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail(_) => "fail",
            Verdict::Unknown(_) => "unknown",
        }
    }

    /// The stable code of a failure or local fault; `None` for a pass.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Verdict::Pass => None,
            Verdict::Fail(failure) => Some(failure.code()),
            Verdict::Unknown(fault) => Some(fault.code()),
        }
    }

    /// The phase in which it was decided, where one is to blame.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Verdict::Pass => None,
            Verdict::Fail(failure) => failure.phase,
            Verdict::Unknown(fault) => fault.phase,
        }
    }

    /// The failure, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Fail(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pass => f.write_str("pass"),
            Verdict::Fail(failure) => write!(f, "fail: {failure} [{}]", failure.code()),
            Verdict::Unknown(fault) => write!(f, "unknown: {fault} [{}]", fault.code()),
        }
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Verdict::Fail(failure)
    }
}

impl From<LocalFault> for Verdict {
    fn from(fault: LocalFault) -> Self {
        Verdict::Unknown(fault)
    }
}

/// The text with control characters escaped, cut at a character border to `most` bytes.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let start = out.len();
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > most {
            out.truncate(start);
            break;
        }
    }
    out
}

mod json;

#[cfg(test)]
mod tests;
