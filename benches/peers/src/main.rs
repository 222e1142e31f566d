//! netsonde beside other crates that do the same job: CPU time of whole processes, in rounds that
//! alternate. Each round starts a process for each of them, so that nobody pays for, or lives off, what
//! another has left behind.

mod bare;
mod icmp;

use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: peers icmp [OPTIONS]    pings of netsonde and of surge-ping, side by side, on loopback
  --targets N      hosts that are pinged at once, 1 to 65000 (default 1000)
  --count N        packets to each (default 5)
  --interval MS    from one packet to the next one to the same host (default 100)
  --start HOW      at-once (default), or spread: the hosts begin one after the other within an interval
  --rounds N       rounds (default 11)
  --runtime KIND   current_thread, multi_thread (default: one after the other)

The exit status is 1 if the goal was missed. Needs the right to a raw ICMP socket.";

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
        ["icmp", options @ ..] => icmp::compare(&icmp::Job::read(options)?),
        // What this program starts itself as.
        ["child", peer, options @ ..] => icmp::child(peer, &icmp::Job::read(options)?),
        _ => Err(USAGE.into()),
    }
}
