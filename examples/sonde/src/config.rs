//! Options to configurations of probers.

mod dns;
mod trace;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use netsonde::icmp::mtu::{MtuConfig, MtuExpect, MtuProber};
use netsonde::icmp::{
    DontFragment, EchoOptions, EngineConfig, IcmpConfig, IcmpEngine, IcmpExpect, IcmpProber,
};
use netsonde::script::{Dialogue, Script};
use netsonde::tcp::{
    SocketOptions, StreamExpect, TcpConfig, TcpExpect, TcpProber, UnixConfig, UnixProber,
};
use netsonde::tls::{
    ClientCertificate, KeySource, PemSource, Sni, TlsConfig, TlsExpect, Trust, Verify,
};
use netsonde::{AddressPolicy, Common, Dialing, Error, Family, Probe, Target};

use crate::args::{DialingArgs, MtuArgs, PingArgs, ProbingArgs, SocketKind, TlsOptions};

pub(crate) use dns::dns_probes;
pub(crate) use trace::trace_probes;

/// What is spoken on a connection.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) dialogue: Option<Dialogue>,
    pub(crate) script: Script,
    pub(crate) expect_tls: TlsExpect,
}

/// A probe for each target; targets of one kind share a prober, so that files, roots and patterns are
/// read once.
///
/// # Errors
/// What the probers refuse.
pub(crate) fn stream_probes(
    targets: Vec<Target>,
    speech: &Speech,
    dialing: &DialingArgs,
    probing: &ProbingArgs,
) -> Result<Vec<Probe>, Error> {
    let (mut tcp, mut unix) = (None, None);
    let common = Common { failure: probing.many.expect_failure, ..Common::default() };
    let mut probes = Vec::with_capacity(targets.len());
    for target in targets {
        probes.push(if matches!(target, Target::Unix(_)) {
            let prober = match &unix {
                Some(prober) => prober,
                None => unix.insert(Arc::new(unix_prober(speech, probing, common.clone())?)),
            };
            Probe::new(Arc::clone(prober), target)
        } else {
            let prober = match &tcp {
                Some(prober) => prober,
                None => tcp.insert(Arc::new(tcp_prober(speech, dialing, probing, common.clone())?)),
            };
            Probe::new(Arc::clone(prober), target)
        });
    }
    Ok(probes)
}

fn tcp_prober(
    speech: &Speech,
    dialing: &DialingArgs,
    probing: &ProbingArgs,
    common: Common,
) -> Result<TcpProber, Error> {
    TcpProber::new(TcpConfig {
        timeout: probing.timeout,
        dialing: self::dialing(dialing),
        socket: SocketOptions {
            source: dialing.source,
            interface: dialing.interface.clone(),
            dscp: dialing.dscp,
            ttl: dialing.ttl,
            ..SocketOptions::default()
        },
        tls: speech.tls.clone(),
        dialogue: speech.dialogue,
        script: speech.script.clone(),
        expect: TcpExpect { common, tls: speech.expect_tls.clone(), ..TcpExpect::default() },
        ..TcpConfig::default()
    })
}

/// The prober of all hosts.
///
/// # Errors
/// What it refuses.
pub(crate) fn ping_prober(args: &PingArgs) -> Result<IcmpProber, Error> {
    let dialing = &args.dialing;
    IcmpProber::new(
        &engine(args.socket)?,
        IcmpConfig {
            dialing: self::dialing(dialing),
            count: args.count,
            interval: args.interval,
            reply_timeout: args.wait,
            echo: EchoOptions {
                size: args.size,
                ttl: dialing.ttl.map(u16::from),
                dscp: dialing.dscp,
                dont_fragment: if args.df { DontFragment::Set } else { DontFragment::System },
                source: dialing.source,
                interface: dialing.interface.clone(),
                ..EchoOptions::default()
            },
            expect: IcmpExpect {
                common: Common { failure: args.many.expect_failure, ..Common::default() },
                max_unanswered: args.max_unanswered,
                ..IcmpExpect::default()
            },
            ..IcmpConfig::default()
        },
    )
}

/// A discovery for each host, over one engine.
///
/// # Errors
/// What the prober refuses.
pub(crate) fn mtu_probes(targets: Vec<Target>, args: &MtuArgs) -> Result<Vec<Probe>, Error> {
    let prober = MtuProber::new(
        &engine(args.socket)?,
        MtuConfig {
            dialing: Dialing { family: family(args.ipv4, args.ipv6), ..Dialing::default() },
            max: args.max,
            query_timeout: args.wait,
            tries: args.tries,
            source: args.source,
            interface: args.interface.clone(),
            expect: MtuExpect {
                common: Common { failure: args.many.expect_failure, ..Common::default() },
                min_mtu: args.min_mtu,
                ..MtuExpect::default()
            },
            ..MtuConfig::default()
        },
    )?;
    let prober = Arc::new(prober);
    Ok(targets.into_iter().map(|target| Probe::new(Arc::clone(&prober), target)).collect())
}

fn engine(socket: SocketKind) -> Result<IcmpEngine, Error> {
    IcmpEngine::new(EngineConfig { socket: socket.into(), ..EngineConfig::default() })
}

fn unix_prober(
    speech: &Speech,
    probing: &ProbingArgs,
    common: Common,
) -> Result<UnixProber, Error> {
    UnixProber::new(UnixConfig {
        timeout: probing.timeout,
        tls: speech.tls.clone(),
        dialogue: speech.dialogue,
        script: speech.script.clone(),
        expect: StreamExpect { common, tls: speech.expect_tls.clone() },
        ..UnixConfig::default()
    })
}

fn family(ipv4: bool, ipv6: bool) -> Family {
    match (ipv4, ipv6) {
        (true, _) => Family::V4Only,
        (_, true) => Family::V6Only,
        _ => Family::Any,
    }
}

fn dialing(args: &DialingArgs) -> Dialing {
    Dialing {
        family: family(args.ipv4, args.ipv6),
        addresses: if args.all_addresses { AddressPolicy::All } else { AddressPolicy::default() },
        connect_to: args.connect_to.clone(),
        ..Dialing::default()
    }
}

/// What the options say about TLS.
pub(crate) fn tls(options: &TlsOptions) -> TlsConfig {
    let mut config = TlsConfig {
        trust: match (options.system_roots, options.ca.is_empty()) {
            (true, _) => Trust::System,
            (false, true) => Trust::default(),
            (false, false) => Trust::None,
        },
        ca_files: options.ca.clone(),
        verify: if options.insecure { Verify::DangerRecordOnly } else { Verify::Full },
        sni: match &options.sni {
            Some(name) => Sni::Name(name.clone()),
            None if options.no_sni => Sni::Off,
            None => Sni::FromTarget,
        },
        alpn: options.alpn.clone(),
        client_certificate: options.cert.as_ref().map(|chain| client(chain, options.key.as_ref())),
        ..TlsConfig::default()
    };
    if let Some(version) = options.min_tls {
        config.min_version = version.into();
    }
    if let Some(version) = options.max_tls {
        config.max_version = version.into();
    }
    config
}

fn client(chain: &Path, key: Option<&PathBuf>) -> ClientCertificate {
    ClientCertificate {
        chain: PemSource::File(chain.to_owned()),
        key: KeySource::File(key.map_or(chain, PathBuf::as_path).to_owned()),
    }
}

/// What the options expect of TLS.
pub(crate) fn expect_tls(options: &TlsOptions) -> TlsExpect {
    TlsExpect { min_days_left: options.min_days_left, ..TlsExpect::default() }
}
