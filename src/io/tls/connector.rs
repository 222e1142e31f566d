//! The recorded handshake.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncWrite};

use super::classify;
use super::names;
use super::setup::{self, Ready, server_name};
use super::stream::TlsStream;
use super::tap::{Opening, Tap, Wire, plain_alert, read_once};
use super::verifier::{Material, Recorder};
use crate::tls::{
    Alert, AlertDirection, CertificateRole, ClientAuth, Sni, TlsConfig, TlsHint, TlsReport,
    TlsVersion,
};
use crate::verdict::{Failure, FailureKind, LimitHit, RawCode};
use crate::{Error, Host};

/// A hello above this does not fit into one segment of an Ethernet path (1,500 bytes less the
/// headers of IPv6 and of TCP with its usual options).
const ONE_SEGMENT: u64 = 1_428;

/// Makes TLS connections and records everything about them. Built once: it holds what the
/// configuration names, read and checked.
///
/// ```no_run
/// use netsonde::tls::{TlsConfig, TlsConnector, TlsReport};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = TlsConnector::new(&TlsConfig::default())?;
/// let stream = tokio::net::TcpStream::connect("127.0.0.1:8443").await?;
/// let mut report = TlsReport::default();
/// let outcome = connector.handshake(Some(&"localhost".parse()?), stream, &mut report).await;
/// println!("{:?} {:?}", outcome.err(), report.checks);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    material: Arc<Material>,
    sni: Sni,
    sni_name: Option<ServerName<'static>>,
    verify_name: Option<ServerName<'static>>,
    client_auth_wait: Duration,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.material.roots.anchors.len();
        f.debug_struct("TlsConnector").field("roots", &roots).finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// Reads and checks everything that the configuration names.
    ///
    /// # Errors
    /// A file that cannot be read or used, a value out of range, a feature that is not compiled in,
    /// a client key that does not fit. No error ever quotes a key.
    pub fn new(config: &TlsConfig) -> Result<Self, Error> {
        let Ready { config: client, material, sni, verify_name } = setup::prepare(config)?;
        Ok(TlsConnector {
            config: Arc::new(client),
            material,
            sni: config.sni.clone(),
            sni_name: sni,
            verify_name,
            client_auth_wait: config.client_auth_wait,
        })
    }

    #[cfg(test)]
    pub(super) fn material(&self) -> &Arc<Material> {
        &self.material
    }

    /// Makes the handshake over `stream`. `host` is what was asked for: the name or address that
    /// the certificate is checked against, unless the configuration overrides it, and the server
    /// name indication. `None`, as for a Unix socket, leaves the configuration's.
    ///
    /// `report` is filled as far as it got, also when this fails, and also when the future is
    /// dropped because the time was up.
    ///
    /// # Errors
    /// Why there is no connection: `tls_*`, `closed`, `reset`, each in the phase `tls`. What it was
    /// that the certificate check found is in the report.
    pub async fn handshake<S>(
        &self,
        host: Option<&Host>,
        stream: S,
        report: &mut TlsReport,
    ) -> Result<TlsStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = stream;
        let session = self.shake(host, &mut stream, report).await?;
        Ok(TlsStream::over(stream, session))
    }

    /// [`TlsConnector::handshake`] over a stream that stays with the caller, whatever happens.
    pub(crate) async fn shake<S>(
        &self,
        host: Option<&Host>,
        stream: &mut S,
        report: &mut TlsReport,
    ) -> Result<Session, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let asked = host.and_then(server_name);
        let expected = self.verify_name.clone().or_else(|| asked.clone());
        let sent = self.sni_name.clone().or(asked);
        if let (Some(ServerName::DnsName(name)), true) = (&sent, self.sni != Sni::Off) {
            report.sni = Some(name.as_ref().to_owned());
        }
        report.verified_name = expected.as_ref().map(|name| name.to_str().into_owned());

        let recorder = Arc::new(Recorder::new(Arc::clone(&self.material), expected));
        let mut config = ClientConfig::clone(&self.config);
        config.dangerous().set_certificate_verifier(recorder.clone());
        config.client_auth_cert_resolver = recorder.clone();
        // Without a name there is nothing to send, but rustls wants something.
        let peer = sent.unwrap_or_else(|| ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)));
        let session = ClientConnection::new(Arc::new(config), peer).map_err(|error| {
            classify::tls(FailureKind::TlsProtocol).with_detail(error.to_string())
        })?;

        let limits = &self.material.limits;
        let mut handshake = Handshake {
            session: Some(Box::new(session)),
            tap: Tap::new(limits.first_bytes),
            most: limits.handshake_bytes,
            recorder,
            report,
            flush: false,
        };
        let outcome = poll_fn(|context| handshake.poll(stream, context)).await;
        let session = handshake.finish();
        match (outcome, session) {
            (Ok(()), Some(session)) => Ok(Session(session)),
            (Ok(()), None) => Err(classify::tls(FailureKind::TlsProtocol)),
            (Err(failure), _) => Err(failure),
        }
    }
}

