//! What a probe costs: CPU time beside the same job with bare blocking sockets or another program, and
//! memory while many wait. The servers run in a process of their own, so that only the client is counted.

mod dns;
mod fleet;
mod fping;
mod hold;
mod sink;
mod speed;

#[path = "../../floor/mod.rs"]
mod floor;

use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: netsonde-cost tcp [ROUNDS PROBES]    CPU time of a TCP connect probe (default 101 x 400)
       netsonde-cost tls [ROUNDS PROBES]    CPU time of a full TLS handshake probe (default 101 x 80)
       netsonde-cost hold-tcp [PROBES]      memory of TCP probes that wait (default 10000)
       netsonde-cost hold-tls [PROBES]      memory of TLS probes that wait (default 5000)
       netsonde-cost hold-icmp [HOSTS]      memory of echo requests in flight (default 100000); root
       netsonde-cost dns [ROUNDS QUERIES]   CPU time of a question over UDP (default 101 x 400)
       netsonde-cost dns-rate [ROUNDS QUERIES]      questions a second (default 11 x 20000)
       netsonde-cost dns-exporter [ROUNDS QUERIES]  beside blackbox_exporter (default 11 x 2000)
       netsonde-cost hold-dns [QUESTIONS]   memory of questions in flight (default 10000)
       netsonde-cost fping [ROUNDS]         sonde ping beside fping (default 21); root

The exit status is 1 if the goal was missed.";

/// What a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Tcp,
    Tls,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[&str]) -> Result<bool> {
    match args {
        ["tcp"] => speed::measure(Job::Tcp, 101, 400),
        ["tls"] => speed::measure(Job::Tls, 101, 80),
        ["tcp", rounds, probes] => speed::measure(Job::Tcp, rounds.parse()?, probes.parse()?),
        ["tls", rounds, probes] => speed::measure(Job::Tls, rounds.parse()?, probes.parse()?),
        ["hold-tcp"] => hold::measure(Job::Tcp, 10_000),
        ["hold-tls"] => hold::measure(Job::Tls, 5_000),
        ["hold-tcp", probes] => hold::measure(Job::Tcp, probes.parse()?),
        ["hold-tls", probes] => hold::measure(Job::Tls, probes.parse()?),
        ["hold-icmp"] => fleet::measure(100_000),
        ["hold-icmp", hosts] => fleet::measure(hosts.parse()?),
        ["dns"] => dns::measure(101, 400),
        ["dns", rounds, queries] => dns::measure(rounds.parse()?, queries.parse()?),
        ["dns-rate"] => dns::rate(11, 20_000),
        ["dns-rate", rounds, queries] => dns::rate(rounds.parse()?, queries.parse()?),
        ["dns-exporter"] => dns::exporter(11, 2000),
        ["dns-exporter", rounds, queries] => dns::exporter(rounds.parse()?, queries.parse()?),
        ["hold-dns"] => dns::hold(10_000),
        ["hold-dns", questions] => dns::hold(questions.parse()?),
        ["fping"] => fping::measure(21),
        ["fping", rounds] => fping::measure(rounds.parse()?),
        // What this program starts itself as.
        ["sink", "dns"] => dns::serve(),
        ["sink", "tcp", held] => sink::serve(Job::Tcp, held.parse()?),
        ["sink", "tls", held] => sink::serve(Job::Tls, held.parse()?),
        _ => Err(USAGE.into()),
    }
}
