//! Conditions on what TLS has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    CertificateReport, CheckKind, CheckStatus, ClientAuth, OcspStatus, TlsReport, TlsVersion,
    alert_name,
};
use crate::expect::Clause;

/// Conditions on TLS, all of which must be met. What is `None` or empty is not asked.
///
/// ```
/// use netsonde::tls::TlsExpect;
///
/// let expect: TlsExpect = serde_saphyr::from_str("
/// min_days_left: 14
/// versions: [tls1.3]
/// issuer: {contains: \"O=Let's Encrypt\"}
/// key_algorithms: [EC, RSA]
/// checks: {name: passed, ocsp: passed}
/// ")?;
/// assert_eq!(expect.min_days_left, Some(14));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TlsExpect {
    /// Days that the served certificate that ends first must still be valid.
    pub min_days_left: Option<u32>,
    /// Days that the best verified chain must still be valid, root included.
    pub min_chain_days_left: Option<u32>,
    /// One of these versions.
    pub versions: Vec<TlsVersion>,
    /// One of these cipher suites, by IANA name.
    pub cipher_suites: Vec<String>,
    /// One of these key exchange groups, by IANA name.
    pub groups: Vec<String>,
    /// One of these application protocols.
    pub alpn: Vec<String>,
    /// The subject of the leaf (RFC 4514 text).
    pub subject: Option<TextMatch>,
    /// The issuer of the leaf (RFC 4514 text).
    pub issuer: Option<TextMatch>,
    /// All of these stand among the leaf's alternative names, letter by letter: `*.example.org`
    /// means that very wildcard.
    pub names: Vec<String>,
    /// One of these kinds of key in the leaf: `EC`, `RSA`, `Ed25519`, ...
    pub key_algorithms: Vec<String>,
    /// The least size of an RSA key in the leaf. Other kinds of key are not asked.
    pub min_rsa_bits: Option<u32>,
    /// The SHA-256 of the leaf is one of these, in hex; case and colons do not matter.
    pub sha256: Vec<String>,
    /// The SHA-256 of the public key of a served certificate is one of these, in hex: a key pin.
    pub spki_sha256: Vec<String>,
    /// How single checks must have come out. A check that did not come about is not evaluable.
    pub checks: BTreeMap<CheckKind, CheckStatus>,
    /// No check has failed, except for those in `may_fail`. For use with
    /// [`Verify::DangerRecordOnly`](super::Verify::DangerRecordOnly); in full verification the
    /// handshake sees to it.
    pub verified: bool,
    /// The checks that `verified` does not ask about.
    pub may_fail: Vec<CheckKind>,
    /// The status in the stapled OCSP response.
    pub ocsp: Option<OcspStatus>,
    /// Whether the server asks for a client certificate.
    pub client_auth_requested: Option<bool>,
    /// The alert that the server ends with. The probe then fails, which has to be expected too.
    pub alert: Option<AlertCode>,
}

/// A condition on text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextMatch {
    /// Just this.
    Is(String),
    /// This stands in it.
    Contains(String),
}

impl TextMatch {
    fn met(&self, text: &str) -> bool {
        match self {
            TextMatch::Is(wanted) => text == wanted,
            TextMatch::Contains(wanted) => text.contains(wanted.as_str()),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextMatch::Is(wanted) => f.write_str(wanted),
            TextMatch::Contains(wanted) => write!(f, "a text with {wanted}"),
        }
    }
}

/// The number of an alert. Reads from the number or the name, `48` or `unknown_ca`; written as the
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct AlertCode(pub u8);

impl fmt::Display for AlertCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alert {} {}", self.0, alert_name(self.0).unwrap_or("unknown"))
    }
}

