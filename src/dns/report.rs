//! What the DNS prober finds out.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{DnsChain, DnsTransport, Question};
use crate::report::{Report, ReportBody};
use crate::tcp::{RefusedAddress, Resolution, TcpConnection};
use crate::timing::NetworkTime;
use crate::tls::TlsReport;
use crate::verdict::Verdict;
use crate::wire::dns::{
    Class, DnsName, ExtendedErrorCode, Message, Opcode, OptionCode, Rcode, RecordBuf, RecordType,
    Section,
};
#[cfg(all(feature = "dns", target_os = "linux"))]
use crate::wire::dns::{Edns, EdnsOption};

/// What the DNS prober found out. What was not reached is `None` or empty.
///
/// In JSON the fields of [`exchange`](DnsReport::exchange) stand beside the others: `report.answer` is the
/// list of records that answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DnsReport {
    /// What the name of the server resolved to; `None` if it is an address.
    pub resolution: Option<Resolution>,
    /// The addresses that the outbound policy refused; nothing was sent there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedAddress>,
    /// The deciding exchange: the first that did not pass, else the first.
    #[serde(flatten)]
    pub exchange: DnsExchange,
    /// The others: of further questions, and of further servers under
    /// [`AddressPolicy::All`](crate::AddressPolicy::All).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<DnsExchange>,
}

impl DnsReport {
    /// Every exchange, the deciding one first.
    pub fn exchanges(&self) -> impl Iterator<Item = &DnsExchange> {
        std::iter::once(&self.exchange).chain(&self.others)
    }

    /// The exchanges that the verdict rests on: all but those with a server that was passed over, because it
    /// did not answer all and one behind it did.
    pub fn deciding(&self) -> impl Iterator<Item = &DnsExchange> {
        let passed = |one: &DnsExchange| one.outcome.as_ref().is_some_and(Verdict::is_pass);
        // The deciding one passes only if all of its kind do.
        let is_fine = passed(&self.exchange);
        let failed = self.exchanges().filter(|one| is_fine && !passed(one));
        let over: Vec<_> = failed.map(|one| one.server).collect();
        self.exchanges().filter(move |one| !over.contains(&one.server))
    }
}

/// One question to one server, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DnsExchange {
    /// What was asked; `None` if it did not come to that.
    pub question: Option<Question>,
    /// The address of the server.
    pub server: Option<SocketAddr>,
    /// What the exchange itself found, before any expectation; `None` if it did not come to it.
    pub outcome: Option<Verdict>,
    /// Every message that was sent, in order.
    pub attempts: Vec<DnsAttempt>,
    /// The header of the answer.
    pub header: Option<DnsHeader>,
    /// The records that answer the question.
    pub answer: Vec<DnsRecord>,
    /// The records of the authority section.
    pub authority: Vec<DnsRecord>,
    /// The records of the additional section, without the OPT record.
    pub additional: Vec<DnsRecord>,
    /// Where the aliases in the answer lead, and which records count; `None` without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<DnsChain>,
    /// Records that are not written out, beyond the cap; the message has them.
    #[serde(skip_serializing_if = "is_zero")]
    pub records_left_out: u64,
    /// What the answer says by EDNS; `None` if it does not speak it.
    pub edns: Option<EdnsReport>,
    /// What is wrong with the EDNS part of an answer that can be read otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edns_error: Option<String>,
    /// Octets of the answer.
    pub size: Option<u32>,
    /// Octets behind its last record.
    #[serde(skip_serializing_if = "is_zero")]
    pub trailing_bytes: u64,
    /// The answer, as it came; in JSON in hexadecimal digits.
    #[serde(with = "hex", skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<u8>,
    /// A second answer that differs from it, as it came.
    #[serde(with = "hex", skip_serializing_if = "Vec::is_empty")]
    pub conflict: Vec<u8>,
    /// The TCP connection of the last attempt that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Box<TcpConnection>>,
    /// The TLS handshake of the last attempt that had one, as far as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<TlsReport>>,
    /// The status of the HTTP response, over HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
}

