//! `sonde ping`: all hosts at once, from the same sockets.

use std::io::{self, BufWriter, IsTerminal, Read};
use std::net::IpAddr;

use ipnet::IpNet;
use netsonde::icmp::{IcmpProber, SweepConfig, SweepEvent};
use netsonde::{Host, ProbeContext, Target};

use crate::args::{Format, PingArgs};
use crate::job;
use crate::output::Printer;
use crate::script_file::with_causes;
use crate::style::Style;
use crate::targets::{self, Bare};
use crate::{Status, Stop, block_on, config};
use live::Live;
use summary::Summary;

mod live;
mod summary;

/// Pings and shows what comes of it.
pub(crate) fn run(args: &PingArgs, stdin: impl Read) -> Result<Status, Stop> {
    let hosts = hosts(args, stdin)?;
    let prober = config::ping_prober(args).map_err(|error| with_causes(&error))?;
    let plan = SweepConfig { gap: args.gap, resolving: args.many.concurrency.get() };
    let cx = job::context(&args.many)?;
    block_on(ping(args, hosts, &prober, &plan, &cx))?
}

async fn ping(
    args: &PingArgs,
    hosts: Vec<Target>,
    prober: &IcmpProber,
    plan: &SweepConfig,
    cx: &ProbeContext,
) -> Result<Status, Stop> {
    let output = &args.output;
    let style = crate::style(output);
    let mut view = View::new(args, &hosts, style);
    let mut status = Status::Pass;
    let mut sweep = prober.sweep(cx, hosts, plan).await.map_err(|error| with_causes(&error))?;
    while let Some(event) = sweep.next().await {
        match event {
            SweepEvent::Packet { place, packet, .. } => {
                view.live.packet(place, packet);
                if let Show::Text(summary) = &mut view.show {
                    view.live.aside(|| summary.packet(packet)).map_err(Stop::Output)?;
                }
            }
            SweepEvent::Done { place, result } => {
                status = status.and(&result.verdict);
                view.live.done(place, &result.verdict);
                match &mut view.show {
                    Show::Nothing => {}
                    Show::Text(summary) => {
                        view.live.aside(|| summary.done(place, *result)).map_err(Stop::Output)?;
                    }
                    Show::Documents(printer) => {
                        let result = result.map(netsonde::ReportBody::into_report);
                        view.live.aside(|| printer.result(place, result)).map_err(Stop::Output)?;
                    }
                }
            }
            _ => {}
        }
    }
    drop(view.live);
    match view.show {
        Show::Nothing => {}
        Show::Text(summary) => summary.finish()?,
        Show::Documents(printer) => printer.finish()?,
    }
    Ok(status)
}

/// Where what is known goes.
struct View {
    live: Live,
    show: Show,
}

enum Show {
    Nothing,
    Text(Summary<BufWriter<io::StdoutLock<'static>>>),
    Documents(Printer<BufWriter<io::StdoutLock<'static>>>),
}

impl View {
    fn new(args: &PingArgs, hosts: &[Target], style: Style) -> Self {
        let output = &args.output;
        let out = || BufWriter::new(io::stdout().lock());
        let show = match output.format {
            _ if output.quiet => Show::Nothing,
            Format::Text => Show::Text(Summary::new(hosts.len(), style, out())),
            format => Show::Documents(Printer::new(format, style, hosts.len(), out())),
        };
        // A single host has its packets shown one by one.
        let single = hosts.len() == 1 && output.format == Format::Text;
        let shown = !output.quiet && !single && io::stderr().is_terminal();
        View { live: Live::new(hosts, args.count, shown), show }
    }
}

/// Every host, in order: those of the command line and of files, then those of the networks.
fn hosts(args: &PingArgs, stdin: impl Read) -> Result<Vec<Target>, String> {
    let mut hosts = match args.targets.targets.is_empty() && args.targets.file.is_empty() {
        true => Vec::new(),
        false => targets::collect(&args.targets, Bare::Host, stdin)?,
    };
    let most = args.max_hosts.get();
    for network in &args.sweep {
        let room = most.saturating_sub(hosts.len());
        let addresses: Vec<IpAddr> = addresses(*network).take(room.saturating_add(1)).collect();
        if addresses.len() > room {
            return Err(format!("--sweep {network}: more than {most} hosts; see --max-hosts"));
        }
        hosts.extend(addresses.into_iter().map(|ip| Target::Host(Host::from(ip))));
    }
    if hosts.len() > most {
        return Err(format!("{} hosts are more than {most}; see --max-hosts", hosts.len()));
    }
    Ok(hosts)
}

/// The hosts of a network: all of its addresses, but for the two of an IPv4 network that stand for
/// itself and for everyone.
fn addresses(network: IpNet) -> Box<dyn Iterator<Item = IpAddr>> {
    match network {
        IpNet::V4(v4) => Box::new(v4.hosts().map(IpAddr::from)),
        IpNet::V6(v6) => Box::new(v6.hosts().map(IpAddr::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(network: &str) -> Vec<String> {
        let network: IpNet = network.parse().unwrap();
        addresses(network.trunc()).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn a_network_is_its_hosts() {
        assert_eq!(swept("192.0.2.0/30"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(swept("192.0.2.4/31"), ["192.0.2.4", "192.0.2.5"]);
        assert_eq!(swept("192.0.2.9/32"), ["192.0.2.9"]);
        assert_eq!(swept("127.1.0.0/20").len(), 4094);
        assert_eq!(swept("2001:db8::1/128"), ["2001:db8::1"]);
        assert_eq!(swept("2001:db8::/126").len(), 4);
    }
}
