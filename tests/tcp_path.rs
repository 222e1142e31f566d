//! Conversations over paths that fail: the rows of the fault list that need networks of their own.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use check::lab::{NEXT, Pair, Wired, at, probe, serve};
use check::{checked_with, code, connecting, saying, script_of, stuck, within_ms};
use netsonde::script::Step;
use netsonde::{Event, Phase};
use netsonde_support::Script;
use netsonde_support::packet::{Frame, Passage, Tcp};

const SCRIPT: Option<Phase> = Some(Phase::Script);

#[test]
fn t38_network_cut_after_the_handshake() {
    let Some(lab) = Pair::new("t38") else { return };
    let address = at(NEXT[0], 80);
    let server = serve(&lab.server, address, Script::new().read_line().send("250 ok\r\n").hang());
    let prober = saying([Step::send("hello\r\n"), Step::expect("^250")]);
    let result = probe(&lab.client, &prober, &within_ms(1500), address);
    assert_eq!(code(&result), ("pass", None), "before the cut");

    let far = lab.server.clone();
    let cut = move |event: &Event<'_>| {
        if matches!(event, Event::Entered { phase: Phase::Script, .. }) {
            far.nft(
                "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
                 add rule inet t i drop",
            );
        }
    };
    let cx = within_ms(1500);
    let result = lab.client.block_on(async || checked_with(&prober, &cx, address, cut).await);
    assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(1)), "{result}");
    let connection = result.report.connection.as_ref().unwrap();
    assert!(connection.rtt.is_some(), "the handshake was fine");
    let end = connection.at_end.as_ref().unwrap();
    assert!(end.total_retransmits.unwrap() >= 1, "{end:?}");
    assert_eq!((result.report.peer_end, server.connection(1).received_count), (None, 0));
}

/// Numbers that are the same on every run (xorshift64).
fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    }
}

#[test]
fn t42_duplicates_reordering_corruption() {
    let counts = Arc::new(Mutex::new([0_u32; 3]));
    let seen = Arc::clone(&counts);
    let mut below = numbers(0x0dd_b1a5_ed5e_ed42);
    let judge = move |frame: &Frame, _: bool| {
        if frame.tcp().is_none() {
            return Passage::Pass;
        }
        let mut seen = seen.lock().unwrap();
        match below(100) {
            0..5 => {
                seen[0] += 1;
                Passage::Twice
            }
            5..10 => {
                seen[1] += 1;
                Passage::Delay(Duration::from_millis(3))
            }
            10..15 => {
                seen[2] += 1;
                // Behind the Ethernet and IP headers, so that TCP's checksum has to find it.
                let mut bytes = frame.bytes.clone();
                let room = bytes.len() as u64 - 34;
                let place = 34 + usize::try_from(below(room)).unwrap();
                bytes[place] ^= 1 << below(8);
                Passage::Replace(bytes)
            }
            _ => Passage::Pass,
        }
    };
    let Some(lab) = Wired::new("t42", judge) else { return };
    let text: String = ('a'..='z').cycle().take(200_000).collect();
    let echo = Script::new().run(async |conn| {
        let got = conn.read(200_000).await?;
        conn.send(&got).await
    });
    let server = serve(&lab.server, at(NEXT[0], 80), echo);
    let prober = saying([Step::send(text.clone()), Step::expect_bytes(text.clone())]);
    let mut retransmits = 0;
    for turn in 0..3 {
        let result = probe(&lab.client, &prober, &within_ms(60_000), at(NEXT[0], 80));
        assert_eq!(code(&result), ("pass", None), "{result}");
        assert_eq!(server.connection(turn).received, text.as_bytes());
        let connection = result.report.connection.as_ref().unwrap();
        retransmits += connection.at_end.as_ref().unwrap().total_retransmits.unwrap();
        assert_eq!(connection.rtt.is_none(), connection.syn_retransmits != Some(0));
    }
    let counts = *counts.lock().unwrap();
    println!("duplicates, late, corrupt: {counts:?}; {retransmits} retransmits here");
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
    assert!(retransmits > 0);
}

#[test]
fn t44_link_of_8_kbit_s() {
    let Some(lab) = Pair::new("t44") else { return };
    let Some(_) = netsonde_support::require_command("tc") else { return };
    let shape = "qdisc add dev to-server root tbf rate 8kbit burst 1600 latency 60s";
    lab.client.exec("tc", shape);
    let address = at(NEXT[0], 80);
    let _server = serve(&lab.server, address, Script::new().read(4000).send("ok\n").hang());
    let prober = saying([Step::send("x".repeat(4000)), Step::expect("^ok$")]);
    // 4,000 bytes at 1,000 a second, of which the bucket holds 1,600 at the beginning.
    let result = probe(&lab.client, &prober, &within_ms(1000), address);
    assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(1)), "{result}");
    let result = probe(&lab.client, &prober, &within_ms(30_000), address);
    assert_eq!(code(&result), ("pass", None), "{result}");
    let took = result.timing.phase(Phase::Script).unwrap();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert_eq!(script_of(&result).bytes_sent, 4000);
}

#[test]
fn t46_without_tcp_timestamps() {
    let judge = |frame: &Frame, to_server: bool| match frame.tcp() {
        Some(tcp) if !to_server && tcp.flags & Tcp::SYN != 0 => {
            Passage::Delay(Duration::from_millis(20))
        }
        _ => Passage::Pass,
    };
    let Some(lab) = Wired::new("t46", judge) else { return };
    let _servers = NEXT.map(|address| serve(&lab.server, at(address, 80), Script::new().hang()));
    for on in ["1", "0"] {
        lab.client.sysctl("ipv4/tcp_timestamps", on);
        for address in NEXT {
            let result = probe(&lab.client, &connecting(), &within_ms(1000), at(address, 80));
            assert_eq!(code(&result), ("pass", None), "{result}");
            let connection = result.report.connection.as_ref().unwrap();
            let info = connection.at_connect.as_ref().unwrap();
            assert_eq!(info.timestamps, Some(on == "1"));
            let rtt = connection.rtt.unwrap().duration();
            let range = Duration::from_millis(20)..Duration::from_millis(60);
            assert!(range.contains(&rtt), "{rtt:?}");
        }
    }
}
