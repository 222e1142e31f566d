//! How the DNS prober is set up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DnsExpect, EdnsConfig};
use crate::error::Error;
use crate::resolve::Dialing;
use crate::tcp::SocketOptions;
use crate::tls::TlsConfig;
use crate::wire::dns::{Class, DnsName, RecordType};

/// What is asked for.
///
/// As text: the name, then type and class, which are `A` and `IN` unless they are given.
///
/// ```
/// use netsonde::dns::Question;
///
/// let question: Question = "example.org MX".parse()?;
/// assert_eq!(question.to_string(), "example.org. IN MX");
/// # Ok::<(), netsonde::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Question {
    /// The name.
    pub name: DnsName,
    /// The type. Default: A.
    #[serde(rename = "type", default = "Question::address")]
    pub rtype: RecordType,
    /// The class. Default: IN.
    #[serde(default = "Question::internet")]
    pub class: Class,
}

impl Question {
    /// A question for records of this type, of the class IN.
    #[must_use]
    pub fn new(name: DnsName, rtype: RecordType) -> Self {
        Question { name, rtype, class: Class::IN }
    }

    /// The same of another class.
    #[must_use]
    pub fn of_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    fn address() -> RecordType {
        RecordType::A
    }

    fn internet() -> Class {
        Class::IN
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.class, self.rtype)
    }
}

impl FromStr for Question {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with the key `question`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |word: &str, why: &dyn fmt::Display| {
            Error::config("question", format_args!("`{}`: {why}", word.escape_debug()))
        };
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let name = name.parse().map_err(|error| wrong(name, &error))?;
        let mut question = Question::new(name, RecordType::A);
        for word in words {
            match (word.parse(), word.parse()) {
                (Ok(rtype), _) => question.rtype = rtype,
                (_, Ok(class)) => question.class = class,
                _ => return Err(wrong(word, &"neither a type nor a class")),
            }
        }
        Ok(question)
    }
}

/// How the DNS prober is set up; checked once, when the prober is built. The target is the name server:
/// `HOST` or `HOST:PORT`, where the port defaults to that of the transport.
///
/// ```
/// use netsonde::dns::{DnsConfig, DnsTransport};
///
/// let plain = DnsConfig::ask("example.org MX".parse()?);
/// let dot: DnsConfig = serde_saphyr::from_str("
/// questions: [{name: example.org, type: SOA}, {name: www.example.org, type: AAAA}]
/// transport: tls
/// edns: {dnssec_ok: true, nsid: true}
/// attempt_timeout: 800ms
/// retries: 2
/// ")?;
/// assert_eq!((plain.transport, dot.transport), (DnsTransport::Udp, DnsTransport::Tls));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct DnsConfig {
    /// How long the whole probe may take. Default: 10 s. A context may set another.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// What is asked, at least one. Several are asked side by side: over UDP each from a port of its own,
    /// over a stream one behind the other without waiting (RFC 7766, 6.2.1.1). All have to pass.
    pub questions: Vec<Question>,
    /// How. Default: UDP.
    pub transport: DnsTransport,
    /// Whether an answer over UDP that was cut short is asked for again over TCP (RFC 7766, 5), as a
    /// further attempt. Default: yes.
    pub tcp_fallback: bool,
    /// How long each attempt waits for its answer. Default: 2 s.
    #[serde(with = "crate::duration")]
    pub attempt_timeout: Duration,
    /// Further attempts after one that failed. Default: none.
    pub retries: u32,
    /// Whether one more attempt is made without EDNS when those with EDNS had no answer or `FORMERR`
    /// (RFC 6891, 7). Default: no.
    pub without_edns: bool,
    /// Whether the letters of the name have their case at random, which the answer has to repeat (0x20
    /// bits). Default: no.
    pub mixed_case: bool,
    /// How long to listen on for a second, different answer. Default: not at all.
    #[serde(with = "crate::duration")]
    pub listen: Duration,
    /// Whether octets behind the last record make an answer unreadable. Default: no, they are counted.
    pub strict: bool,
    /// Whether ICMP errors are noted without ending an attempt: anyone on the way can forge them. Default:
    /// no.
    pub soft_errors: bool,
    /// Whether the kernel stamps datagrams as they leave and arrive, so that the network time of an answer
    /// does not hold the delays of this process. Default: yes. It takes about a tenth more CPU time.
    pub kernel_stamps: bool,
    /// The flags of the queries.
    pub flags: QueryFlags,
    /// EDNS; `null` for queries without. Default: version 0, 1,232 octets.
    pub edns: Option<EdnsConfig>,
    /// Families, address policy, where to send instead. Under a race, servers over UDP are asked one after
    /// the other as under [`AddressPolicy::Any`](crate::AddressPolicy::Any).
    pub dialing: Dialing,
    /// Options of the sockets. Those of TCP alone do not concern UDP.
    pub socket: SocketOptions,
    /// TLS, for the transports that have it. Default: that of [`TlsConfig`], with the ALPN of the transport.
    pub tls: Option<TlsConfig>,
    /// What an unverified server means, for the transports over TLS.
    pub tls_profile: TlsProfile,
    /// How queries go over HTTPS.
    pub https: HttpsOptions,
    /// Caps.
    pub limits: DnsLimits,
    /// What makes the probe pass beyond an answer.
    pub expect: DnsExpect,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            timeout: Duration::from_secs(10),
            questions: Vec::new(),
            transport: DnsTransport::Udp,
            tcp_fallback: true,
            attempt_timeout: Duration::from_secs(2),
            retries: 0,
            without_edns: false,
            mixed_case: false,
            listen: Duration::ZERO,
            strict: false,
            soft_errors: false,
            kernel_stamps: true,
            flags: QueryFlags::default(),
            edns: Some(EdnsConfig::default()),
            dialing: Dialing::default(),
            socket: SocketOptions::default(),
            tls: None,
            tls_profile: TlsProfile::Strict,
            https: HttpsOptions::default(),
            limits: DnsLimits::default(),
            expect: DnsExpect::default(),
        }
    }
}

