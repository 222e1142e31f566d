//! The command line.

mod dns;
mod trace;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use netsonde::icmp::SocketChoice;
use netsonde::script::Dialogue;
use netsonde::tls::TlsVersion;
use netsonde::{Common, ConnectTo, FailureKind, Host, Name};

use crate::style::ColorChoice;

pub(crate) use dns::DnsArgs;
pub(crate) use trace::TraceArgs;

const EXIT_STATUS: &str = "\
Exit status:
  0  every target passed
  1  at least one target failed
  2  none failed, but this host could not find out about at least one (no
     descriptors, no permission, refused by --guard); also wrong usage";

/// Probe network endpoints: what happened, where the time went, whose fault it was.
#[derive(Debug, Parser)]
#[command(name = "sonde", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Probe(Box<ProbeCommand>),
    /// Send ICMP echo requests to hosts, all at once
    #[command(after_help = ping_help())]
    #[command(mut_arg("targets", |targets| targets
        .value_name("HOST")
        .required_unless_present_any(["file", "sweep"])
        .help("A name or an address; `-` reads hosts from standard input")))]
    #[command(mut_arg("concurrency", |names| names
        .help("How many names may be resolved at once")))]
    Ping(Box<PingArgs>),
    /// Measure how far round-trip times are off on this machine
    ///
    /// Asks a host for echoes with kernel stamps, with stamps at reception only and with none, one after
    /// the other and many at once, and holds what is reported against a packet capture of the same
    /// packets. Without CAP_NET_RAW against what stamps the kernel allows.
    #[command(after_help = CALIBRATE_HELP)]
    Calibrate(CalibrateArgs),
    /// Start local targets, good and broken ones, probe them all and explain what is seen
    #[command(after_help = DEMO_HELP)]
    Demo(DemoArgs),
    /// Say what this host lets probes have, and what would help where it does not
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Write a completion script for a shell to standard output
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// One for each prober.
#[derive(Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    /// Connect to TCP ports and Unix sockets
    #[command(after_help = tcp_help())]
    Tcp(TcpArgs),
    /// Shake hands over TLS and look at the certificates; port 443 unless given
    #[command(after_help = tls_help())]
    Tls(TlsArgs),
    /// Find the routers on the way to hosts, by ICMP, UDP or TCP
    #[command(after_help = trace::help())]
    #[command(mut_arg("targets", |targets| targets
        .value_name("HOST")
        .help("A name or an address; `-` reads hosts from standard input")))]
    // -q is the number of queries, as everywhere else.
    #[command(mut_arg("quiet", |quiet| quiet.short(None)))]
    Trace(TraceArgs),
    /// Find the largest packet that the path to a host carries in one piece
    #[command(after_help = mtu_help())]
    #[command(mut_arg("targets", |targets| targets
        .value_name("HOST")
        .help("A name or an address; `-` reads hosts from standard input")))]
    Mtu(MtuArgs),
    /// Ask name servers, over UDP, TCP or TLS
    #[command(after_help = dns::help())]
    Dns(DnsArgs),
    /// Hold a conversation: expect, send, start TLS
    #[command(after_help = script_help())]
    Script(ScriptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TcpArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    #[command(flatten)]
    pub(crate) probing: ProbingArgs,
    #[command(flatten)]
    pub(crate) dialing: DialingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// Ask for TLS in this protocol first, in plain text
    ///
    /// Without a port in the target, the usual port of the protocol is dialled (443 without this
    /// option).
    #[arg(long, value_name = "PROTOCOL", value_parser = starttls)]
    pub(crate) starttls: Option<Dialogue>,
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(flatten)]
    pub(crate) probing: ProbingArgs,
    #[command(flatten)]
    pub(crate) dialing: DialingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    /// How many requests each host gets
    #[arg(short, long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// From one request to the next one to the same host
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// Every host of a network, such as 192.0.2.0/24; may be repeated
    #[arg(long, value_name = "NETWORK")]
    pub(crate) sweep: Vec<IpNet>,
    /// From any request to the next one, whichever host it is for; 0s for as fast as can be
    #[arg(long, value_name = "DURATION", default_value = "1ms", value_parser = duration_or_zero)]
    pub(crate) gap: Duration,
    /// Refuse to ping more hosts than this
    #[arg(long, value_name = "N", default_value = "1048576")]
    pub(crate) max_hosts: NonZeroUsize,
    /// How long each request waits for its answer
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Bytes of payload behind the echo header, 0 to 65507
    #[arg(short, long, value_name = "BYTES", default_value = "56", value_parser = clap::value_parser!(u32).range(..=65_507))]
    pub(crate) size: u32,
    /// Forbid routers to take the packets apart
    #[arg(long)]
    pub(crate) df: bool,
    /// Fail if a larger share of the requests is not answered in time, 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub(crate) max_unanswered: Option<f64>,
    /// What kind of socket to use
    #[arg(long, value_name = "KIND", value_enum, default_value_t = SocketKind::Auto)]
    pub(crate) socket: SocketKind,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
    #[command(flatten)]
    pub(crate) dialing: DialingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MtuArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    /// The largest packet to try, in bytes with the IP header: 68 to 65535 in IPv4, 1280 to 65575 in
    /// IPv6 [default: what the interface takes]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65_575))]
    pub(crate) max: Option<u32>,
    /// How long each packet waits for its answer
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// How many packets of one size must stay without an answer before it counts as too large
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) tries: u32,
    /// Fail unless packets of this size pass
    #[arg(long, value_name = "BYTES")]
    pub(crate) min_mtu: Option<u32>,
    /// IPv4 alone
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long = "ipv6")]
    pub(crate) ipv6: bool,
    /// Send from this address
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Option<IpAddr>,
    /// Send by this network interface
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// What kind of socket to use
    #[arg(long, value_name = "KIND", value_enum, default_value_t = SocketKind::Auto)]
    pub(crate) socket: SocketKind,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SocketKind {
    /// Raw where that is allowed, else datagram
    Auto,
    /// Raw: needs CAP_NET_RAW
    Raw,
    /// Unprivileged: needs a group within net.ipv4.ping_group_range
    Datagram,
}

