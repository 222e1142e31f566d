//! What a host lets a prober have, and what becomes of probes where it does not.
#![cfg(all(feature = "icmp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use netsonde::icmp::{
    Capabilities, Capability, EngineConfig, FamilyCapabilities, IcmpConfig, IcmpEngine, IcmpProber,
    IcmpReport, SocketMode,
};
use netsonde::{ProbeResult, Prober, StampSource, Verdict};
use netsonde_support::rights::{refusing_options, without_capabilities};
use netsonde_support::{Lab, Namespace, require_root};

mod check;

const TARGETS: [&str; 2] = ["127.0.0.1", "::1"];

fn ping(target: &str) -> ProbeResult<IcmpReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = IcmpEngine::new(EngineConfig::default()).unwrap();
    let prober = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
    runtime.block_on(prober.probe(&target.parse().unwrap()))
}

/// A namespace in which unprivileged ICMP sockets are open to all groups or to none.
fn with_groups(word: &str, range: &str) -> Option<(Lab, Namespace)> {
    let lab = Lab::new(word)?;
    let namespace = lab.namespace("a");
    namespace.sysctl("ipv4/ping_group_range", range);
    Some((lab, namespace))
}

fn both(found: &Capabilities) -> [&FamilyCapabilities; 2] {
    [&found.v4, &found.v6]
}

/// The number of a refusal, which has to say what would help.
#[track_caller]
fn refused(capability: &Capability, remedy: &str) -> Option<i32> {
    let Capability::Unavailable { cause, errno, remedy: Some(text), .. } = capability else {
        panic!("{capability:?}")
    };
    assert!(!cause.is_empty() && text.contains(remedy), "{capability:?}");
    *errno
}

#[test]
fn root_has_all_that_the_kernel_has() {
    let Some((_lab, namespace)) = with_groups("root", "0 2147483647") else { return };
    let found = namespace.run(Capabilities::detect);
    println!("{found}");
    for family in both(&found) {
        for one in [
            &family.present,
            &family.raw,
            &family.datagram,
            &family.send_stamps,
            &family.receive_stamps,
            &family.error_queue,
            &family.dont_fragment,
            &family.drop_counter,
            &family.fwmark,
            &family.receive_buffer,
        ] {
            assert!(one.is_available(), "{found}");
        }
        assert_eq!(family.receive_buffer_bytes, Some(8 << 20));
        // A namespace without any wire has no routes.
        assert!(!family.route.is_available() && family.route.remedy().is_some(), "{found}");
    }
    let [lo] = found.interfaces.as_slice() else { panic!("{found}") };
    assert_eq!(lo.interface, "lo");
    assert!(lo.kernel_send.is_available(), "{found}");
    assert!(refused(&lo.hardware_send, "kernel").is_none());
}

#[test]
fn detecting_sends_nothing_and_leaves_nothing_open() {
    let Some(()) = require_root() else { return };
    if !check::in_own_process("detecting_sends_nothing_and_leaves_nothing_open", "") {
        return;
    }
    let Some((_lab, namespace)) = with_groups("quiet", "0 2147483647") else { return };
    namespace.run(|| {
        // The namespace of this thread; /proc/net is that of the process.
        let counted = || {
            let read = |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            let lines = |text: String, words: &[&str]| -> Vec<String> {
                let wanted = |line: &&str| words.iter().any(|word| line.trim().starts_with(word));
                text.lines().filter(wanted).map(str::to_owned).collect()
            };
            let devices = lines(read("dev").unwrap(), &["lo:"]);
            let v4 = lines(read("snmp").unwrap(), &["Icmp:", "Udp:"]);
            let v6 = lines(read("snmp6").unwrap(), &["Icmp6OutMsgs", "Ip6OutRequests"]);
            (devices, v4, v6)
        };
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = (counted(), descriptors());
        for _ in 0..20 {
            assert!(Capabilities::detect().v6.can_ping());
        }
        assert_eq!((counted(), descriptors()), before);
        // The counters would have told.
        assert!(ping("::1").verdict.is_pass() && ping("127.0.0.1").verdict.is_pass());
        let after = counted();
        assert!(after.0 != before.0.0 && after.1 != before.0.1 && after.2 != before.0.2);
    });
}