impl DnsExchange {
    /// The answer, to be read with the types of [`wire::dns`](crate::wire::dns).
    #[must_use]
    pub fn parsed(&self) -> Option<Message<'_>> {
        Message::parse(&self.message).ok()
    }

    /// The response code, with the bits that EDNS has.
    #[must_use]
    pub fn rcode(&self) -> Option<Rcode> {
        self.header.as_ref().map(|header| header.rcode)
    }

    /// Whether the server said that the name exists, but has no record of the type (RFC 2308, 2.2).
    #[must_use]
    pub fn is_no_data(&self) -> bool {
        self.rcode() == Some(Rcode::NOERROR) && self.answer.is_empty()
    }

    /// The attempt that was answered, if one was.
    #[must_use]
    pub fn answered(&self) -> Option<&DnsAttempt> {
        let is_answer = |fate: DnsFate| matches!(fate, DnsFate::Answered | DnsFate::Truncated);
        self.attempts.iter().rev().find(|attempt| is_answer(attempt.fate))
    }

    /// The records of a section.
    #[must_use]
    pub fn section(&self, section: Section) -> &[DnsRecord] {
        match section {
            Section::Answer => &self.answer,
            Section::Authority => &self.authority,
            Section::Additional => &self.additional,
        }
    }

    /// Takes the answer apart.
    #[cfg(all(feature = "dns", target_os = "linux"))]
    pub(crate) fn take_answer(&mut self, bytes: &[u8], limits: &super::DnsLimits) {
        let Ok(message) = Message::parse(bytes) else { return };
        self.message = bytes.to_vec();
        self.size = u32::try_from(bytes.len()).ok();
        let edns = match message.edns() {
            Ok(edns) => edns,
            Err(error) => {
                self.edns_error = Some(error.to_string());
                None
            }
        };
        self.header = Some(DnsHeader::of(&message, edns.as_ref()));
        self.edns = edns.as_ref().map(|edns| EdnsReport::of(edns, limits.error_text_bytes));
        let mut room = limits.records;
        for (section, record) in message.records().flatten() {
            if record.rtype == RecordType::OPT && section == Section::Additional {
                continue;
            }
            if room == 0 {
                self.records_left_out += 1;
                continue;
            }
            room -= 1;
            let record = DnsRecord::of(RecordBuf::from(&record));
            match section {
                Section::Answer => self.answer.push(record),
                Section::Authority => self.authority.push(record),
                Section::Additional => self.additional.push(record),
            }
        }
        self.chain = DnsChain::of(self);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One message to a server and what became of it. Offsets count from the start of the probe, in
/// nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsAttempt {
    /// How it went.
    pub transport: DnsTransport,
    /// Where to.
    pub server: SocketAddr,
    /// The port that it came from; `None` if there was no socket.
    pub port: Option<u16>,
    /// The id of the message.
    pub id: u16,
    /// The name with its letters in the case in which they were sent.
    pub name: DnsName,
    /// Whether the query spoke EDNS.
    pub edns: bool,
    /// When it began: its socket was made.
    pub start_ns: u64,
    /// When the message was handed to the system; `None` if it was not.
    pub sent_ns: Option<u64>,
    /// When it was decided; `None` if it was not, because the probe had ended.
    pub end_ns: Option<u64>,
    /// From the query leaving to the answer arriving; `None` if there was none. Over a stream it begins when
    /// the message was handed to the system.
    pub network: Option<NetworkTime>,
    /// Octets of the query.
    pub sent_bytes: u32,
    /// What became of it.
    pub fate: DnsFate,
    /// Why it failed, where the network or this host is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What came for it and was not believed, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mismatches: BTreeMap<String, u64>,
    /// Who else sent something that was meant as the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_source: Option<SocketAddr>,
    /// Further copies of the answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u64,
    /// Further answers that differ from the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conflicts: u64,
    /// ICMP errors that came for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors: u64,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DnsFate {
    /// It was answered.
    Answered,
    /// It was answered by a message that was cut short (TC).
    Truncated,
    /// It was refused, or its connection failed.
    Refused,
    /// Its time was over.
    TimedOut,
    /// The probe ended before it was decided.
    Unfinished,
}