impl From<SocketKind> for SocketChoice {
    fn from(kind: SocketKind) -> Self {
        match kind {
            SocketKind::Auto => SocketChoice::Auto,
            SocketKind::Raw => SocketChoice::Raw,
            SocketKind::Datagram => SocketChoice::Datagram,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ScriptArgs {
    /// A YAML file with the steps, or the name of a ready dialogue
    ///
    /// A file that has the name of a dialogue is written with a path: ./smtp
    #[arg(value_name = "FILE|DIALOGUE")]
    pub(crate) script: PathBuf,
    /// Start TLS at the first byte instead of in the script
    #[arg(long)]
    pub(crate) tls: bool,
    /// Set a variable of the script
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) variables: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    #[command(flatten)]
    pub(crate) tls_options: TlsOptions,
    #[command(flatten)]
    pub(crate) probing: ProbingArgs,
    #[command(flatten)]
    pub(crate) dialing: DialingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// Who is asked; this host itself unless given
    #[arg(value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: Host,
    /// Packets of each row
    #[arg(short, long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
    /// From one packet to the next when idle
    #[arg(short, long, value_name = "DURATION", default_value = "5ms", value_parser = duration)]
    pub(crate) interval: Duration,
    /// Packets sent at once for the rows under load; 0 for no such rows
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) load: u32,
    /// What kind of socket to use
    #[arg(long, value_name = "KIND", value_enum, default_value_t = SocketKind::Auto)]
    pub(crate) socket: SocketKind,
    /// What measured times are held against
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = AgainstKind::Auto)]
    pub(crate) against: AgainstKind,
    /// How the figures are written
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub(crate) format: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AgainstKind {
    /// A capture where that is allowed, else stamps
    Auto,
    /// A packet capture: needs CAP_NET_RAW
    Capture,
    /// The kernel's own stamps
    Stamps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    Text,
    /// One object, times in nanoseconds
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the targets running until Ctrl-C and say how to probe them by hand
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub(crate) format: DoctorFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// For people
    Text,
    /// One object
    Json,
}

/// What to probe; every prober has these.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// HOST:PORT (an IPv6 address in brackets), unix:/path, unix:@name; `-` reads targets from standard input
    #[arg(value_name = "TARGET", required_unless_present = "file")]
    pub(crate) targets: Vec<String>,
    /// Read targets from a file, one a line; blank lines and what follows a # are passed over
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
}

/// How probing goes on; every prober has these.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probing")]
pub(crate) struct ProbingArgs {
    /// The longest that one probe may take, such as 800ms, 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
}