impl Serialize for AlertCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for AlertCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = AlertCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number or the name of a TLS alert")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AlertCode, E> {
                u8::try_from(number).map(AlertCode).map_err(|_| {
                    E::invalid_value(de::Unexpected::Unsigned(number), &"a number up to 255")
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<AlertCode, E> {
                let unsigned = u64::try_from(number);
                self.visit_u64(unsigned.unwrap_or(u64::MAX))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<AlertCode, E> {
                let code = (0..=u8::MAX).find(|code| alert_name(*code) == Some(name));
                code.map(AlertCode)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl TlsExpect {
    /// Adds the clauses. `at` is when the probe started.
    pub(crate) fn evaluate_report(
        &self,
        report: Option<&TlsReport>,
        at: SystemTime,
        clauses: &mut Vec<Clause>,
    ) {
        let now = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut asking = Asking { report, clauses };
        asking.negotiated(self);
        asking.dates(self, now);
        asking.leaf(self);
        asking.verification(self);
    }
}

const NO_TLS: &str = "there was no TLS";
const NO_CERTIFICATE: &str = "no certificate was seen";

/// A report and the clauses about it, so far.
struct Asking<'a> {
    report: Option<&'a TlsReport>,
    clauses: &'a mut Vec<Clause>,
}

impl Asking<'_> {
    /// One clause: `seen` gives what to show and whether it will do, or why nobody can tell.
    fn ask(
        &mut self,
        path: &str,
        expected: impl fmt::Display,
        seen: impl FnOnce(&TlsReport) -> Result<(String, bool), &'static str>,
    ) {
        let path = format!("tls.{path}");
        self.clauses.push(match self.report.map_or(Err(NO_TLS), seen) {
            Ok((actual, met)) => Clause::check(path, expected, actual, met),
            Err(reason) => Clause::not_evaluable(path, expected, reason),
        });
    }

    fn one_of(
        &mut self,
        path: &str,
        wanted: &[String],
        seen: impl FnOnce(&TlsReport) -> Result<String, &'static str>,
    ) {
        if !wanted.is_empty() {
            self.ask(path, wanted.join(" or "), |report| {
                seen(report).map(|seen| {
                    let met = wanted.contains(&seen);
                    (seen, met)
                })
            });
        }
    }

    fn negotiated(&mut self, expect: &TlsExpect) {
        const NOTHING: &str = "nothing was negotiated";
        let versions: Vec<String> = expect.versions.iter().map(ToString::to_string).collect();
        self.one_of("versions", &versions, |report| {
            report.version.map(|version| version.to_string()).ok_or(NOTHING)
        });
        self.one_of("cipher_suites", &expect.cipher_suites, |report| {
            report.cipher_suite.as_deref().map(str::to_owned).ok_or(NOTHING)
        });
        self.one_of("groups", &expect.groups, |report| {
            report.group.as_deref().map(str::to_owned).ok_or(NOTHING)
        });
        self.one_of("alpn", &expect.alpn, |report| match (&report.alpn, report.handshake) {
            (Some(protocol), _) => Ok(protocol.clone()),
            (None, Some(_)) => Ok("none".to_owned()),
            (None, None) => Err(NOTHING),
        });
        if let Some(wanted) = expect.client_auth_requested {
            let text = |requested| if requested { "requested" } else { "not requested" };
            self.ask("client_auth_requested", text(wanted), |report| {
                let requested = report.client_auth.ok_or(NOTHING)? != ClientAuth::NotRequested;
                Ok((text(requested).to_owned(), requested == wanted))
            });
        }
        if let Some(wanted) = expect.alert {
            self.ask("alert", wanted, |report| {
                let Some(alert) = &report.alert else { return Ok(("none".to_owned(), false)) };
                let received = alert.direction == super::AlertDirection::Received;
                Ok((alert.to_string(), received && alert.code == wanted.0))
            });
        }
    }

    fn dates(&mut self, expect: &TlsExpect, now: i64) {
        let days = |end: i64, least: u32| {
            let left = end.saturating_sub(now);
            (format!("{} days", left.div_euclid(86_400)), left >= i64::from(least) * 86_400)
        };
        if let Some(least) = expect.min_days_left {
            self.ask("min_days_left", format_args!("at least {least} days"), |report| {
                report.earliest_expiry.map(|end| days(end, least)).ok_or(NO_CERTIFICATE)
            });
        }
        if let Some(least) = expect.min_chain_days_left {
            self.ask(
                "min_chain_days_left",
                format_args!("at least {least} days"),
                |report| match (report.best_chain_expiry, report.verified_chains.is_empty()) {
                    (Some(end), _) => Ok(days(end, least)),
                    (None, true) => Err("no chain was verified"),
                    (None, false) => Err("the roots are trusted without dates"),
                },
            );
        }
    }

    fn leaf(&mut self, expect: &TlsExpect) {
        fn of(report: &TlsReport) -> Result<&CertificateReport, &'static str> {
            report.leaf().ok_or(NO_CERTIFICATE)
        }
        const UNREADABLE: &str = "the certificate could not be read";
        if let Some(wanted) = &expect.subject {
            self.ask("subject", wanted, |report| {
                let text = of(report)?.subject.as_ref().ok_or(UNREADABLE)?;
                Ok((text.clone(), wanted.met(text)))
            });
        }
        if let Some(wanted) = &expect.issuer {
            self.ask("issuer", wanted, |report| {
                let text = of(report)?.issuer.as_ref().ok_or(UNREADABLE)?;
                Ok((text.clone(), wanted.met(text)))
            });
        }
        if !expect.names.is_empty() {
            self.ask("names", expect.names.join(", "), |report| {
                let names = &of(report)?.names;
                let has = |wanted: &String| {
                    names.dns.iter().any(|name| name.eq_ignore_ascii_case(wanted))
                        || names.ip.iter().any(|address| address.to_string() == *wanted)
                        || names.email.contains(wanted)
                        || names.uri.contains(wanted)
                };
                Ok((names.shown(8), expect.names.iter().all(has)))
            });
        }
        self.one_of("key_algorithms", &expect.key_algorithms, |report| {
            Ok(of(report)?.key.as_ref().ok_or(UNREADABLE)?.algorithm.clone())
        });
        if let Some(least) = expect.min_rsa_bits {
            self.ask("min_rsa_bits", format_args!("RSA of at least {least} bits"), |report| {
                let key = of(report)?.key.as_ref().ok_or(UNREADABLE)?;
                let bits = key.bits.unwrap_or_default();
                let is_rsa = key.algorithm.starts_with("RSA");
                Ok((format!("{} of {bits} bits", key.algorithm), !is_rsa || bits >= least))
            });
        }
        let same = |wanted: &[String], seen: &str| wanted.iter().any(|pin| plain_hex(pin) == seen);
        if !expect.sha256.is_empty() {
            self.ask("sha256", expect.sha256.join(" or "), |report| {
                let seen = &of(report)?.sha256;
                Ok((seen.clone(), same(&expect.sha256, seen)))
            });
        }
        if !expect.spki_sha256.is_empty() {
            self.ask("spki_sha256", expect.spki_sha256.join(" or "), |report| {
                of(report)?;
                let keys = report.certificates.iter().filter_map(|cert| cert.key.as_ref());
                let pins: Vec<&str> = keys.map(|key| key.spki_sha256.as_str()).collect();
                let met = pins.iter().any(|pin| same(&expect.spki_sha256, pin));
                Ok((pins.join(", "), met))
            });
        }
    }

    fn verification(&mut self, expect: &TlsExpect) {
        const NOT_MADE: &str = "the check was not made";
        for (kind, wanted) in &expect.checks {
            self.ask(&format!("checks.{kind}"), wanted, |report| {
                let seen = report.status(*kind).ok_or(NOT_MADE)?;
                Ok((seen.to_string(), seen == *wanted))
            });
        }
        if expect.verified {
            let excused = |check: CheckKind| expect.may_fail.contains(&check);
            self.ask("verified", "every check passed", |report| {
                if report.checks.is_empty() {
                    return Err(NOT_MADE);
                }
                let failed = report.failed().filter(|check| !excused(check.check));
                let failed: Vec<String> = failed.map(ToString::to_string).collect();
                Ok(match failed.as_slice() {
                    [] => ("passed".to_owned(), true),
                    failed => (failed.join("; "), false),
                })
            });
        }
        if let Some(wanted) = expect.ocsp {
            self.ask("ocsp", wanted, |report| {
                let ocsp = report.ocsp.as_ref().ok_or("nothing was stapled")?;
                let seen = ocsp.status.ok_or("the staple could not be read")?;
                Ok((seen.to_string(), seen == wanted))
            });
        }
    }
}

/// Lower-case hex without colons.
fn plain_hex(text: &str) -> String {
    text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ClauseStatus::{self, Fail, NotEvaluable, Pass};
    use crate::tls::{Alert, AlertDirection, Check, HandshakeKind, OcspReport, PublicKeyReport};

    const DAY: i64 = 86_400;

    fn report() -> TlsReport {
        let mut leaf = CertificateReport {
            sha256: "abcd".to_owned(),
            subject: Some("CN=a.test,O=Acme".to_owned()),
            issuer: Some("CN=R3,O=Authority".to_owned()),
            key: Some(PublicKeyReport {
                algorithm: "RSA".to_owned(),
                bits: Some(2_048),
                spki_sha256: "0123".to_owned(),
                ..PublicKeyReport::default()
            }),
            ..CertificateReport::default()
        };
        leaf.names.dns = vec!["a.test".to_owned(), "*.b.test".to_owned()];
        leaf.names.ip = vec!["192.0.2.1".parse().unwrap()];
        let mut failed = Check::new(CheckKind::Validity, CheckStatus::Failed);
        failed.code = Some(crate::FailureKind::TlsExpired);
        TlsReport {
            version: Some(TlsVersion::Tls12),
            cipher_suite: Some("TLS_X".into()),
            handshake: Some(HandshakeKind::Full),
            client_auth: Some(ClientAuth::NotRequested),
            certificates: vec![Arc::new(leaf)],
            checks: vec![Check::new(CheckKind::Name, CheckStatus::Passed), failed],
            earliest_expiry: Some(20 * DAY),
            ocsp: Some(OcspReport { status: Some(OcspStatus::Good), ..OcspReport::default() }),
            alert: Some(Alert::new(AlertDirection::Received, Some(2), 48)),
            ..TlsReport::default()
        }
    }

    fn outcome(yaml: &str, report: Option<&TlsReport>) -> Vec<ClauseStatus> {
        let expect: TlsExpect = serde_saphyr::from_str(yaml).unwrap();
        let mut clauses = Vec::new();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * 86_400);
        expect.evaluate_report(report, at, &mut clauses);
        assert!(clauses.iter().all(|clause| clause.path.starts_with("tls.")));
        clauses.iter().map(|clause| clause.status).collect()
    }

    #[test]
    fn each_condition_alone() {
        let report = report();
        let cases = [
            ("min_days_left: 10", Pass),
            ("min_days_left: 11", Fail),
            ("min_chain_days_left: 1", NotEvaluable),
            ("versions: [tls1.2, tls1.3]", Pass),
            ("versions: [tls1.3]", Fail),
            ("cipher_suites: [TLS_X]", Pass),
            ("cipher_suites: [TLS_Y]", Fail),
            ("groups: [x25519]", NotEvaluable),
            ("alpn: [h2]", Fail),
            ("subject: {is: 'CN=a.test,O=Acme'}", Pass),
            ("subject: {is: 'CN=a.test'}", Fail),
            ("issuer: {contains: Authority}", Pass),
            ("issuer: {contains: Other}", Fail),
            ("names: [A.test, 192.0.2.1]", Pass),
            ("names: [a.test, x.b.test]", Fail),
            ("key_algorithms: [EC, RSA]", Pass),
            ("key_algorithms: [EC]", Fail),
            ("min_rsa_bits: 2048", Pass),
            ("min_rsa_bits: 3072", Fail),
            ("sha256: ['AB:CD']", Pass),
            ("sha256: ['ab']", Fail),
            ("spki_sha256: ['ff', '0123']", Pass),
            ("spki_sha256: ['ff']", Fail),
            ("checks: {name: passed}", Pass),
            ("checks: {validity: passed}", Fail),
            ("checks: {validity: failed}", Pass),
            ("checks: {ocsp: passed}", NotEvaluable),
            ("verified: true", Fail),
            ("verified: true\nmay_fail: [validity]", Pass),
            ("ocsp: good", Pass),
            ("ocsp: revoked", Fail),
            ("client_auth_requested: false", Pass),
            ("client_auth_requested: true", Fail),
            ("alert: 48", Pass),
            ("alert: unknown_ca", Pass),
            ("alert: 40", Fail),
        ];
        for (yaml, wanted) in cases {
            assert_eq!(outcome(yaml, Some(&report)), [wanted], "{yaml}");
            let alert = yaml.starts_with("alert") || yaml.starts_with("alpn: [h2]");
            let unseen = outcome(yaml, Some(&TlsReport::default()));
            assert_eq!(unseen, [if alert && !yaml.contains("h2") { Fail } else { NotEvaluable }]);
            assert_eq!(outcome(yaml, None), [NotEvaluable], "{yaml}");
        }
        assert_eq!(outcome("{}", Some(&report)), []);
    }

    #[test]
    fn alerts_by_number_and_name() {
        let read = |text: &str| serde_json::from_str::<AlertCode>(text);
        assert_eq!(read("112").unwrap(), read("\"unrecognized_name\"").unwrap());
        assert_eq!(serde_json::to_string(&AlertCode(112)).unwrap(), "112");
        for bad in ["256", "-1", "\"no_such\"", "true"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
