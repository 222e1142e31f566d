//! What is trusted, loaded once when a prober is built: roots and revocation lists.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::certificate::Parsed;
use super::name;
use crate::Error;
use crate::tls::{RootReport, TlsConfig, TlsLimits, Trust};

/// The trusted roots, in the form that webpki takes and with what it does not keep.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// In step with `anchors`.
    details: Vec<Detail>,
    /// Places in `anchors`, sorted by subject.
    by_subject: Vec<usize>,
}

#[derive(Debug, Default)]
struct Detail {
    /// The certificate, where the source has more than its name and key.
    certificate: Option<Box<RootCertificate>>,
    report: OnceLock<Arc<RootReport>>,
}

#[derive(Debug)]
struct RootCertificate {
    der: Vec<u8>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    sha256: String,
}

impl Roots {
    pub(super) fn load(config: &TlsConfig) -> Result<Self, Error> {
        let mut roots = Roots::default();
        match &config.trust {
            Trust::WebPki => roots.add_webpki()?,
            Trust::System => roots.add_system()?,
            Trust::Files(paths) => {
                for (index, path) in paths.iter().enumerate() {
                    roots.add_file(&format!("trust.files[{index}]"), path)?;
                }
            }
            Trust::Pem(text) => roots.add_pem("trust.pem", text.as_bytes())?,
            Trust::None => {}
        }
        for (index, path) in config.ca_files.iter().enumerate() {
            roots.add_file(&format!("ca_files[{index}]"), path)?;
        }
        if roots.anchors.is_empty() && !config.records_only() {
            return Err(Error::config("trust", "no root is trusted, nothing could be verified"));
        }
        let anchors = &roots.anchors;
        let subject = |index: &usize| anchors.get(*index).map(|anchor| anchor.subject.as_ref());
        roots.by_subject = (0..anchors.len()).collect();
        roots.by_subject.sort_by(|a, b| subject(a).cmp(&subject(b)));
        Ok(roots)
    }

    #[cfg(feature = "webpki-roots")]
    #[expect(clippy::unnecessary_wraps, reason = "its twin without the feature fails")]
    fn add_webpki(&mut self) -> Result<(), Error> {
        self.anchors.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
        self.details.resize_with(self.anchors.len(), Detail::default);
        Ok(())
    }

    #[cfg(not(feature = "webpki-roots"))]
    fn add_webpki(&mut self) -> Result<(), Error> {
        Err(Error::feature("trust", "webpki-roots"))
    }