/// What does not depend on how long a probe takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probing")]
pub(crate) struct ManyArgs {
    /// How many probes may run at once
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) concurrency: NonZeroUsize,
    /// Take this address for this name, without asking the resolver; may be repeated
    #[arg(long, value_name = "HOST:ADDR", value_parser = static_name)]
    pub(crate) resolve: Vec<(Name, IpAddr)>,
    /// Who is asked for all other names
    #[arg(long, value_name = "WHO", default_value = "system")]
    pub(crate) resolver: crate::resolve::Resolver,
    /// Refuse loopback, link-local, cloud metadata and reserved addresses, and Unix sockets
    #[arg(long)]
    pub(crate) guard: bool,
    /// The probe is meant to fail in this way, by code: refused, timeout, tls_expired ...
    #[arg(long, value_name = "CODE")]
    pub(crate) expect_failure: Option<FailureKind>,
}

/// How an endpoint is dialled.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connecting")]
pub(crate) struct DialingArgs {
    /// IPv4 alone
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long = "ipv6")]
    pub(crate) ipv6: bool,
    /// Probe every address of the name; pass only if all of them do
    #[arg(long)]
    pub(crate) all_addresses: bool,
    /// Dial this instead of the target, whose name stays: HOST, HOST:PORT or :PORT
    #[arg(long, value_name = "WHERE")]
    pub(crate) connect_to: Option<ConnectTo>,
    /// Dial from this address
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Option<IpAddr>,
    /// Dial through this network interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Differentiated services code point of what is sent, 0 to 63
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..64))]
    pub(crate) dscp: Option<u8>,
    /// Time to live, or hop limit, of what is sent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: Option<u8>,
}

/// What TLS offers, trusts and expects.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Trust the certificates in this PEM file instead of the built-in list; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,
    /// Trust the roots of this system instead of the built-in list; with --ca both
    #[arg(long)]
    pub(crate) system_roots: bool,
    /// Go on whatever the certificate is; the checks are made and shown all the same
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Send this server name; the certificate is still checked against the target
    #[arg(long, value_name = "NAME", conflicts_with = "no_sni")]
    pub(crate) sni: Option<String>,
    /// Send no server name
    #[arg(long)]
    pub(crate) no_sni: bool,
    /// Application protocols to offer, the preferred one first: h2,http/1.1
    #[arg(
        long,
        value_name = "PROTOCOLS",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) alpn: Vec<String>,
    /// Client certificate, a PEM file with its chain
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of the client certificate, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The lowest version to offer
    #[arg(long, value_name = "VERSION", value_enum)]
    pub(crate) min_tls: Option<Version>,
    /// The highest version to offer
    #[arg(long, value_name = "VERSION", value_enum)]
    pub(crate) max_tls: Option<Version>,
    /// Fail if a served certificate expires in fewer days
    #[arg(long, value_name = "DAYS")]
    pub(crate) min_days_left: Option<u32>,
}

/// How results are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How results are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
    /// Write no results and no progress: the exit status says it all
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, in the order of the targets
    Text,
    /// One object for one target, an array for several
    Json,
    /// One object a line, each as soon as its probe has ended
    Jsonl,
    /// The text format of Prometheus
    Prometheus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl From<Version> for TlsVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::Tls12 => TlsVersion::Tls12,
            Version::Tls13 => TlsVersion::Tls13,
        }
    }
}