#[test]
fn i113_without_raw_sockets_and_outside_of_the_groups_both_remedies_are_named() {
    let Some((_lab, namespace)) = with_groups("closed", "1 0") else { return };
    namespace.run(|| {
        without_capabilities(|| {
            for target in TARGETS {
                let result = ping(target);
                assert_eq!(result.verdict.code(), Some("local_permission"), "{result}");
                let Verdict::Unknown(fault) = &result.verdict else { panic!("{result}") };
                assert_eq!(fault.errno, Some(libc::EPERM), "{result}");
                let text = result.verdict.to_string();
                let found = Capabilities::detect();
                for family in both(&found) {
                    assert!(!family.can_ping(), "{found}");
                    assert!(family.present.is_available(), "{found}");
                    assert_eq!(refused(&family.raw, "setcap cap_net_raw+ep"), Some(libc::EPERM));
                    let closed = refused(&family.datagram, "net.ipv4.ping_group_range");
                    assert_eq!(closed, Some(libc::EACCES));
                    // The probe and the table say the same.
                    for one in [&family.raw, &family.datagram] {
                        assert!(text.contains(one.remedy().unwrap()), "{text}");
                        assert!(found.to_string().contains(one.remedy().unwrap()), "{found}");
                    }
                    for one in [&family.send_stamps, &family.error_queue, &family.fwmark] {
                        assert_eq!(*one, Capability::NotAsked);
                    }
                    assert_eq!(family.receive_buffer_bytes, None);
                }
            }
        });
    });
}

#[test]
fn i114_where_only_the_unprivileged_socket_is_allowed_it_is_used() {
    let Some((_lab, namespace)) = with_groups("groups", "0 2147483647") else { return };
    namespace.run(|| {
        without_capabilities(|| {
            for target in TARGETS {
                // One after another: each has an identifier of the kernel's choice.
                for _ in 0..3 {
                    let result = ping(target);
                    assert!(result.verdict.is_pass(), "{result}");
                    assert_eq!(result.report.socket, Some(SocketMode::Datagram));
                    assert_eq!(result.quality.stamp, Some(StampSource::Kernel), "{result}");
                }
            }
            let found = Capabilities::detect();
            println!("{found}");
            for family in both(&found) {
                assert!(!family.raw.is_available() && family.datagram.is_available(), "{found}");
                assert!(family.send_stamps.is_available() && family.error_queue.is_available());
                assert_eq!(refused(&family.fwmark, "cap_net_admin"), Some(libc::EPERM));
                // Beyond net.core.rmem_max only with CAP_NET_ADMIN.
                let rmem_max = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
                let rmem_max: u64 = rmem_max.trim().parse().unwrap();
                assert_eq!(family.receive_buffer_bytes, Some(rmem_max.min(8 << 20)));
                if rmem_max < 8 << 20 {
                    assert_eq!(refused(&family.receive_buffer, "net.core.rmem_max=8388608"), None);
                }
            }
        });
    });
}

#[test]
fn i105_where_stamps_are_refused_the_next_source_is_used_and_named() {
    let Some((_lab, namespace)) = with_groups("seccomp", "0 2147483647") else { return };
    namespace.run(|| {
        let stamping = [(libc::SOL_SOCKET, libc::SO_TIMESTAMPING)];
        refusing_options(&stamping, libc::ENOPROTOOPT, || {
            for target in TARGETS {
                let result = ping(target);
                assert!(result.verdict.is_pass(), "{result}");
                let answer = result.report.packets[0].fate.answer().unwrap();
                assert_eq!(answer.rtt.source, StampSource::User, "{result}");
                assert_eq!(result.quality.stamp, Some(StampSource::User), "{result}");
                assert!(answer.rtt.ns > 0 && answer.rtt.ns <= answer.elapsed_ns, "{answer:?}");
            }
            let found = Capabilities::detect();
            for family in both(&found) {
                for one in [&family.send_stamps, &family.receive_stamps] {
                    assert_eq!(refused(one, "SO_TIMESTAMPING"), Some(libc::ENOPROTOOPT));
                }
                assert_eq!(family.named_stamps, Capability::NotAsked);
                assert!(family.raw.is_available() && family.error_queue.is_available(), "{found}");
            }
        });
    });
}

#[test]
fn a_family_that_is_switched_off_is_absent_and_not_forbidden() {
    let Some((_lab, namespace)) = with_groups("absent", "1 0") else { return };
    namespace.sysctl("ipv6/conf/all/disable_ipv6", "1");
    let found = namespace.run(Capabilities::detect);
    assert!(refused(&found.v6.present, "disable_ipv6=0").is_some(), "{found}");
    assert!(found.v4.present.is_available(), "{found}");
}
