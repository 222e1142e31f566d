//! `sonde doctor`, as root, as anybody, and where nothing is allowed.

use std::path::PathBuf;
use std::process::Command;

use netsonde::icmp::{Capabilities, Capability, FamilyCapabilities};
use netsonde_support::{Lab, Namespace, TempDir, require_command, require_root};
use serde_json::Value;

use crate::{Run, sonde};

/// A namespace in which unprivileged ICMP sockets are open to these groups.
fn with_groups(word: &str, range: &str) -> Option<(Lab, Namespace)> {
    let lab = Lab::new(word)?;
    let namespace = lab.namespace("a");
    namespace.sysctl("ipv4/ping_group_range", range);
    Some((lab, namespace))
}

/// A user without any right, and a place from where this user may run the tool.
struct Nobody {
    setpriv: PathBuf,
    folder: TempDir,
}

impl Nobody {
    fn new() -> Option<Self> {
        use std::os::unix::fs::PermissionsExt;
        let setpriv = require_command("setpriv")?;
        let folder = TempDir::new("doctor");
        std::fs::set_permissions(&*folder, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_sonde"), folder.join("sonde")).unwrap();
        Some(Nobody { setpriv, folder })
    }

    fn doctor(&self, namespace: &Namespace, args: &[&str]) -> Run {
        let mut command = Command::new(&self.setpriv);
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .arg(self.folder.join("sonde"))
            .arg("doctor")
            .args(args)
            .current_dir("/");
        namespace.run(|| command.output()).unwrap().into()
    }
}

fn capabilities(run: &Run) -> (Value, Capabilities) {
    let json: Value = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let capabilities = serde_json::from_value(json.get("capabilities").unwrap().clone()).unwrap();
    (json, capabilities)
}

/// Every "no" of a family with its cause and what would help.
fn all(family: &FamilyCapabilities) -> Vec<&Capability> {
    vec![
        &family.present,
        &family.route,
        &family.raw,
        &family.datagram,
        &family.send_stamps,
        &family.receive_stamps,
        &family.named_stamps,
        &family.error_queue,
        &family.dont_fragment,
        &family.drop_counter,
        &family.fwmark,
        &family.receive_buffer,
    ]
}

#[track_caller]
fn every_no_is_explained(found: &Capabilities, text: &str) {
    let families = [&found.v4, &found.v6].into_iter().flat_map(all);
    let devices = found
        .interfaces
        .iter()
        .flat_map(|device| [&device.kernel_send, &device.hardware_send, &device.hardware_receive]);
    let mut count = 0;
    for capability in families.chain(devices) {
        let Capability::Unavailable { cause, remedy, .. } = capability else { continue };
        let remedy = remedy.as_deref().unwrap_or_else(|| panic!("{capability:?}"));
        assert!(text.contains(&format!("no  {cause}")), "{cause}\n{text}");
        assert!(text.contains(&format!("remedy: {remedy}")), "{remedy}\n{text}");
        count += 1;
    }
    // Nothing says no without being one of these.
    assert_eq!(text.lines().filter(|line| line.trim().starts_with("remedy:")).count(), count);
}

#[test]
fn root_can_ping_and_all_of_it_is_json_too() {
    if require_root().is_none() {
        return;
    }
    let text = sonde(&["doctor"]).ended(0);
    for part in ["host", "kernel  ", "clock source", "timer slack", "IPv4 can be pinged, over raw"]
    {
        assert!(text.out.contains(part), "{part}: {}", text.out);
    }
    let (json, found) = capabilities(&sonde(&["doctor", "--format", "json"]).ended(0));
    assert!(found.v4.raw.is_available() && found.v4.receive_buffer.is_available(), "{found}");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["ping"]["v4"], "raw");
    assert_eq!((&json["host"]["uid"], &json["host"]["cap_net_raw"]), (&0.into(), &true.into()));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(json["host"]["kernel"], kernel.trim());
    for key in ["timer_slack_ns", "rmem_max_bytes", "stamps_ready_ns"] {
        assert!(json["host"][key].is_u64(), "{key}: {json}");
    }
    assert!(json["host"]["open_files"]["hard"].is_u64(), "{json}");
    every_no_is_explained(&found, &text.out);
}

#[test]
fn i113_a_user_without_rights_is_told_both_remedies() {
    let Some((_lab, namespace)) = with_groups("doctor", "1 0") else { return };
    let Some(nobody) = Nobody::new() else { return };
    let text = nobody.doctor(&namespace, &[]).ended(1);
    println!("{}", text.out);
    let (json, found) = capabilities(&nobody.doctor(&namespace, &["--format", "json"]).ended(1));
    assert_eq!((&json["ping"]["v4"], &json["ping"]["v6"]), (&"refused".into(), &"refused".into()));
    assert_eq!((&json["host"]["uid"], &json["host"]["groups"]), (&65534.into(), &[65534].into()));
    assert_eq!(json["host"]["ping_group_range"], serde_json::json!([1, 0]));
    for part in [
        "setcap cap_net_raw+ep",
        "sysctl -w net.ipv4.ping_group_range",
        "1 to 0 (no group)",
        "IPv6 cannot be pinged",
        "send stamps               -   not asked",
    ] {
        assert!(text.out.contains(part), "{part}: {}", text.out);
    }
    every_no_is_explained(&found, &text.out);
}

#[test]
fn i114_a_user_of_the_right_group_can_ping_without_rights() {
    let Some((_lab, namespace)) = with_groups("groups", "65534 65534") else { return };
    let Some(nobody) = Nobody::new() else { return };
    let text = nobody.doctor(&namespace, &[]).ended(0);
    assert!(text.out.contains("IPv6 can be pinged, over unprivileged sockets"), "{}", text.out);
    let (json, found) = capabilities(&nobody.doctor(&namespace, &["--format", "json"]).ended(0));
    assert_eq!(
        (&json["ping"]["v4"], &json["ping"]["v6"]),
        (&"datagram".into(), &"datagram".into())
    );
    assert!(found.v4.send_stamps.is_available() && found.v6.error_queue.is_available(), "{found}");
    every_no_is_explained(&found, &text.out);
}

#[test]
fn a_family_that_is_absent_is_said_to_be() {
    let Some((_lab, namespace)) = with_groups("absent", "65534 65534") else { return };
    namespace.sysctl("ipv6/conf/all/disable_ipv6", "1");
    let Some(nobody) = Nobody::new() else { return };
    let run = nobody.doctor(&namespace, &[]).ended(0);
    assert!(run.out.contains("disable_ipv6=0"), "{}", run.out);
    namespace.sysctl("ipv4/ping_group_range", "1 0");
    // IPv4 is there and refused, IPv6 is not there.
    let (json, _) = capabilities(&nobody.doctor(&namespace, &["--format", "json"]).ended(1));
    assert_eq!((&json["ping"]["v4"], &json["ping"]["v6"]), (&"refused".into(), &"absent".into()));
}