/// The header of an answer (RFC 1035, 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsHeader {
    /// The id.
    pub id: u16,
    /// The opcode.
    pub opcode: Opcode,
    /// The response code, with the bits that EDNS has.
    pub rcode: Rcode,
    /// AA: the server has authority.
    pub authoritative: bool,
    /// TC: the message was cut short.
    pub truncated: bool,
    /// RD: recursion was desired.
    pub recursion_desired: bool,
    /// RA: the server asks others.
    pub recursion_available: bool,
    /// AD: the server has validated all of it.
    pub authentic_data: bool,
    /// CD: the server was not to validate.
    pub checking_disabled: bool,
    /// Questions, as the header counts them.
    pub questions: u16,
    /// Records of the answer section, as the header counts them.
    pub answers: u16,
    /// Records of the authority section, as the header counts them.
    pub authorities: u16,
    /// Records of the additional section, as the header counts them, OPT included.
    pub additionals: u16,
}

impl DnsHeader {
    #[cfg(all(feature = "dns", target_os = "linux"))]
    fn of(message: &Message<'_>, edns: Option<&Edns<'_>>) -> Self {
        let header = message.header();
        let flags = header.flags;
        DnsHeader {
            id: header.id,
            opcode: flags.opcode(),
            rcode: message.rcode(edns),
            authoritative: flags.authoritative(),
            truncated: flags.truncated(),
            recursion_desired: flags.recursion_desired(),
            recursion_available: flags.recursion_available(),
            authentic_data: flags.authentic_data(),
            checking_disabled: flags.checking_disabled(),
            questions: header.questions,
            answers: header.answers,
            authorities: header.authorities,
            additionals: header.additionals,
        }
    }
}

/// A record as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsRecord {
    /// The name that it is about.
    pub owner: DnsName,
    /// Seconds for which it may be kept.
    pub ttl: u32,
    /// Its class.
    pub class: Class,
    /// Its type.
    #[serde(rename = "type")]
    pub rtype: RecordType,
    /// Its data in presentation format (RFC 1035, 5; RFC 3597, 5 for what is unknown or broken).
    pub data: String,
    /// The whole record in presentation format, with single spaces.
    pub presentation: String,
}

impl DnsRecord {
    /// A record as text.
    #[must_use]
    pub fn of(record: RecordBuf) -> Self {
        let presentation = record.to_string();
        // Behind owner, time to live, class and type; blanks in names are escaped.
        let data = presentation.splitn(5, ' ').nth(4).unwrap_or_default().to_owned();
        let RecordBuf { owner, ttl, class, rtype, .. } = record;
        DnsRecord { owner, ttl, class, rtype, data, presentation }
    }
}

/// What an answer says by EDNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EdnsReport {
    /// The largest UDP payload that the server takes, in octets.
    pub udp_payload: u16,
    /// The version.
    pub version: u8,
    /// DO.
    pub dnssec_ok: bool,
    /// The options in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<EdnsOptionReport>,
}

