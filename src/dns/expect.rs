//! Conditions on the results of the DNS prober.

mod across;
mod answer;
mod pattern;
mod record;
mod section;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::pattern::Pattern;
pub use self::record::RecordMatch;
pub use self::section::{Bounds, SectionExpect};
use super::{DnsExchange, DnsReport, DnsTransport, Question};
use crate::error::Error;
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::tls::TlsExpect;
use crate::verdict::FailureKind;
use crate::wire::dns::{DnsName, ExtendedErrorCode, Rcode};

/// Conditions on a DNS probe, all of which must be met by every exchange of it. What is `None` or empty is
/// not asked.
///
/// The path of a clause is that of its key: `flags.authoritative`, `answer.count`. Where a probe has
/// several exchanges, the path begins with what tells them apart:
/// `questions[example.org. IN MX].answer.count` with several questions,
/// `servers[192.0.2.53:53].answer.count` with several servers, and both with both. A server that had no
/// answer, behind which another one was asked that had, is not judged.
///
/// ```
/// use netsonde::dns::DnsExpect;
///
/// let expect: DnsExpect = serde_saphyr::from_str(r"
/// common: {max_total: 2s}
/// rcodes: [NOERROR]
/// flags: {authoritative: true, truncated: false}
/// answer:
///   exact: [{type: MX, data: 10 mail.example.org.}, {type: MX, data: 20 mx2.example.org.}]
///   ttl: {min: 300, max: 86400}
///   fail_if_matches_regexp: ['\b192\.168\.']
/// authority:
///   present: [{owner: example.org, type: NS}]
/// soa: {min_serial: 2026112301, serial_equal: true}
/// min_rrsig_left: 72h
/// extended_errors: {none_of: [EDE6, EDE9]}
/// nsid: {matches: '^ns[0-9]\.fra$'}
/// max_size: 1232
/// max_network: 40ms
/// max_attempts: 1
/// transports: [udp]
/// no_conflict: true
/// questions:
/// - question: {name: gone.example.org}
///   expect: {rcodes: [NXDOMAIN]}
/// ")?;
/// assert!(expect.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct DnsExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// The response codes that are fine; none for any. Default: `NOERROR`.
    pub rcodes: Vec<Rcode>,
    /// The flags of the answer.
    pub flags: FlagsExpect,
    /// The records of the answer section.
    pub answer: SectionExpect,
    /// The records of the authority section.
    pub authority: SectionExpect,
    /// The records of the additional section, without OPT.
    pub additional: SectionExpect,
    /// Whether the records of an answer that was cut short are judged as well. Default: no, clauses on them
    /// are not evaluable.
    pub partial: bool,
    /// How many records must answer the question itself, behind any aliases: 0 allows that the name has
    /// none of the type, as not asking does. See [`DnsChain`](super::DnsChain).
    pub min_answers: Option<u32>,
    /// The name where the aliases (CNAME, DNAME) of the answer end; that of the question if there are none.
    pub cname_target: Option<DnsName>,
    /// The version of a zone.
    pub soa: SoaExpect,
    /// How long the signatures (RRSIG) of the answer and authority sections must still be valid, from the
    /// start of the probe to the earliest end, in the arithmetic of RFC 1982. Not evaluable without
    /// signatures.
    #[serde(with = "crate::duration::optional")]
    pub min_rrsig_left: Option<Duration>,
    /// Extended errors (RFC 8914).
    pub extended_errors: ExtendedErrorsExpect,
    /// Who the server says it is (RFC 5001); the query has to ask for it. Not evaluable if it does not say.
    pub nsid: Option<NsidMatch>,
    /// The most octets of the answer.
    pub max_size: Option<u32>,
    /// The longest network time of the attempt that was answered.
    #[serde(with = "crate::duration::optional")]
    pub max_network: Option<Duration>,
    /// How many attempts it may have taken, those over another transport and without EDNS included.
    pub max_attempts: Option<u32>,
    /// How the attempt that was answered went: `[udp]` for no answer that needed TCP.
    pub transports: Vec<DnsTransport>,
    /// No second, different answer came. Only listening ([`DnsConfig::listen`](super::DnsConfig::listen))
    /// makes sure that one would be seen.
    pub no_conflict: bool,
    /// All servers give the same answer to the same question: the same response code and the same set of
    /// records in the answer section, signatures and times to live aside. Needs two answers.
    pub same_answers: bool,
    /// Conditions on TLS.
    pub tls: TlsExpect,
    /// Conditions on single questions *instead* of these here, but for `common`, `tls`, `same_answers` and
    /// `soa.serial_equal`, which are about the whole probe and stand here only.
    pub questions: Vec<QuestionExpect>,
}

impl Default for DnsExpect {
    fn default() -> Self {
        DnsExpect {
            common: Common::default(),
            rcodes: vec![Rcode::NOERROR],
            flags: FlagsExpect::default(),
            answer: SectionExpect::default(),
            authority: SectionExpect::default(),
            additional: SectionExpect::default(),
            partial: false,
            min_answers: None,
            cname_target: None,
            soa: SoaExpect::default(),
            min_rrsig_left: None,
            extended_errors: ExtendedErrorsExpect::default(),
            nsid: None,
            max_size: None,
            max_network: None,
            max_attempts: None,
            transports: Vec::new(),
            no_conflict: false,
            same_answers: false,
            tls: TlsExpect::default(),
            questions: Vec::new(),
        }
    }
}