    #[cfg(feature = "native-roots")]
    fn add_system(&mut self) -> Result<(), Error> {
        let found = rustls_native_certs::load_native_certs();
        for der in &found.certs {
            // Stores hold the odd certificate that no verifier takes; the rest must work.
            let _ = self.add(der);
        }
        if self.anchors.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(Error::config("trust", format!("the system's store is empty{why}")));
        }
        Ok(())
    }

    #[cfg(not(feature = "native-roots"))]
    fn add_system(&mut self) -> Result<(), Error> {
        Err(Error::feature("trust", "native-roots"))
    }

    fn add_file(&mut self, key: &str, path: &Path) -> Result<(), Error> {
        let text = fs::read(path).map_err(|source| Error::file(key, path, source))?;
        self.add_pem(key, &text)
    }

    fn add_pem(&mut self, key: &str, text: &[u8]) -> Result<(), Error> {
        let mut count = 0;
        for der in CertificateDer::pem_slice_iter(text) {
            count += 1;
            let added = der.map_err(|error| error.to_string()).and_then(|der| self.add(&der));
            added.map_err(|why| Error::config(key, format!("certificate {count}: {why}")))?;
        }
        if count == 0 {
            return Err(Error::config(key, "holds no certificate in PEM"));
        }
        Ok(())
    }

    fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), String> {
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| error.to_string())?;
        let known = |detail: &Detail| {
            detail.certificate.as_ref().is_some_and(|known| known.der == der.as_ref())
        };
        if self.details.iter().any(known) {
            return Ok(());
        }
        let read = Parsed::new(der, &TlsLimits::default(), false);
        self.anchors.push(anchor.to_owned());
        self.details.push(Detail {
            certificate: Some(Box::new(RootCertificate {
                der: read.der,
                not_before: read.report.not_before,
                not_after: read.report.not_after,
                sha256: read.report.sha256,
            })),
            report: OnceLock::new(),
        });
        Ok(())
    }

    /// Places of the roots with this subject (content without the outer header).
    pub(super) fn named<'a>(&'a self, subject: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let subject_of = |index: usize| self.anchors.get(index).map(|root| root.subject.as_ref());
        let start = self.by_subject.partition_point(|index| subject_of(*index) < Some(subject));
        let from = self.by_subject.get(start..).unwrap_or_default();
        from.iter().copied().take_while(move |index| subject_of(*index) == Some(subject))
    }

    /// Whether a root has this subject and key (both without their outer headers).
    pub(super) fn has_key(&self, subject: &[u8], spki: &[u8]) -> bool {
        self.named(subject).any(|index| {
            self.anchors
                .get(index)
                .is_some_and(|root| root.subject_public_key_info.as_ref() == spki)
        })
    }

    /// The place of a root that is this very certificate.
    pub(super) fn find(&self, certificate: &Parsed) -> Option<usize> {
        self.named(&certificate.subject).find(|index| {
            let detail = self.details.get(*index).and_then(|detail| detail.certificate.as_ref());
            detail.is_some_and(|root| root.der == certificate.der)
        })
    }

    /// The place of an anchor that webpki has handed back by reference.
    pub(super) fn place(&self, anchor: &TrustAnchor<'_>) -> Option<usize> {
        let mut candidates = self.named(anchor.subject.as_ref());
        candidates.find(|index| {
            self.anchors
                .get(*index)
                .is_some_and(|root| std::ptr::eq::<TrustAnchor<'_>>(root, anchor))
        })
    }

    /// First and last second of validity, where they are known.
    pub(super) fn validity(&self, place: usize) -> (Option<i64>, Option<i64>) {
        let detail = self.details.get(place).and_then(|detail| detail.certificate.as_ref());
        detail.map_or((None, None), |root| (root.not_before, root.not_after))
    }

    pub(super) fn report(&self, place: usize) -> Arc<RootReport> {
        let (Some(anchor), Some(detail)) = (self.anchors.get(place), self.details.get(place))
        else {
            return Arc::default();
        };
        let make = || {
            Arc::new(RootReport {
                subject: name::text(anchor.subject.as_ref()).ok(),
                sha256: detail.certificate.as_ref().map(|root| root.sha256.clone()),
                not_after: detail.certificate.as_ref().and_then(|root| root.not_after),
            })
        };
        Arc::clone(detail.report.get_or_init(make))
    }
}

/// The revocation lists of the configuration.
pub(super) fn load_crls(config: &TlsConfig) -> Result<Vec<CertRevocationList<'static>>, Error> {
    let mut lists = Vec::new();
    for (index, path) in config.crl_files.iter().enumerate() {
        let key = format!("crl_files[{index}]");
        let bytes = fs::read(path).map_err(|source| Error::file(&key, path, source))?;
        let bad = |why: String| Error::config(&key, why);
        let ders = if bytes.first() == Some(&0x30) {
            vec![CertificateRevocationListDer::from(bytes)]
        } else {
            CertificateRevocationListDer::pem_slice_iter(&bytes)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| bad(error.to_string()))?
        };
        if ders.is_empty() {
            return Err(bad("holds no revocation list".to_owned()));
        }
        for der in ders {
            let list = OwnedCertRevocationList::from_der(der.as_ref());
            lists.push(list.map_err(|error| bad(format!("unusable revocation list: {error}")))?);
        }
    }
    Ok(lists.into_iter().map(CertRevocationList::from).collect())
}

/// The content of a SEQUENCE with its header in front.
pub(super) fn with_header(content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    let mut whole = vec![0x30];
    if content.len() < 0x80 {
        whole.extend(digits.iter().copied().chain((digits.is_empty()).then_some(0)));
    } else {
        whole.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        whole.extend_from_slice(digits);
    }
    whole.extend_from_slice(content);
    whole
}