/// The same syntax as in configurations, read by the same code.
fn duration(text: &str) -> Result<Duration, String> {
    let config = serde_json::json!({ "max_total": text });
    let read: Common = serde_json::from_value(config).map_err(|error| error.to_string())?;
    read.max_total.filter(|value| !value.is_zero()).ok_or_else(|| "must be above zero".to_owned())
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

fn static_name(text: &str) -> Result<(Name, IpAddr), String> {
    let (name, address) = text.split_once(':').ok_or("write HOST:ADDR")?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let address = bare.unwrap_or(address).parse().map_err(|_| "ADDR is not an IP address")?;
    Ok((name, address))
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn starttls(name: &str) -> Result<Dialogue, String> {
    let usable = || Dialogue::all().filter(|dialogue| dialogue.uses_starttls());
    usable().find(|dialogue| dialogue.name() == name).ok_or_else(|| {
        let names: Vec<&str> = usable().map(Dialogue::name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn names(dialogues: impl Iterator<Item = Dialogue>) -> String {
    dialogues.map(Dialogue::name).collect::<Vec<_>>().join(", ")
}

fn tcp_help() -> String {
    format!(
        "\
Examples:
  sonde tcp example.com:22
  sonde tcp db1:5432 db2:5432 unix:/run/app.sock --timeout 800ms
  sonde tcp example.com:443 --all-addresses --format json
  sonde tcp --file hosts.txt --concurrency 200 --format jsonl
  sonde tcp firewall:23 --expect-failure refused

{EXIT_STATUS}"
    )
}

fn tls_help() -> String {
    let protocols = names(Dialogue::all().filter(|dialogue| dialogue.uses_starttls()));
    format!(
        "\
Examples:
  sonde tls example.com
  sonde tls example.com:443 --min-days-left 14 --alpn h2,http/1.1
  sonde tls mail.example.com --starttls smtp
  sonde tls old.example.com:8443 --ca internal-ca.pem --max-tls 1.2
  sonde tls www.example.com:443 --connect-to 192.0.2.7 --format prometheus

Protocols of --starttls:
  {protocols}

{EXIT_STATUS}"
    )
}

fn ping_help() -> String {
    format!(
        "\
Examples:
  sonde ping example.com
  sonde ping -c 10 -i 200ms router1 router2 2001:db8::1
  sonde ping --size 1472 --df -4 example.com
  sonde ping --file hosts.txt -c 1 --format jsonl
  sonde ping --sweep 192.0.2.0/24 -c 5 --gap 100us

A host passes when at least one answer came in time.

{EXIT_STATUS}"
    )
}

fn mtu_help() -> String {
    format!(
        "\
Examples:
  sonde mtu example.com
  sonde mtu -6 --min-mtu 1500 gateway1 gateway2
  sonde mtu --max 9000 --tries 5 --format json storage.example.com

A host passes when it answered a packet of any size; with --min-mtu, when packets of
that size pass.

{EXIT_STATUS}"
    )
}

fn script_help() -> String {
    format!(
        "\
Examples:
  sonde script ssh host.example.com
  sonde script login.yml mail.example.com:25 --set domain=probe.example.com
  sonde script check.yml cache.example.com:6380 --tls --ca internal-ca.pem

A script is YAML:
  steps:
    - expect: '^220 (?P<name>\\S+)'
      reject: '^[45]'
      labels: [{{name: mta, value: '${{name}}'}}]
    - send: \"QUIT\\r\\n\"
    - expect: '^221'
  Step keys: expect, expect_bytes, expect_hex, expect_raw, send, send_hex, starttls.

Ready dialogues:
  {}

{EXIT_STATUS}",
        names(Dialogue::all())
    )
}

const CALIBRATE_HELP: &str = "\
Examples:
  sonde calibrate
  sonde calibrate ::1 --load 2000
  sonde calibrate router1 -c 1000 -i 10ms --format json

How to read it:
  error        how far reported times are off
  uncertainty  what the results themselves say
  within       the share of results whose error lies within their uncertainty

Exit status:
  0  there are figures
  2  there are none: nothing was answered, or no socket is allowed; also wrong usage";

const DEMO_HELP: &str = "\
Needs no network, no rights and no other program.

Examples:
  sonde demo
  sonde demo --keep
  sonde demo --format jsonl

Exit status:
  0  every probe ended as it was meant to, be that a pass or a failure
  1  at least one did not
  2  the targets could not be started";

const DOCTOR_HELP: &str = "\
Opens sockets, sets options, asks the drivers and closes all of it again. Sends
nothing but a few datagrams from this host to itself, to see a stamp of the
kernel. Run it as the user and in the container that the probes run in.

Examples:
  sonde doctor
  sonde doctor --format json

Exit status:
  0  hosts of each family that this host has can be pinged
  1  no kind of ICMP socket is allowed for one of them; the remedies are named";

const COMPLETIONS_HELP: &str = "\
Examples:
  sonde completions bash > ~/.local/share/bash-completion/completions/sonde
  sonde completions zsh > ~/.zfunc/_sonde
  sonde completions fish > ~/.config/fish/completions/sonde.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_those_of_the_configuration() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["5", "0s", "-1s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn static_names_take_both_families() {
        let (name, address) = static_name("db.test:::1").unwrap();
        assert_eq!((name.as_str(), address.to_string()), ("db.test", "::1".to_owned()));
        assert_eq!(static_name("db.test:[::1]").unwrap().1.to_string(), "::1");
        assert_eq!(static_name("db.test:192.0.2.1").unwrap().1.to_string(), "192.0.2.1");
        for bad in ["db.test", "db.test:x", ":1.2.3.4", "db..test:1.2.3.4"] {
            assert!(static_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_dialogues_that_start_tls_are_offered() {
        assert_eq!(starttls("smtp").unwrap().name(), "smtp");
        assert!(starttls("ssh").unwrap_err().contains("imap"));
    }
}
