//! Nothing is left behind: on drop, and by those who were killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::process::{Command, Stdio};
use std::time::Duration;

use netsonde_lab::netlab::address;
use netsonde_lab::{Capture, LeakCheck, Lines, Net, Responder, Topology};
use netsonde_support::leaks::isolated_blocking;
use netsonde_support::netns;

const SOON: Duration = Duration::from_secs(2);

#[test]
fn a_lab_leaves_nothing_behind() {
    isolated_blocking(|| {
        let build = || {
            let with_line = Topology { line: Some(Lines::default()), ..Topology::path(2) };
            let net = Net::build("leak", &with_line)?;
            let capture = Capture::start(&net.near);
            let stub = Net::build("leak2", &Topology::stub())?;
            let responder = Responder::right(&stub.far, Duration::ZERO);
            Some((net, capture, stub, responder))
        };
        // What a process makes once is made.
        if build().is_none() {
            return;
        }
        let check = LeakCheck::baseline();
        let labs = build().unwrap();
        let found = check.found();
        let of_kind = |kind| found.iter().filter(|line| line.contains(kind)).count();
        // Client, line, two routers, server; client, server of the stub.
        assert_eq!((of_kind("namespace"), of_kind("threads")), (7, 1), "{found:?}");
        assert!(of_kind("descriptor") >= 4, "{found:?}");
        drop(labs);
        check.assert_back_to_base(SOON);
    });
}

#[test]
fn every_end_of_a_path_reaches_every_wire() {
    let with_line = Topology { line: Some(Lines::default()), ..Topology::path(3) };
    for topology in [Topology::path(0), Topology::path(2), with_line] {
        let Some(net) = Net::build("reach", &topology) else { return };
        let nodes =
            [&[net.client.clone()][..], &net.routers, std::slice::from_ref(&net.server)].concat();
        for wire in 0..nodes.len() - 1 {
            for target in [address(wire, 1), address(wire, 2)].concat() {
                for node in &nodes {
                    node.exec("ping", &format!("-n -c 1 -W 1 {target}"));
                }
            }
        }
    }
}

#[test]
fn settings_reach_their_namespaces() {
    let text = "ping_groups = [0, 2147483647]\n\
                mtu = 1400\n\
                sysctl.server = { 'ipv4/icmp_echo_ignore_all' = '1' }\n\
                ip.server = ['route add blackhole 192.0.2.0/24']\n\
                nft.client = 'add table inet word'\n";
    let topology: Topology = toml::from_str(text).unwrap();
    let Some(net) = Net::build("set", &topology) else { return };
    let read = |path: &'static str| {
        (
            net.client.run(|| std::fs::read_to_string(path).unwrap()),
            net.server.run(|| std::fs::read_to_string(path).unwrap()),
        )
    };
    assert_eq!(read("/proc/sys/net/ipv4/ping_group_range").0.trim(), "0\t2147483647");
    let (client, server) = read("/proc/sys/net/ipv4/icmp_echo_ignore_all");
    assert_eq!((client.trim(), server.trim()), ("0", "1"));
    assert!(net.server.ip("route show type blackhole").contains("192.0.2.0/24"));
    assert!(net.client.exec("nft", "list tables").contains("word"));
    assert!(net.near.namespace.ip(&format!("link show {}", net.near.name)).contains("mtu 1400"));
}

/// Set in the process that is to be killed.
const VICTIM: &str = "NETSONDE_LAB_VICTIM";

#[test]
fn what_a_killed_process_left_is_removed_by_the_next() {
    if std::env::var_os(VICTIM).is_some() {
        let net = Net::build("victim", &Topology::default());
        println!("\nvictim ready {}", net.is_some());
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let Some(net) = Net::build("next", &Topology::default()) else { return };
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_process_left_is_removed_by_the_next", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(victim.stdout.take().unwrap()));
    let ready = lines.find_map(|line| line.ok().filter(|line| line.starts_with("victim ready")));
    assert_eq!(ready.as_deref(), Some("victim ready true"));
    let mark = format!("-{}-", victim.id());
    let left = || {
        let names = std::fs::read_dir("/run/netns").unwrap().flatten();
        names.filter(|name| name.file_name().to_string_lossy().contains(&mark)).count()
    };
    assert_eq!(left(), 2);
    assert!(netns::remove_leftovers().iter().all(|name| !name.contains(&mark)), "it still runs");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(left(), 2, "nobody has cleaned up after it");
    drop(Net::build("after", &Topology::default()));
    assert_eq!(left(), 0);
    drop(net);
}
