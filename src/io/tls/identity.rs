//! The identity that a server claims, check by check: chain, signatures, dates, uses, name,
//! revocation, staple. What is wrong first does not hide what else is wrong.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error as Pki, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeIdIter, KeyUsage, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use super::certificate::Parsed;
use super::finding::{Finding, Scene, date, for_servers};
use super::ocsp;
use super::paths::{Paths, walk};
use super::verifier::Material;
use crate::tls::{
    CertificateRole, Check, CheckKind, CheckStatus, CrlPolicy, OcspPolicy, OcspReport, OcspStatus,
    VerifiedChain,
};
use crate::verdict::FailureKind;

/// What the checks came to.
pub(super) struct Outcome {
    pub(super) roles: Vec<CertificateRole>,
    pub(super) chains: Vec<VerifiedChain>,
    pub(super) checks: Vec<Check>,
    pub(super) ocsp: Option<OcspReport>,
    /// The finding that ends a handshake in full verification.
    pub(super) fatal: Option<Finding>,
}

/// How a chain is to be searched.
#[derive(Clone, Copy)]
struct Search {
    time: UnixTime,
    /// Usage and revocation lists count, and every chain is wanted.
    strict: bool,
}

/// The identity that a server claims: the served certificates and what they must show.
pub(super) struct Identity<'a> {
    pub(super) material: &'a Material,
    pub(super) name: Option<&'a ServerName<'static>>,
    pub(super) served: &'a [Arc<Parsed>],
    pub(super) now: UnixTime,
}

