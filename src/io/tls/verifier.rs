//! The recording verifier: makes every check apart from the others, keeps what it saw, and lets the
//! handshake go on or not as the configuration says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::CertRevocationList;

use super::cache::Cache;
use super::certificate::Parsed;
use super::finding::{Finding, handshake_signature};
use super::identity::{Identity, Outcome};
use super::roots::Roots;
use crate::tls::{
    CertificateRole, Check, CheckKind, CheckStatus, ClientAuth, CrlPolicy, OcspPolicy, OcspReport,
    TlsLimits, VerifiedChain, Verify,
};
use crate::verdict::FailureKind;

/// What all handshakes of a prober share.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) roots: Roots,
    pub(super) crls: Vec<CertRevocationList<'static>>,
    pub(super) crl_policy: CrlPolicy,
    pub(super) ocsp: OcspPolicy,
    pub(super) verify: Verify,
    pub(super) limits: TlsLimits,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) cache: Cache,
    pub(super) client_key: Option<Arc<CertifiedKey>>,
}

/// What one handshake showed.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) served: Vec<Arc<Parsed>>,
    pub(super) roles: Vec<CertificateRole>,
    pub(super) chains: Vec<VerifiedChain>,
    pub(super) checks: Vec<Check>,
    pub(super) ocsp: Option<OcspReport>,
    pub(super) scheme: Option<SignatureScheme>,
    pub(super) client_auth: Option<ClientAuth>,
    /// Why the handshake was given up.
    pub(super) fatal: Option<Finding>,
}

/// The verifier and client certificate resolver of one handshake.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) material: Arc<Material>,
    /// What the certificate must be for; `None` if that is no name a certificate could carry.
    pub(super) name: Option<ServerName<'static>>,
    record: Mutex<Record>,
}

impl Recorder {
    pub(super) fn new(material: Arc<Material>, name: Option<ServerName<'static>>) -> Self {
        Recorder { material, name, record: Mutex::default() }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a finding end the handshake, or not.
    fn conclude(&self, record: &mut Record, fatal: Option<Finding>) -> Result<(), rustls::Error> {
        match fatal {
            Some(finding) if self.material.verify == Verify::Full => {
                let error = finding.to_rustls();
                record.fatal = Some(finding);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn signature(
        &self,
        scheme: SignatureScheme,
        outcome: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let mut record = self.record();
        record.scheme = Some(scheme);
        let Err(error) = outcome else {
            record.checks.push(Check::new(CheckKind::HandshakeSignature, CheckStatus::Passed));
            return outcome;
        };
        let finding = handshake_signature(&error, record.served.first().map(AsRef::as_ref));
        record.checks.push(Check::from(&finding));
        if self.material.verify == Verify::Full {
            record.fatal = Some(finding);
            return Err(error);
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut record = self.record();
        let most = usize::try_from(self.material.limits.certificates).unwrap_or(usize::MAX);
        let served = std::iter::once(end_entity).chain(intermediates).take(most);
        record.served = served.map(|der| self.material.cache.get(der)).collect();
        let identity = Identity {
            material: &self.material,
            name: self.name.as_ref(),
            served: &record.served,
            now,
        };
        let limit = (intermediates.len() >= most).then(|| {
            let count = intermediates.len() + 1;
            let detail = format!("{count} certificates, the cap is {most}");
            Finding::new(CheckKind::Chain, FailureKind::TlsLimit, detail)
        });
        let outcome = identity.check(limit, ocsp_response);
        let Outcome { roles, chains, checks, ocsp, fatal } = outcome;
        (record.roles, record.chains, record.checks) = (roles, chains, checks);
        record.ocsp = ocsp;
        self.conclude(&mut record, fatal).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.material.algorithms;
        self.signature(dss.scheme, verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.material.algorithms;
        self.signature(dss.scheme, verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.material.algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.material.client_key.as_ref();
        let key = key.filter(|key| key.key.choose_scheme(schemes).is_some());
        self.record().client_auth =
            Some(if key.is_some() { ClientAuth::Sent } else { ClientAuth::Empty });
        key.map(Arc::clone)
    }

    fn has_certs(&self) -> bool {
        self.material.client_key.is_some()
    }
}
