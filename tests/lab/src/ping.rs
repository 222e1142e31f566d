//! The system's own ping(8) (iputils) as a prober.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use crate::scenario::{Job, Outcome, PacketOutcome};

/// Probes with `ping`, and reads what it prints. It tells neither late nor corrupt replies from others,
/// so scenarios about those are not for it.
///
/// # Panics
///
/// `ping` cannot be started.
pub fn ping(job: &Job<'_>) -> Outcome {
    let probe = job.probe;
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let mut command = Command::new("ping");
    command.env("LC_ALL", "C").arg("-n");
    command.args(["-c", &probe.count.to_string(), "-s", &probe.size.to_string()]);
    command.args(["-i", &seconds(job.interval()), "-W", &seconds(job.timeout())]);
    if let Some(ttl) = probe.ttl {
        command.args(["-t", &ttl.to_string()]);
    }
    if probe.df {
        command.args(["-M", "do"]);
    }
    command.arg(job.target.to_string());
    let output = job.net.client.run(|| command.output()).expect("ping can be started");
    let text = [output.stdout, output.stderr].concat();
    read(&String::from_utf8_lossy(&text), probe.count)
}

/// What `ping` has printed about so many requests.
fn read(text: &str, count: u32) -> Outcome {
    let lost = PacketOutcome { fate: "lost".to_owned(), ..PacketOutcome::default() };
    let mut packets = vec![lost; count as usize];
    // It numbers from 1.
    for (packet, seq) in packets.iter_mut().zip(1..) {
        packet.seq = Some(seq);
    }
    let mut places = 0;
    for line in text.lines() {
        if let Some(errno) = local_error(line) {
            // It says so once, or once for each packet; none of them left.
            let unsent = packets.iter_mut().filter(|packet| packet.fate == "lost");
            unsent.for_each(|packet| packet.fate = format!("not_sent {errno}"));
        }
        let Some(seq) = word_after(line, "icmp_seq=").and_then(|word| word.parse::<usize>().ok())
        else {
            continue;
        };
        let Some(packet) = seq.checked_sub(1).and_then(|number| packets.get_mut(number)) else {
            continue;
        };
        if let Some(ms) = word_after(line, "time=").and_then(|word| word.parse::<f64>().ok()) {
            if packet.place.is_some() {
                packet.duplicates += 1;
                continue;
            }
            packet.fate = "answered".to_owned();
            packet.rtt = Some(Duration::from_secs_f64(ms / 1000.0));
            packet.from = word_after(line, "bytes from ").and_then(address);
            packet.place = Some(places);
            places += 1;
        } else if let Some(rest) = line.strip_prefix("From ") {
            packet.fate = error(line).unwrap_or_else(|| format!("error {rest}"));
            packet.from = word_after(line, "From ").and_then(address);
        }
    }
    Outcome { packets, note: text.to_owned() }
}

/// The word behind a mark.
fn word_after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.1.split_whitespace().next()
}

fn address(word: &str) -> Option<IpAddr> {
    word.trim_end_matches(':').parse().ok()
}

/// The type and code that iputils' words stand for.
fn error(line: &str) -> Option<String> {
    const WORDS: [(&str, &str); 25] = [
        ("Destination Net Unreachable", "3/0"),
        ("Destination Host Unreachable", "3/1"),
        ("Destination Protocol Unreachable", "3/2"),
        ("Destination Port Unreachable", "3/3"),
        ("Frag needed and DF set", "3/4"),
        ("Source Route Failed", "3/5"),
        ("Destination Net Unknown", "3/6"),
        ("Destination Host Unknown", "3/7"),
        ("Source Host Isolated", "3/8"),
        ("Destination Net Prohibited", "3/9"),
        ("Destination Host Prohibited", "3/10"),
        ("Destination Net Unreachable for Type of Service", "3/11"),
        ("Destination Host Unreachable for Type of Service", "3/12"),
        ("Packet filtered", "3/13"),
        ("Precedence Violation", "3/14"),
        ("Precedence Cutoff", "3/15"),
        ("Time to live exceeded", "11/0"),
        ("Frag reassembly time exceeded", "11/1"),
        ("Parameter problem", "12/0"),
        ("Destination unreachable: No route", "1/0"),
        ("Destination unreachable: Administratively prohibited", "1/1"),
        ("Destination unreachable: Address unreachable", "1/3"),
        ("Destination unreachable: Port unreachable", "1/4"),
        ("Packet too big", "2/0"),
        ("Time exceeded: Hop limit", "3/0"),
    ];
    // The longest fits best: some begin like others.
    let fits = WORDS.iter().filter(|(words, _)| line.contains(words));
    fits.max_by_key(|(words, _)| words.len()).map(|(_, code)| format!("error {code}"))
}

/// The errno of a request that did not leave.
fn local_error(line: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 9] = [
        ("Invalid argument", "EINVAL"),
        ("No route to host", "EHOSTUNREACH"),
        ("Network is unreachable", "ENETUNREACH"),
        ("Permission denied", "EACCES"),
        // What it makes of EACCES, taking it for that of a broadcast address.
        ("Do you want to ping broadcast?", "EACCES"),
        ("Operation not permitted", "EPERM"),
        ("No buffer space available", "ENOBUFS"),
        ("essage too long", "EMSGSIZE"),
        ("Cannot assign requested address", "EADDRNOTAVAIL"),
    ];
    let says = |line: &str| line.starts_with("ping: ").then_some(line.to_owned());
    let line = says(line)?;
    WORDS.iter().find(|(words, _)| line.contains(words)).map(|(_, errno)| *errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_understood() {
        let text = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\
            64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=20.5 ms\n\
            64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=31.0 ms\n\
            64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=31.5 ms (DUP!)\n\
            From 10.0.0.9 icmp_seq=3 Packet filtered\n\
            From 10.0.0.9 icmp_seq=4 Destination Host Unreachable for Type of Service\n";
        let outcome = read(text, 5);
        let fates: Vec<_> = outcome.packets.iter().map(|packet| packet.fate.as_str()).collect();
        assert_eq!(fates, ["answered", "answered", "error 3/13", "error 3/12", "lost"]);
        let first = &outcome.packets[0];
        assert_eq!((first.place, first.duplicates, first.seq), (Some(1), 1, Some(1)));
        assert_eq!(first.rtt, Some(Duration::from_micros(31_000)));
        assert_eq!(outcome.packets[2].from, Some("10.0.0.9".parse().unwrap()));
        let text = "64 bytes from fd00::1: icmp_seq=1 ttl=64 time=0.05 ms\n\
            From fd00::9 icmp_seq=2 Destination unreachable: Administratively prohibited\n";
        let outcome = read(text, 2);
        assert_eq!(outcome.packets[0].from, Some("fd00::1".parse().unwrap()));
        assert_eq!(outcome.packets[1].fate, "error 1/1");
        let outcome = read("ping: connect: Network is unreachable\n", 2);
        assert!(outcome.packets.iter().all(|packet| packet.fate == "not_sent ENETUNREACH"));
    }
}
