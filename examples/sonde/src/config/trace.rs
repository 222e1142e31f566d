//! `sonde trace`.

use std::io::IsTerminal;
use std::sync::Arc;

use netsonde::icmp::DontFragment;
use netsonde::icmp::trace::{TraceConfig, TraceExpect, TraceMethod, TraceProber};
use netsonde::{Common, Dialing, Error, Family, Probe, Target};

use crate::args::{Format, TraceArgs};

/// A probe for each host.
///
/// # Errors
/// What the prober refuses.
pub(crate) fn trace_probes(targets: Vec<Target>, args: &TraceArgs) -> Result<Vec<Probe>, Error> {
    let read_here = args.output.format == Format::Text && std::io::stdout().is_terminal();
    let prober = TraceProber::new(TraceConfig {
        timeout: args.timeout,
        dialing: Dialing {
            family: match (args.ipv4, args.ipv6) {
                (true, _) => Family::V4Only,
                (_, true) => Family::V6Only,
                _ => Family::Any,
            },
            ..Dialing::default()
        },
        method: match (args.udp, args.tcp) {
            (true, _) => TraceMethod::Udp,
            (_, true) => TraceMethod::Tcp,
            _ => TraceMethod::Icmp,
        },
        socket: args.socket.into(),
        port: args.port,
        size: args.size,
        first_ttl: args.first_ttl,
        max_hops: args.max_hops,
        queries: args.queries,
        query_timeout: args.wait,
        parallel: args.parallel,
        interval: args.interval.unwrap_or_default(),
        flows: args.flows,
        gap_limit: (args.gap_limit > 0).then_some(args.gap_limit),
        dscp: args.dscp,
        dont_fragment: if args.df { DontFragment::Set } else { DontFragment::System },
        source: args.source,
        interface: args.interface.clone(),
        fwmark: args.fwmark,
        names: args.names || (read_here && !args.no_names),
        expect: TraceExpect {
            common: Common { failure: args.many.expect_failure, ..Common::default() },
            ..TraceExpect::default()
        },
        ..TraceConfig::default()
    })?;
    let prober = Arc::new(prober);
    Ok(targets.into_iter().map(|target| Probe::new(Arc::clone(&prober), target)).collect())
}