impl DnsConfig {
    /// The defaults, with one question.
    #[must_use]
    pub fn ask(question: Question) -> Self {
        DnsConfig { questions: vec![question], ..DnsConfig::default() }
    }

    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        if self.timeout.is_zero() {
            return Err(Error::config("timeout", "must be longer than zero"));
        }
        if self.attempt_timeout.is_zero() {
            return Err(Error::config("attempt_timeout", "must be longer than zero"));
        }
        let most = self.limits.questions;
        if !(1..=most).contains(&self.questions.len()) {
            let why = format_args!("must be 1 to {most} (limits.questions)").to_string();
            return Err(Error::config("questions", why));
        }
        if self.without_edns && self.edns.is_none() {
            return Err(Error::config("without_edns", "makes no sense where edns is off"));
        }
        self.dialing.check().map_err(|error| error.under("dialing"))?;
        self.socket.check().map_err(|error| error.under("socket"))?;
        if let Some(edns) = &self.edns {
            edns.check().map_err(|error| error.under("edns"))?;
        }
        self.https.check().map_err(|error| error.under("https"))?;
        self.limits.check().map_err(|error| error.under("limits"))
    }
}

/// How queries and answers go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DnsTransport {
    /// Each in a datagram, port 53 (RFC 1035, 4.2.1).
    #[default]
    Udp,
    /// Over TCP, port 53 (RFC 7766).
    Tcp,
    /// Over TLS, port 853 (RFC 7858).
    Tls,
    /// Over HTTPS, port 443 (RFC 8484). Needs the feature `doh`.
    Https,
    /// Over QUIC, port 853 (RFC 9250). Needs the feature `quic`.
    Quic,
}

impl DnsTransport {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DnsTransport::Udp => "udp",
            DnsTransport::Tcp => "tcp",
            DnsTransport::Tls => "tls",
            DnsTransport::Https => "https",
            DnsTransport::Quic => "quic",
        }
    }

    /// The port that it has if nobody says otherwise.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            DnsTransport::Udp | DnsTransport::Tcp => 53,
            DnsTransport::Tls | DnsTransport::Quic => 853,
            DnsTransport::Https => 443,
        }
    }
}

impl fmt::Display for DnsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The flags of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct QueryFlags {
    /// RD: the server is to ask others. Default: yes.
    pub recursion_desired: bool,
    /// CD: the server is not to validate (RFC 4035, 3.2.2). Default: no.
    pub checking_disabled: bool,
    /// AD: the server is to say whether it has validated (RFC 6840, 5.7). Default: no.
    pub authentic_data: bool,
}

impl Default for QueryFlags {
    fn default() -> Self {
        QueryFlags { recursion_desired: true, checking_disabled: false, authentic_data: false }
    }
}

/// What it means that a server over TLS is not who it should be (RFC 8310, 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TlsProfile {
    /// It is a failure.
    #[default]
    Strict,
    /// It stands in the report, and the query is made all the same. There is no fall back to clear text.
    Opportunistic,
}

/// How queries go over HTTPS (RFC 8484).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct HttpsOptions {
    /// How. Default: POST.
    pub method: HttpsMethod,
    /// The path. Default: `/dns-query`.
    pub path: String,
}

impl Default for HttpsOptions {
    fn default() -> Self {
        HttpsOptions { method: HttpsMethod::Post, path: "/dns-query".to_owned() }
    }
}