impl Identity<'_> {
    fn seconds(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)
    }

    /// Makes every check but that of the handshake's signature. `limit` says that the served list
    /// was too long to be looked at.
    pub(super) fn check(&self, limit: Option<Finding>, ocsp_response: &[u8]) -> Outcome {
        let Material { roots, limits, .. } = self.material;
        let paths = walk(self.served, roots, limits.path_steps);
        let scene = Scene { served: self.served, paths: &paths, roots };
        let leaf_der = self.served.first().map(|leaf| CertificateDer::from(leaf.der.as_slice()));
        let leaf = leaf_der.as_ref().map(EndEntityCert::try_from);

        let mut chains = Vec::new();
        let mut findings: Vec<Finding> = Vec::new();
        let strict = match &leaf {
            _ if limit.is_some() => limit,
            Some(Ok(leaf)) => self.strict(leaf, scene, &mut chains).err(),
            Some(Err(error)) => Some(scene.finding(error)),
            None => Some(Finding::new(CheckKind::Chain, FailureKind::TlsNoCertificate, "")),
        };
        // What lies behind the first error: is there a chain at all, are the dates and uses right?
        let strictly = strict.is_none();
        let mut chain_known = strictly;
        if let Some(finding) = strict {
            if finding.check == CheckKind::Chain || finding.check == CheckKind::Signature {
                chain_known = true;
            } else if let (Some(Ok(leaf)), Some(time)) = (&leaf, self.common_time(&finding, &paths))
            {
                chain_known = true;
                let relaxed = self.relaxed(leaf, scene, time);
                findings.extend(relaxed.err().filter(|other| other.check != finding.check));
            }
            findings.push(finding);
            self.dates(&paths, &mut findings);
            self.usage(&mut findings);
        }
        if let Some(Ok(leaf)) = &leaf {
            findings.extend(self.name(leaf));
        }
        let ocsp = self.ocsp(ocsp_response, &chains, &mut findings);

        let checks = self.checks(&findings, chain_known, strictly, &leaf, ocsp.is_some());
        let is_fatal = |finding: &&Finding| {
            finding.check != CheckKind::Ocsp || self.material.ocsp == OcspPolicy::Fail
        };
        findings.sort_by_key(|finding| finding.check);
        let fatal = findings.iter().find(is_fatal).cloned();
        Outcome { roles: self.roles(&paths), chains, checks, ocsp, fatal }
    }

    fn strict(
        &self,
        leaf: &EndEntityCert<'_>,
        scene: Scene<'_>,
        chains: &mut Vec<VerifiedChain>,
    ) -> Result<(), Finding> {
        let Some(parsed) = self.served.first() else { return Ok(()) };
        if scene.paths.out_of_budget {
            let detail = "too many ways through the served certificates";
            return Err(Finding::new(CheckKind::Chain, FailureKind::TlsBudget, detail));
        }
        if let Some(place) = self.material.roots.find(parsed) {
            return self.trusted_leaf(parsed, place, chains);
        }
        if parsed.report.is_ca && (parsed.report.self_issued || !scene.paths.anchored) {
            // webpki would only say that this is an authority's certificate.
            return Err(scene.unknown_issuer());
        }
        let search = Search { time: self.now, strict: true };
        let outcome = self.search(leaf, scene.paths, search, chains);
        outcome.map_err(|error| scene.finding(&error))
    }

    /// The server's certificate is itself a trusted root, as with `openssl req -x509`. webpki takes
    /// no authority for a server; browsers and Go do if it is trusted as such.
    fn trusted_leaf(
        &self,
        leaf: &Parsed,
        place: usize,
        chains: &mut Vec<VerifiedChain>,
    ) -> Result<(), Finding> {
        if let Some(finding) = self.date(0, leaf) {
            return Err(finding);
        }
        if !for_servers(leaf) {
            let detail = "the trusted certificate is for other uses";
            return Err(Finding::new(CheckKind::Usage, FailureKind::TlsUsage, detail).at(0));
        }
        let root = self.material.roots.report(place);
        chains.push(VerifiedChain::new(vec![0], root, leaf.report.not_after));
        Ok(())
    }

    /// Only whether there is a chain: no usages, no lists, at a time when all dates are right.
    fn relaxed(
        &self,
        leaf: &EndEntityCert<'_>,
        scene: Scene<'_>,
        time: UnixTime,
    ) -> Result<(), Finding> {
        let trusted = |parsed: &Arc<Parsed>| self.material.roots.find(parsed).is_some();
        if self.served.first().is_some_and(trusted) {
            return Ok(());
        }
        let search = Search { time, strict: false };
        let outcome = self.search(leaf, scene.paths, search, &mut Vec::new());
        outcome.map_err(|error| scene.finding(&error))
    }

    fn search(
        &self,
        leaf: &EndEntityCert<'_>,
        paths: &Paths,
        search: Search,
        chains: &mut Vec<VerifiedChain>,
    ) -> Result<(), Pki> {
        let Material { roots, crls, crl_policy, limits, algorithms, .. } = self.material;
        let der = |place: &usize| {
            self.served.get(*place).map(|parsed| CertificateDer::from(parsed.der.as_slice()))
        };
        let intermediates: Vec<CertificateDer<'_>> = paths.useful.iter().filter_map(der).collect();
        let lists: Vec<&CertRevocationList<'_>> = crls.iter().collect();
        let revocation = revocation(&lists, *crl_policy).filter(|_| search.strict);
        let most = usize::try_from(limits.chains.max(1)).unwrap_or(usize::MAX);
        let found = RefCell::new(chains);
        // Refusing a path makes webpki look for the next one.
        let each_path = |path: &VerifiedPath<'_>| {
            let place = roots.place(path.anchor());
            if search.strict {
                self.root_dates(place)?;
            } else {
                return Ok(());
            }
            let mut found = found.borrow_mut();
            found.push(self.chain(path, place));
            if found.len() < most { Err(Pki::UnknownIssuer) } else { Ok(()) }
        };
        let outcome = leaf.verify_for_usage(
            algorithms.all,
            &roots.anchors,
            &intermediates,
            search.time,
            Usages { strict: search.strict },
            revocation,
            Some(&each_path),
        );
        match outcome {
            Err(error) if found.borrow().is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// webpki does not look at the dates of roots.
    fn root_dates(&self, place: Option<usize>) -> Result<(), Pki> {
        let dates = place.map(|place| self.material.roots.validity(place));
        let unix = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or_default();
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
        };
        match dates {
            Some((_, Some(end))) if end < self.seconds() => {
                Err(Pki::CertExpired { time: self.now, not_after: unix(end) })
            }
            Some((Some(start), _)) if start > self.seconds() => {
                Err(Pki::CertNotValidYet { time: self.now, not_before: unix(start) })
            }
            _ => Ok(()),
        }
    }

    fn chain(&self, path: &VerifiedPath<'_>, root: Option<usize>) -> VerifiedChain {
        let place_of = |der: CertificateDer<'_>| {
            self.served.iter().position(|parsed| parsed.der.as_slice() == der.as_ref())
        };
        let between = path.intermediate_certificates().filter_map(|cert| place_of(cert.der()));
        let places: Vec<usize> = std::iter::once(0).chain(between).collect();
        let ends = places.iter().filter_map(|place| self.served.get(*place)?.report.not_after);
        let (report, end) = match root {
            Some(place) => {
                (self.material.roots.report(place), self.material.roots.validity(place).1)
            }
            None => (Arc::default(), None),
        };
        let expiry = end.map(|end| ends.fold(end, i64::min));
        let places = places.into_iter().filter_map(|place| u32::try_from(place).ok()).collect();
        VerifiedChain::new(places, report, expiry)
    }

    /// A moment at which every certificate that matters is valid. Where the dates are not what is
    /// wrong, now will do.
    fn common_time(&self, finding: &Finding, paths: &Paths) -> Option<UnixTime> {
        if finding.check != CheckKind::Validity {
            return Some(self.now);
        }
        let places = std::iter::once(0).chain(paths.useful.iter().copied());
        let mut span = (i64::MIN, i64::MAX);
        for parsed in places.filter_map(|place| self.served.get(place)) {
            span.0 = span.0.max(parsed.report.not_before?);
            span.1 = span.1.min(parsed.report.not_after?);
        }
        let inside = self.seconds().clamp(span.0, span.1.max(span.0));
        let seconds = u64::try_from(inside).ok().filter(|_| span.0 <= span.1)?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }

    fn date(&self, place: usize, parsed: &Parsed) -> Option<Finding> {
        let (start, end) = (parsed.report.not_before, parsed.report.not_after);
        let finding = if end.is_some_and(|end| end < self.seconds()) {
            let detail = format!("expired on {}", date(end));
            Finding::new(CheckKind::Validity, FailureKind::TlsExpired, detail)
        } else if start.is_some_and(|start| start > self.seconds()) {
            let detail = format!("valid from {}", date(start));
            Finding::new(CheckKind::Validity, FailureKind::TlsNotYetValid, detail)
        } else {
            return None;
        };
        Some(finding.at(place))
    }

    /// One finding for each certificate whose dates are wrong, when there is no chain.
    fn dates(&self, paths: &Paths, findings: &mut Vec<Finding>) {
        for place in std::iter::once(0).chain(paths.useful.iter().copied()) {
            let finding = self.served.get(place).and_then(|parsed| self.date(place, parsed));
            let known = |finding: &Finding| {
                findings.iter().any(|other| {
                    other.check == finding.check && other.certificate == finding.certificate
                })
            };
            if let Some(finding) = finding.filter(|finding| !known(finding)) {
                findings.push(finding);
            }
        }
    }

    fn usage(&self, findings: &mut Vec<Finding>) {
        let known = findings.iter().any(|finding| finding.check == CheckKind::Usage);
        if let Some(leaf) = self.served.first().filter(|leaf| !known && !for_servers(leaf)) {
            let usages = leaf.report.extended_key_usage.as_ref().map(|usages| usages.join(", "));
            let detail = format!("only for: {}", usages.unwrap_or_default());
            findings.push(Finding::new(CheckKind::Usage, FailureKind::TlsUsage, detail).at(0));
        }
    }

    fn name(&self, leaf: &EndEntityCert<'_>) -> Option<Finding> {
        /// Names that a message lists; the report has more.
        const LISTED: usize = 8;
        let make = |detail: String| {
            Finding::new(CheckKind::Name, FailureKind::TlsNameMismatch, detail).at(0)
        };
        let Some(name) = self.name else {
            return Some(make("nothing that a certificate could be for was given".to_owned()));
        };
        leaf.verify_is_valid_for_subject_name(name).err()?;
        let names = &self.served.first()?.report.names;
        let addresses = names.ip.iter().map(ToString::to_string);
        let mut listed: Vec<String> = names.dns.iter().cloned().chain(addresses).collect();
        let count = listed.len();
        listed.truncate(LISTED);
        let more = if count > LISTED { ", ..." } else { "" };
        let asked = name.to_str();
        Some(make(match listed.as_slice() {
            [] => format!("asked for {asked}; it has no alternative names"),
            listed => format!("asked for {asked}; it is for {}{more}", listed.join(", ")),
        }))
    }

    fn ocsp(
        &self,
        response: &[u8],
        chains: &[VerifiedChain],
        findings: &mut Vec<Finding>,
    ) -> Option<OcspReport> {
        let leaf = self.served.first().filter(|_| !response.is_empty())?;
        let issuer = self.issuer_key(leaf, chains);
        let report =
            ocsp::check(response, leaf, issuer, self.material.algorithms.all, self.seconds());
        if !report.is_good() {
            let code = match report.status {
                Some(OcspStatus::Revoked) => FailureKind::TlsRevoked,
                _ => FailureKind::TlsOcsp,
            };
            let detail = match (&report.error, report.status) {
                (Some(error), _) => error.clone(),
                (None, Some(OcspStatus::Revoked)) => {
                    format!("revoked on {}", date(report.revoked_at))
                }
                (None, Some(OcspStatus::Unknown)) => "unknown to the responder".to_owned(),
                _ if report.outdated => {
                    format!("outdated: next update {}", date(report.next_update))
                }
                _ => "wrongly signed".to_owned(),
            };
            findings.push(Finding::new(CheckKind::Ocsp, code, detail).at(0));
        }
        Some(report)
    }

    /// The key of the leaf's issuer, from a verified chain if there is one, else by name.
    fn issuer_key(&self, leaf: &Parsed, chains: &[VerifiedChain]) -> Option<&[u8]> {
        let next = chains.first().and_then(|chain| chain.served.get(1));
        let place = match next {
            Some(place) => usize::try_from(*place).ok(),
            None if chains.is_empty() => self
                .served
                .iter()
                .skip(1)
                .position(|other| other.subject == leaf.issuer)
                .map(|n| n + 1),
            None => None,
        };
        if let Some(parsed) = place.and_then(|place| self.served.get(place)) {
            return Some(&parsed.spki);
        }
        let roots = &self.material.roots;
        let root = roots.named(&leaf.issuer).next()?;
        roots.anchors.get(root).map(|root| root.subject_public_key_info.as_ref())
    }

    fn checks(
        &self,
        findings: &[Finding],
        chain_known: bool,
        strictly: bool,
        leaf: &Option<Result<EndEntityCert<'_>, Pki>>,
        stapled: bool,
    ) -> Vec<Check> {
        let failed = |kind: CheckKind| findings.iter().any(|finding| finding.check == kind);
        let chain_failed = failed(CheckKind::Chain) || failed(CheckKind::Signature);
        let readable = matches!(leaf, Some(Ok(_)));
        let mut checks = Vec::with_capacity(8);
        for kind in CheckKind::ALL.iter().copied() {
            let before = checks.len();
            let of_kind = findings.iter().filter(|finding| finding.check == kind);
            checks.extend(of_kind.map(Check::from));
            if checks.len() > before {
                continue;
            }
            let passed = match kind {
                CheckKind::Chain | CheckKind::Signature => chain_known && !chain_failed,
                CheckKind::Validity => readable,
                CheckKind::Usage => readable && !chain_failed,
                CheckKind::Name => readable,
                CheckKind::Revocation => !self.material.crls.is_empty() && strictly,
                CheckKind::Ocsp => stapled,
                // Made later, by the one who sees the signature.
                CheckKind::HandshakeSignature => continue,
            };
            let status = if passed { CheckStatus::Passed } else { CheckStatus::Skipped };
            checks.push(Check::new(kind, status));
        }
        checks
    }

    fn roles(&self, paths: &Paths) -> Vec<CertificateRole> {
        let served = self.served.iter().zip(&paths.reachable).enumerate();
        let role = |(place, (parsed, reachable)): (usize, (&Arc<Parsed>, &bool))| {
            if place == 0 {
                CertificateRole::Leaf
            } else if !*reachable {
                CertificateRole::Unrelated
            } else if parsed.report.self_issued {
                CertificateRole::Root
            } else {
                CertificateRole::Intermediate
            }
        };
        served.map(role).collect()
    }
}

fn revocation<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    policy: CrlPolicy,
) -> Option<RevocationOptions<'a>> {
    let mut options = RevocationOptionsBuilder::new(lists).ok()?;
    if policy.leaf_only {
        options = options.with_depth(RevocationCheckDepth::EndEntity);
    }
    if policy.allow_missing {
        options = options.with_status_policy(UnknownStatusPolicy::Allow);
    }
    if !policy.allow_expired {
        options = options.with_expiration_policy(ExpirationPolicy::Enforce);
    }
    Some(options.build())
}

/// The extended key usages of a chain for servers, or whatever they are.
struct Usages {
    strict: bool,
}

impl ExtendedKeyUsageValidator for Usages {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Pki> {
        if self.strict { KeyUsage::server_auth().validate(usages) } else { Ok(()) }
    }
}