impl TlsConnector {
    /// How long to wait for the server to turn down the client after this handshake, if it may: in
    /// TLS 1.3 it says so only then.
    pub(crate) fn may_be_turned_down(&self, report: &TlsReport) -> Option<Duration> {
        let asked = matches!(report.client_auth, Some(ClientAuth::Sent | ClientAuth::Empty));
        (asked && report.version == Some(TlsVersion::Tls13)).then_some(self.client_auth_wait)
    }
}

/// What a handshake has led to; with its stream it makes a [`TlsStream`].
pub(crate) struct Session(pub(super) Box<ClientConnection>);

/// A handshake under way. However it ends, by `drop` at the latest, the report gets what is known.
struct Handshake<'r> {
    session: Option<Box<ClientConnection>>,
    tap: Tap,
    most: u64,
    recorder: Arc<Recorder>,
    report: &'r mut TlsReport,
    flush: bool,
}

impl Handshake<'_> {
    fn poll<S>(&mut self, stream: &mut S, context: &mut Context<'_>) -> Poll<Result<(), Failure>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let Some(session) = self.session.as_mut() else { return Poll::Ready(Ok(())) };
            let write = write_all(session, stream, context, &mut self.tap, &mut self.flush);
            if self.report.client_hello_bytes == 0 && write.is_ready() {
                self.report.client_hello_bytes = self.tap.bytes_out;
            }
            match write {
                Poll::Ready(Ok(())) if !session.is_handshaking() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                // The server may have said why before it closed.
                Poll::Ready(Err(error)) => {
                    let said = self.read(stream, context);
                    return Poll::Ready(Err(match said {
                        Poll::Ready(Err(failure)) if failure.kind != FailureKind::Closed => failure,
                        _ => classify::stream(&error),
                    }));
                }
                Poll::Pending => {}
            }
            let blocked = write.is_pending();
            match self.read(stream, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {
                    let more = self.session.as_ref().is_some_and(|session| session.wants_write());
                    if blocked || !more {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// One read, and what rustls makes of it.
    fn read<S>(&mut self, stream: &mut S, context: &mut Context<'_>) -> Poll<Result<(), Failure>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(session) = self.session.as_mut() else { return Poll::Ready(Ok(())) };
        let end = match ready!(read_once(session, stream, context, &mut self.tap)) {
            Ok(count) => count == 0,
            Err(error) => {
                let own = TlsStream::<S>::failure_of(&error).cloned();
                return Poll::Ready(Err(own.unwrap_or_else(|| classify::stream(&error))));
            }
        };
        match self.tap.opening() {
            Opening::Foreign => return Poll::Ready(Err(classify::not_tls(&self.tap))),
            Opening::Ssl2 => return Poll::Ready(Err(classify::tls(FailureKind::TlsVersion))),
            Opening::Unknown | Opening::Record { .. } => {}
        }
        if end {
            return Poll::Ready(Err(classify::tls(FailureKind::Closed)));
        }
        if self.tap.bytes_in > self.most {
            let limit = LimitHit::new(self.most, self.tap.bytes_in);
            return Poll::Ready(Err(classify::tls(FailureKind::TlsLimit).with_limit(limit)));
        }
        let Err(error) = session.process_new_packets() else { return Poll::Ready(Ok(())) };
        let greeted = session.protocol_version().is_some();
        let fatal = self.recorder.record().fatal.clone();
        let failure = match &fatal {
            Some(finding) => classify::refused(finding),
            None => classify::protocol(&error, &self.tap, greeted),
        };
        let hidden = fatal.as_ref().and_then(|finding| finding.alert());
        let hidden = hidden.or_else(|| classify::alert_for(&error).map(u8::from));
        self.report.alert = match &failure.raw {
            Some(RawCode::TlsAlert { value }) => {
                Some(Alert::new(AlertDirection::Received, Some(2), *value))
            }
            _ => self.say_goodbye(stream, context, hidden),
        };
        Poll::Ready(Err(failure))
    }

    /// Tries once to send the alert that rustls has made; nobody waits for it.
    fn say_goodbye<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        hidden: Option<u8>,
    ) -> Option<Alert> {
        let session = self.session.as_mut()?;
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).ok()?;
        }
        if bytes.is_empty() {
            return None;
        }
        let written = Pin::new(stream).poll_write(context, &bytes);
        if let Poll::Ready(Ok(count)) = written {
            let more = u64::try_from(count).unwrap_or(u64::MAX);
            self.tap.bytes_out = self.tap.bytes_out.saturating_add(more);
        }
        match plain_alert(&bytes) {
            Some((level, code)) => Some(Alert::new(AlertDirection::Sent, Some(level), code)),
            None => hidden.map(|code| Alert::new(AlertDirection::Sent, None, code)),
        }
    }

    /// Fills the report and hands out the session.
    fn finish(&mut self) -> Option<Box<ClientConnection>> {
        let session = self.session.take()?;
        let report = &mut *self.report;
        report.version = session.protocol_version().and_then(names::version);
        report.cipher_suite =
            session.negotiated_cipher_suite().map(|suite| names::suite(suite.suite()));
        report.group =
            session.negotiated_key_exchange_group().map(|group| names::group(group.name()));
        report.alpn = session.alpn_protocol().map(super::der::ascii);
        report.handshake = session.handshake_kind().map(names::handshake);
        report.bytes_in = self.tap.bytes_in;
        report.bytes_out = self.tap.bytes_out;
        if self.tap.opening() == Opening::Foreign {
            report.peer_first_bytes = Some(super::der::ascii(&self.tap.first));
        }
        if self.tap.bytes_in == 0 && report.client_hello_bytes > ONE_SEGMENT {
            report.hint = Some(TlsHint::HelloSize);
        }
        let mut record = self.recorder.record();
        let done = !session.is_handshaking();
        report.client_auth = record.client_auth.or(done.then_some(ClientAuth::NotRequested));
        report.signature_scheme = record.scheme.map(names::scheme);
        let roles = record.roles.iter().copied().chain(std::iter::repeat(CertificateRole::Unknown));
        let certificates = record.served.iter().zip(roles);
        report.certificates = certificates.map(|(parsed, role)| parsed.report_as(role)).collect();
        report.earliest_expiry =
            record.served.iter().filter_map(|parsed| parsed.report.not_after).min();
        report.verified_chains = std::mem::take(&mut record.chains);
        let ends = report.verified_chains.iter().map(|chain| chain.expiry);
        report.best_chain_expiry =
            ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
        report.checks = std::mem::take(&mut record.checks);
        report.ocsp = record.ocsp.take();
        drop(record);
        Some(session)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Sends what rustls wants to send, and flushes the stream behind it.
pub(super) fn write_all<S: AsyncWrite + Unpin>(
    session: &mut ClientConnection,
    stream: &mut S,
    context: &mut Context<'_>,
    tap: &mut Tap,
    flush: &mut bool,
) -> Poll<io::Result<()>> {
    let mut wire = Wire { stream, context, tap };
    let outcome = loop {
        if !session.wants_write() {
            break if *flush { io::Write::flush(&mut wire) } else { Ok(()) };
        }
        match session.write_tls(&mut wire) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => *flush = true,
            Err(error) => break Err(error),
        }
    };
    match outcome {
        Ok(()) => {
            *flush = false;
            Poll::Ready(Ok(()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}