/// The flags of an answer, each wanted set or clear. The names of RFC 1035 and dig are as good: `aa`, `tc`,
/// `rd`, `ra`, `ad`, `cd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct FlagsExpect {
    /// AA: the server has authority.
    #[serde(alias = "aa")]
    pub authoritative: Option<bool>,
    /// TC: the answer was cut short.
    #[serde(alias = "tc")]
    pub truncated: Option<bool>,
    /// RD: recursion was desired.
    #[serde(alias = "rd")]
    pub recursion_desired: Option<bool>,
    /// RA: the server asks others.
    #[serde(alias = "ra")]
    pub recursion_available: Option<bool>,
    /// AD: the server has validated all of it.
    #[serde(alias = "ad")]
    pub authentic_data: Option<bool>,
    /// CD: the server was not to validate.
    #[serde(alias = "cd")]
    pub checking_disabled: Option<bool>,
}

/// Conditions on the SOA record in the answer section. Not evaluable without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct SoaExpect {
    /// Just this serial number.
    pub serial: Option<u32>,
    /// This serial number or a later one, in the arithmetic of RFC 1982.
    pub min_serial: Option<u32>,
    /// All servers have the same serial number for the same question. Needs two answers.
    pub serial_equal: bool,
}

/// Conditions on the extended errors (RFC 8914) of an answer, by mnemonic or as `EDE6`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct ExtendedErrorsExpect {
    /// One of these is there.
    pub any_of: Vec<ExtendedErrorCode>,
    /// None of these is there.
    pub none_of: Vec<ExtendedErrorCode>,
    /// There is none at all.
    pub none: bool,
}

/// A condition on who a server says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NsidMatch {
    /// Just this text.
    Is(String),
    /// A text in which this matches.
    Matches(Pattern),
}

/// Conditions on the answer to one question of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct QuestionExpect {
    /// The question.
    pub question: Question,
    /// The conditions.
    pub expect: DnsExpect,
}

impl DnsExpect {
    /// Checks patterns, records and ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work; [`Error::Feature`] for a regular
    /// expression without the feature `script`.
    pub fn check(&self) -> Result<(), Error> {
        for (key, section) in self.sections() {
            section.check().map_err(|error| error.under(key))?;
        }
        if let Some(NsidMatch::Matches(pattern)) = &self.nsid {
            pattern.check("nsid.matches")?;
        }
        for (place, QuestionExpect { question, expect }) in self.questions.iter().enumerate() {
            let key = format!("questions[{place}]");
            let mut before = self.questions.iter().take(place);
            if before.any(|other| other.question == *question) {
                return Err(Error::config(key, "the same question stands here before"));
            }
            let of_the_whole = [
                ("common", expect.common != Common::default()),
                ("tls", expect.tls != TlsExpect::default()),
                ("same_answers", expect.same_answers),
                ("soa.serial_equal", expect.soa.serial_equal),
                ("questions", !expect.questions.is_empty()),
            ];
            if let Some((wrong, _)) = of_the_whole.into_iter().find(|(_, is_set)| *is_set) {
                let key = format!("{key}.expect.{wrong}");
                return Err(Error::config(key, "is about the whole probe, not one question"));
            }
            expect.check().map_err(|error| error.under(&format!("{key}.expect")))?;
        }
        Ok(())
    }

    fn sections(&self) -> [(&'static str, &SectionExpect); 3] {
        [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)]
    }

    /// What applies to this exchange.
    fn on(&self, exchange: &DnsExchange) -> &DnsExpect {
        let own = |own: &&QuestionExpect| Some(&own.question) == exchange.question.as_ref();
        self.questions.iter().find(own).map_or(self, |own| &own.expect)
    }
}

impl Expectation<DnsReport> for DnsExpect {
    fn evaluate(&self, result: &ProbeResult<DnsReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        let exchanges = result.report.deciding().collect::<Vec<_>>();
        let differ = |differ: fn(&DnsExchange, &DnsExchange) -> bool| {
            exchanges.iter().any(|exchange| differ(exchange, &result.report.exchange))
        };
        let questions = differ(|one, other| one.question != other.question);
        let servers = differ(|one, other| one.server != other.server);
        for exchange in &exchanges {
            let mut own = Vec::new();
            self.on(exchange).evaluate_answer(exchange, result.started_at, &mut own);
            self.tls.evaluate_report(exchange.tls.as_deref(), result.started_at, &mut own);
            let question = exchange.question.as_ref().filter(|_| questions);
            let server = exchange.server.filter(|_| servers);
            let question = question.map(|question| format!("questions[{question}]."));
            let server = server.map(|server| format!("servers[{server}]."));
            let prefix = question.unwrap_or_default() + &server.unwrap_or_default();
            clauses.extend(own.into_iter().map(|clause| {
                let path = format!("{prefix}{}", clause.path);
                Clause { path, ..clause }
            }));
        }
        across::evaluate(self, &exchanges, clauses);
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}