/// An option of EDNS in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "option")]
#[non_exhaustive]
pub enum EdnsOptionReport {
    /// Who the server is (RFC 5001).
    Nsid {
        /// As it came; in JSON in hexadecimal digits.
        #[serde(with = "hex")]
        data: Vec<u8>,
        /// As text, what cannot be printed escaped.
        text: String,
    },
    /// For which network the answer is good (RFC 7871).
    ClientSubnet {
        /// The network that was told, `ADDRESS/BITS`.
        source: String,
        /// Bits for which the answer is good.
        scope: u8,
    },
    /// A cookie (RFC 7873); in JSON in hexadecimal digits.
    Cookie {
        /// The client's part.
        #[serde(with = "hex")]
        client: Vec<u8>,
        /// The server's part.
        #[serde(with = "hex")]
        server: Vec<u8>,
    },
    /// How long the server keeps the connection (RFC 7828).
    Keepalive {
        /// In milliseconds; `None` if it does not say.
        timeout_ms: Option<u32>,
    },
    /// Padding (RFC 7830).
    Padding {
        /// Octets.
        octets: u32,
    },
    /// An extended error (RFC 8914).
    ExtendedError {
        /// The reason.
        code: ExtendedErrorCode,
        /// Its number.
        number: u16,
        /// More of it, control characters escaped, bounded.
        text: String,
    },
    /// Any other, or one that cannot be read.
    Other {
        /// Its code.
        code: OptionCode,
        /// What it holds; in JSON in hexadecimal digits.
        #[serde(with = "hex")]
        data: Vec<u8>,
        /// What is wrong with it, if something is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl EdnsReport {
    #[cfg(all(feature = "dns", target_os = "linux"))]
    fn of(edns: &Edns<'_>, text_bytes: usize) -> Self {
        let options = edns.options().map(|(code, option)| match option {
            Ok(option) => EdnsOptionReport::of(&option, text_bytes),
            Err(error) => {
                let error = Some(error.to_string());
                EdnsOptionReport::Other { code, data: Vec::new(), error }
            }
        });
        EdnsReport {
            udp_payload: edns.udp_payload,
            version: edns.version,
            dnssec_ok: edns.dnssec_ok(),
            options: options.collect(),
        }
    }

    /// Who the server says it is, as text.
    #[must_use]
    pub fn nsid(&self) -> Option<&str> {
        self.options.iter().find_map(|option| match option {
            EdnsOptionReport::Nsid { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// The numbers of the extended errors.
    pub fn extended_errors(&self) -> impl Iterator<Item = ExtendedErrorCode> {
        self.options.iter().filter_map(|option| match option {
            EdnsOptionReport::ExtendedError { code, .. } => Some(*code),
            _ => None,
        })
    }
}

impl EdnsOptionReport {
    #[cfg(all(feature = "dns", target_os = "linux"))]
    fn of(option: &EdnsOption<'_>, text_bytes: usize) -> Self {
        use crate::verdict::printable;
        let text = |data: &[u8]| printable(&String::from_utf8_lossy(data), text_bytes);
        match *option {
            EdnsOption::Nsid(data) => {
                EdnsOptionReport::Nsid { data: data.to_vec(), text: text(data) }
            }
            EdnsOption::ClientSubnet { address, source_prefix, scope_prefix } => {
                let source = format!("{address}/{source_prefix}");
                EdnsOptionReport::ClientSubnet { source, scope: scope_prefix }
            }
            EdnsOption::Cookie { client, server } => {
                EdnsOptionReport::Cookie { client: client.to_vec(), server: server.to_vec() }
            }
            EdnsOption::Keepalive(time) => {
                EdnsOptionReport::Keepalive { timeout_ms: time.map(|time| u32::from(time) * 100) }
            }
            EdnsOption::Padding(octets) => {
                EdnsOptionReport::Padding { octets: u32::try_from(octets).unwrap_or(u32::MAX) }
            }
            EdnsOption::ExtendedError { code, text: data } => {
                EdnsOptionReport::ExtendedError { code, number: code.0, text: text(data) }
            }
            EdnsOption::Chain(name) => {
                let mut data = Vec::new();
                name.write(&mut data);
                EdnsOptionReport::Other { code: OptionCode::CHAIN, data, error: None }
            }
            EdnsOption::Other { code, data } => {
                EdnsOptionReport::Other { code, data: data.to_vec(), error: None }
            }
        }
    }
}

impl ReportBody for DnsReport {
    const KIND: &'static str = "dns";

    fn into_report(self) -> Report {
        Report::Dns(Box::new(self))
    }
}

/// Octets as hexadecimal digits. For `#[serde(with)]`.
pub(super) mod hex {
    use std::borrow::Cow;
    use std::fmt::Write as _;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::dns) fn serialize<S: Serializer>(
        octets: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(octets.len() * 2);
        for octet in octets {
            let _ = write!(text, "{octet:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(in crate::dns) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let digits = text.as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let octet = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = digits.chunks(2).map(octet).collect();
        octets.ok_or_else(|| de::Error::custom("not pairs of hexadecimal digits"))
    }
}
