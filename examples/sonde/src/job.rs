//! From a command line to what there is to do.

use std::io::Read;
use std::num::NonZeroUsize;

use netsonde::script::{Dialogue, Script};
use netsonde::{OutboundPolicy, Probe, ProbeContext};

use crate::args::{
    DnsArgs, ManyArgs, MtuArgs, OutputArgs, ProbeCommand, ScriptArgs, TcpArgs, TlsArgs, TlsOptions,
    TraceArgs,
};
use crate::config::{self, Speech};
use crate::resolve::{Overlay, Resolver};
use crate::script_file::{self, with_causes};
use crate::targets;

/// What a command asks for: probes, their surroundings, and how the results are shown.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) probes: Vec<Probe>,
    pub(crate) cx: ProbeContext,
    pub(crate) concurrency: NonZeroUsize,
    pub(crate) output: OutputArgs,
}

impl Job {
    /// Builds the probers and reads the files that they need.
    ///
    /// # Errors
    /// A message for the user: nothing has been probed.
    pub(crate) fn new(command: ProbeCommand, stdin: impl Read) -> Result<Self, String> {
        match command {
            ProbeCommand::Tcp(args) => Job::tcp(args, stdin),
            ProbeCommand::Tls(args) => Job::tls(args, stdin),
            ProbeCommand::Trace(args) => Job::trace(args, stdin),
            ProbeCommand::Mtu(args) => Job::mtu(args, stdin),
            ProbeCommand::Dns(args) => Job::dns(args),
            ProbeCommand::Script(args) => Job::script(args, stdin),
        }
    }

    fn tcp(args: TcpArgs, stdin: impl Read) -> Result<Self, String> {
        let targets = targets::collect(&args.targets, None, stdin)?;
        let speech = Speech::default();
        let probes = config::stream_probes(targets, &speech, &args.dialing, &args.probing)
            .map_err(|error| with_causes(&error))?;
        Job::of(probes, &args.probing.many, args.output)
    }

    fn tls(args: TlsArgs, stdin: impl Read) -> Result<Self, String> {
        let port = args.starttls.map_or(443, Dialogue::port);
        let targets = targets::collect(&args.targets, Some(port), stdin)?;
        let speech = Speech {
            tls: Some(config::tls(&args.tls)),
            dialogue: args.starttls,
            script: Script::default(),
            expect_tls: config::expect_tls(&args.tls),
        };
        let probes = config::stream_probes(targets, &speech, &args.dialing, &args.probing)
            .map_err(|error| with_causes(&error))?;
        Job::of(probes, &args.probing.many, args.output)
    }

    fn trace(args: TraceArgs, stdin: impl Read) -> Result<Self, String> {
        let hosts = targets::collect(&args.targets, targets::Bare::Host, stdin)?;
        let probes = config::trace_probes(hosts, &args).map_err(|error| with_causes(&error))?;
        Job::of(probes, &args.many, args.output)
    }

    fn mtu(args: MtuArgs, stdin: impl Read) -> Result<Self, String> {
        let hosts = targets::collect(&args.targets, targets::Bare::Host, stdin)?;
        let probes = config::mtu_probes(hosts, &args).map_err(|error| with_causes(&error))?;
        Job::of(probes, &args.many, args.output)
    }

    fn dns(args: DnsArgs) -> Result<Self, String> {
        let probes = config::dns_probes(&args)?;
        Job::of(probes, &args.many, args.output)
    }

    fn script(args: ScriptArgs, stdin: impl Read) -> Result<Self, String> {
        let source = script_file::find(&args.script).map_err(|error| error.to_string())?;
        let with_tls = args.tls || source.starts_tls();
        if args.tls && source.starts_tls() {
            return Err("the script starts TLS itself: --tls cannot be used with it".to_owned());
        }
        if !with_tls && args.tls_options != TlsOptions::default() {
            return Err("the script starts no TLS: its options need --tls".to_owned());
        }
        let targets = targets::collect(&args.targets, source.port(), stdin)?;
        let (dialogue, mut script) = source.parts();
        script.variables.extend(args.variables);
        let speech = Speech {
            tls: with_tls.then(|| config::tls(&args.tls_options)),
            dialogue,
            script,
            expect_tls: config::expect_tls(&args.tls_options),
        };
        let probes = config::stream_probes(targets, &speech, &args.dialing, &args.probing)
            .map_err(|error| source.explain(&error))?;
        Job::of(probes, &args.probing.many, args.output)
    }

    fn of(probes: Vec<Probe>, probing: &ManyArgs, output: OutputArgs) -> Result<Self, String> {
        Ok(Job { probes, cx: context(probing)?, concurrency: probing.concurrency, output })
    }
}

/// The surroundings of all probes of a command.
///
/// # Errors
/// The resolver cannot be set up: why, in words.
pub(crate) fn context(args: &ManyArgs) -> Result<ProbeContext, String> {
    let mut cx = ProbeContext::new();
    if args.guard {
        cx = cx.with_policy(OutboundPolicy::guarded());
    }
    if !args.resolve.is_empty() || args.resolver != Resolver::System {
        let overlay = Overlay::new(args.resolve.clone(), args.resolver);
        cx = cx.with_resolver(overlay.map_err(|error| format!("--resolver: {error}"))?);
    }
    Ok(cx)
}
