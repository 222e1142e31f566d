//! The prober itself: configuration checked once, then any number of probes.

use super::{DnsConfig, DnsReport, DnsTransport, TlsProfile};
use crate::error::Error;
use crate::io::dns::{DnsPlan, RandomBits, StampKeeper, probe};
use crate::io::tls::TlsConnector;
use crate::probe::{ProbeContext, ProbeResult, Prober};
use crate::target::Target;
use crate::tls::Verify;

/// Asks a name server, which is the target: `HOST` or `HOST:PORT`.
///
/// ```
/// use netsonde::dns::{DnsConfig, DnsProber};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
/// # let target = server.local_addr()?.into();
/// # let answering = async move {
/// #     let mut query = [0; 512];
/// #     let (len, from) = server.recv_from(&mut query).await.unwrap();
/// #     query[2] |= 0x80;
/// #     server.send_to(&query[..len], from).await.unwrap();
/// # };
/// let prober = DnsProber::new(DnsConfig::ask("example.org AAAA".parse()?))?;
/// # let (result, ()) = tokio::join!(prober.probe(&target), answering);
/// # let _ = stringify!(
/// let result = prober.probe(&"192.0.2.53".parse()?).await;
/// # );
/// assert!(result.verdict.is_pass());
/// assert!(result.report.exchange.is_no_data());
/// println!("{:?}", result.report.exchange.attempts[0].network);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DnsProber {
    plan: DnsPlan,
}

impl DnsProber {
    /// Checks the configuration, loads what TLS needs, and has the kernel stamp packets.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used, the file that cannot be read or the feature that is
    /// missing.
    pub fn new(config: DnsConfig) -> Result<Self, Error> {
        config.check()?;
        let tls = match config.transport {
            DnsTransport::Udp | DnsTransport::Tcp => None,
            DnsTransport::Tls => Some(connector(&config, "dot")?),
            DnsTransport::Https => return Err(Error::feature("transport", "doh")),
            DnsTransport::Quic => return Err(Error::feature("transport", "quic")),
        };
        // Over UDP alone, and where nothing is asked over it nothing is stamped.
        let wanted = config.kernel_stamps && config.transport == DnsTransport::Udp;
        let keeper = wanted.then(StampKeeper::open).flatten();
        let random = RandomBits::default();
        Ok(DnsProber { plan: DnsPlan { config, tls, keeper, random } })
    }
}

/// What the transport makes of the configuration of TLS.
fn connector(config: &DnsConfig, alpn: &str) -> Result<TlsConnector, Error> {
    let mut tls = config.tls.clone().unwrap_or_default();
    if tls.alpn.is_empty() {
        tls.alpn = vec![alpn.to_owned()];
    }
    if config.tls_profile == TlsProfile::Opportunistic {
        tls.verify = Verify::DangerRecordOnly;
    }
    TlsConnector::new(&tls).map_err(|error| error.under("tls"))
}

impl Prober for DnsProber {
    type Report = DnsReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<DnsReport> {
        probe(&self.plan, cx, target).await.judged(&self.plan.config.expect)
    }
}
