//! The options of `sonde dns`, named as those of dig and kdig where they have a name for it.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use netsonde::dns::ClientSubnet;
use netsonde::wire::dns::Rcode;

use super::{EXIT_STATUS, ManyArgs, OutputArgs, TlsOptions, duration, duration_or_zero};

#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// The name, then TYPE and CLASS if they are not A and IN, and any number of @SERVER
    ///
    /// A server is a name or an address, with a port if it is not the usual one: @192.0.2.53,
    /// @ns.example:5353, `@[2001:db8::53]:53`. Each is asked. Without one it is the first name server of
    /// /etc/resolv.conf.
    #[arg(value_name = "NAME TYPE CLASS @SERVER", required = true)]
    pub(crate) words: Vec<String>,
    /// Ask for the name of an address: NAME is an address
    #[arg(short = 'x', long)]
    pub(crate) reverse: bool,
    /// Ask over TCP
    #[arg(long, conflicts_with = "tls")]
    pub(crate) tcp: bool,
    /// Ask over TLS, port 853 unless given
    #[arg(long)]
    pub(crate) tls: bool,
    /// Ask for signatures (DO)
    #[arg(long)]
    pub(crate) dnssec: bool,
    /// Have the server not validate (CD)
    #[arg(long)]
    pub(crate) cd: bool,
    /// Have the server say whether it has validated (AD)
    #[arg(long)]
    pub(crate) ad: bool,
    /// Have the server not ask others (RD is clear)
    #[arg(long)]
    pub(crate) no_recurse: bool,
    /// The largest datagram that is said to be taken
    #[arg(long, value_name = "BYTES", default_value = "1232")]
    pub(crate) bufsize: u16,
    /// Ask without EDNS
    #[arg(long, conflicts_with_all = ["dnssec", "nsid", "subnet", "cookie", "padding", "bufsize"])]
    pub(crate) no_edns: bool,
    /// Ask who the server is
    #[arg(long)]
    pub(crate) nsid: bool,
    /// Tell the network of a client: ADDRESS/BITS
    #[arg(long, value_name = "NETWORK")]
    pub(crate) subnet: Option<ClientSubnet>,
    /// Send a cookie
    #[arg(long)]
    pub(crate) cookie: bool,
    /// Fill up queries to a multiple of so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) padding: Option<u16>,
    /// Do not ask again over TCP when an answer was cut short
    #[arg(long)]
    pub(crate) ignore: bool,
    /// Have the letters of the name in any case, which the answer has to repeat (0x20)
    #[arg(long)]
    pub(crate) mixed_case: bool,
    /// Note ICMP errors without ending an attempt
    #[arg(long)]
    pub(crate) soft_errors: bool,
    /// How long to listen on for a second, different answer
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration_or_zero)]
    pub(crate) listen: Duration,
    /// How long each attempt waits for its answer
    #[arg(short, long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Further attempts after one that failed
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) retry: u32,
    /// The longest that asking one server may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// The response codes that are fine: NOERROR,NXDOMAIN; `any` for all
    #[arg(long, value_name = "CODES", value_delimiter = ',', default_value = "NOERROR", value_parser = rcode)]
    pub(crate) expect_rcode: Vec<Option<Rcode>>,
    /// IPv4 alone
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long = "ipv6")]
    pub(crate) ipv6: bool,
    /// Ask from this address
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Option<IpAddr>,
    /// Ask through this network interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    #[command(flatten)]
    pub(crate) tls_options: TlsOptions,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A response code; `None` for any.
fn rcode(text: &str) -> Result<Option<Rcode>, String> {
    if text.eq_ignore_ascii_case("any") {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| "not a response code, such as NOERROR or NXDOMAIN".to_owned())
}

pub(super) fn help() -> String {
    format!(
        "\
Examples:
  sonde dns example.com
  sonde dns example.com MX @192.0.2.53 @ns.example.net
  sonde dns --dnssec --nsid example.com SOA @2001:db8::53
  sonde dns --tls www.example.com AAAA @dns.example --format jsonl
  sonde dns -x 192.0.2.1

{EXIT_STATUS}"
    )
}
