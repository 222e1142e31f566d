//! The options of `sonde trace`, named as those of traceroute and mtr.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::{EXIT_STATUS, ManyArgs, OutputArgs, SocketKind, TargetArgs, duration};

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    /// Send ICMP echo requests; this is the default
    #[arg(short = 'I', long, conflicts_with_all = ["udp", "tcp"])]
    pub(crate) icmp: bool,
    /// Send UDP datagrams, to port 33434 unless given
    #[arg(short = 'U', long, conflicts_with = "tcp")]
    pub(crate) udp: bool,
    /// Send TCP SYN segments, to port 80 unless given; needs CAP_NET_RAW
    #[arg(short = 'T', long)]
    pub(crate) tcp: bool,
    /// The destination port of UDP or TCP, the same in all packets
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// How many queries each hop gets in each flow
    #[arg(short, long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) queries: u32,
    /// The time to live to begin with
    #[arg(short, long, value_name = "TTL", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=255))]
    pub(crate) first_ttl: u16,
    /// The largest time to live
    #[arg(short, long, value_name = "TTL", default_value = "30", value_parser = clap::value_parser!(u16).range(1..=255))]
    pub(crate) max_hops: u16,
    /// How long each query waits for its answer
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// How many queries may be under way at a time; 1 goes hop by hop
    #[arg(short = 'N', long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: u32,
    /// The least time from one query to the next
    #[arg(short = 'z', long, value_name = "DURATION", value_parser = duration)]
    pub(crate) interval: Option<Duration>,
    /// How many flows to send, each of which keeps to one of several equal paths
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) flows: u32,
    /// End a path after so many silent hops in a row; 0 for never
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) gap_limit: u16,
    /// Bytes of payload behind the header of ICMP or UDP, 2 to 65507
    #[arg(short, long, value_name = "BYTES", conflicts_with = "tcp", value_parser = clap::value_parser!(u32).range(2..=65_507))]
    pub(crate) size: Option<u32>,
    /// Forbid routers to take the packets apart
    #[arg(long)]
    pub(crate) df: bool,
    /// Differentiated services code point of what is sent, 0 to 63
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..64))]
    pub(crate) dscp: Option<u8>,
    /// IPv4 alone
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long = "ipv6")]
    pub(crate) ipv6: bool,
    /// Send from this address
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Option<IpAddr>,
    /// Send through this network interface
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Mark the packets, for policy routing (SO_MARK)
    #[arg(long, value_name = "MARK")]
    pub(crate) fwmark: Option<u32>,
    /// Do not ask for the names of hops; they are asked for if text goes to a terminal
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) no_names: bool,
    /// Ask for the names of hops wherever the results go
    #[arg(long)]
    pub(crate) names: bool,
    /// What kind of socket to use
    #[arg(long, value_name = "KIND", value_enum, default_value_t = SocketKind::Auto)]
    pub(crate) socket: SocketKind,
    /// The longest that one trace may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(super) fn help() -> String {
    format!(
        "\
Examples:
  sonde trace example.com
  sonde trace -T -p 443 www.example.com
  sonde trace -U --flows 8 -n 2001:db8::1
  sonde trace -q 1 -N 1 -w 500ms router1 router2 --format jsonl

A host passes when it answers on every path. Behind a time stands what was said: !N network,
!H host, !P protocol unreachable, !X prohibited, !F packet too big, !n any other code n;
* is no answer.

{EXIT_STATUS}"
    )
}