impl HttpsOptions {
    fn check(&self) -> Result<(), Error> {
        let is_fine = |c: char| c.is_ascii_graphic() && c != '#' && c != '?';
        if !self.path.starts_with('/') || !self.path.chars().all(is_fine) {
            return Err(Error::config("path", "must begin with / and be a path of a URL"));
        }
        Ok(())
    }
}

/// The method of a query over HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HttpsMethod {
    /// The query in the URL, with the id 0, so that caches can answer.
    Get,
    /// The query in the body.
    #[default]
    Post,
}

/// The caps of the DNS prober, each with its default. A list that is kept short says how much was left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct DnsLimits {
    /// Addresses of a server that are considered. Default 64.
    pub addresses: usize,
    /// Questions of one probe. Default 64.
    pub questions: usize,
    /// Records of an answer that are written out in the report; the message has all of them. Default
    /// 10,000.
    pub records: usize,
    /// Octets of a datagram that is received; the rest is cut off and the message unreadable. Default
    /// 4,096, and never less than EDNS advertises.
    pub datagram_bytes: usize,
    /// Octets of a message over a stream. Default 65,535, more than which no prefix can say.
    pub message_bytes: usize,
    /// Octets of text that an extended DNS error (RFC 8914) is kept with. Default 256.
    pub error_text_bytes: usize,
}

impl Default for DnsLimits {
    fn default() -> Self {
        DnsLimits {
            addresses: 64,
            questions: 64,
            records: 10_000,
            datagram_bytes: 4096,
            message_bytes: 65_535,
            error_text_bytes: 256,
        }
    }
}

impl DnsLimits {
    fn check(&self) -> Result<(), Error> {
        for (key, value) in [("addresses", self.addresses), ("questions", self.questions)] {
            if value == 0 {
                return Err(Error::config(key, "must be at least 1"));
            }
        }
        for (key, value) in
            [("datagram_bytes", self.datagram_bytes), ("message_bytes", self.message_bytes)]
        {
            if !(512..=65_535).contains(&value) {
                return Err(Error::config(key, "must lie in 512..=65535"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(config: &DnsConfig) -> Option<String> {
        let error = config.check().err()?;
        Some(error.to_string().split(':').next().unwrap().to_owned())
    }

    #[test]
    fn d125_d126_names_that_cannot_be_asked_for_are_errors_of_the_configuration() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        for name in [long.as_str(), longer.as_str(), "a..b", "", ".a", "b\u{fc}cher.example"] {
            assert!(name.parse::<DnsName>().is_err(), "{name}");
            let yaml = format!("questions: [{{name: \"{name}\"}}]");
            assert!(serde_saphyr::from_str::<DnsConfig>(&yaml).is_err(), "{name}");
        }
        assert!("a..b A".parse::<Question>().unwrap_err().to_string().starts_with("question:"));
    }

    #[test]
    fn questions_are_read_in_any_order_of_type_and_class() {
        let shown = |text: &str| text.parse::<Question>().unwrap().to_string();
        assert_eq!(shown("a.example"), "a.example. IN A");
        assert_eq!(shown("a.example. CH TXT"), "a.example. CH TXT");
        assert_eq!(shown("a.example TXT CH"), "a.example. CH TXT");
        assert_eq!(shown(". type99 class32"), ". CLASS32 SPF");
        assert!("a.example FROG".parse::<Question>().is_err());
    }

    #[test]
    fn what_can_never_work_names_its_key() {
        let good = DnsConfig::ask("a.example".parse().unwrap());
        assert_eq!(key_of(&good), None);
        assert_eq!(key_of(&DnsConfig::default()).as_deref(), Some("questions"));
        let zero = Duration::ZERO;
        assert_eq!(
            key_of(&DnsConfig { timeout: zero, ..good.clone() }).as_deref(),
            Some("timeout")
        );
        let config = DnsConfig { attempt_timeout: zero, ..good.clone() };
        assert_eq!(key_of(&config).as_deref(), Some("attempt_timeout"));
        let config = DnsConfig { without_edns: true, edns: None, ..good.clone() };
        assert_eq!(key_of(&config).as_deref(), Some("without_edns"));
        let https = HttpsOptions { path: "dns".into(), ..HttpsOptions::default() };
        assert_eq!(key_of(&DnsConfig { https, ..good.clone() }).as_deref(), Some("https.path"));
        let limits = DnsLimits { datagram_bytes: 100, ..DnsLimits::default() };
        let config = DnsConfig { limits, ..good };
        assert_eq!(key_of(&config).as_deref(), Some("limits.datagram_bytes"));
    }

    #[test]
    fn the_default_reads_back() {
        let config = DnsConfig::ask("a.example MX".parse().unwrap());
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DnsConfig>(&json).unwrap(), config);
        assert!(serde_json::from_str::<DnsConfig>(r#"{"question":[]}"#).is_err());
    }
}
