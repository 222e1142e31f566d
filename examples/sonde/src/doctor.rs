//! `sonde doctor`: what this host lets a prober have, and what would help where it does not.

use std::fmt::{self, Display, Write as _};
use std::io::Write;

use netsonde::icmp::{Capabilities, FamilyCapabilities};
use serde::Serialize;

use crate::args::{DoctorArgs, DoctorFormat};
use crate::{Status, Stop};

/// All that is found out.
#[derive(Debug, Serialize)]
struct Findings {
    /// Version of this form.
    schema: u32,
    host: Host,
    ping: Ping,
    capabilities: Capabilities,
}

/// Whether hosts can be pinged, by family.
#[derive(Debug, Serialize)]
struct Ping {
    v4: Readiness,
    v6: Readiness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Readiness {
    /// Over raw sockets.
    Raw,
    /// Over datagram sockets.
    Datagram,
    /// This host has no such addresses.
    Absent,
    /// No kind of socket can be opened.
    Refused,
}

/// Facts beside the capabilities; `None` for what the system does not say.
#[derive(Debug, Serialize)]
struct Host {
    kernel: Option<String>,
    clock_source: Option<String>,
    timer_slack_ns: Option<u64>,
    stamps_ready_ns: Option<u64>,
    open_files: Option<Limits>,
    uid: Option<u32>,
    groups: Vec<u32>,
    cap_net_raw: Option<bool>,
    cap_net_admin: Option<bool>,
    ping_group_range: Option<[u32; 2]>,
    rmem_max_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Limits {
    /// `null` for no limit.
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Finds out, and prints it.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn run(args: &DoctorArgs) -> Result<Status, Stop> {
    let capabilities = Capabilities::detect();
    let ping = Ping { v4: readiness(&capabilities.v4), v6: readiness(&capabilities.v6) };
    let status = status([ping.v4, ping.v6]);
    let findings = Findings { schema: 1, host: Host::look(), ping, capabilities };
    let text = match args.format {
        DoctorFormat::Text => format!("{findings}\n"),
        DoctorFormat::Json => serde_json::to_string_pretty(&findings)
            .map(|json| json + "\n")
            .map_err(|error| Stop::Message(error.to_string()))?,
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(status)
}

fn readiness(family: &FamilyCapabilities) -> Readiness {
    if family.raw.is_available() {
        Readiness::Raw
    } else if family.datagram.is_available() {
        Readiness::Datagram
    } else if family.present.is_available() {
        Readiness::Refused
    } else {
        Readiness::Absent
    }
}

/// Every family that the host has can be pinged, and there is one.
fn status(families: [Readiness; 2]) -> Status {
    let is_absent = |family: &Readiness| *family == Readiness::Absent;
    if families.contains(&Readiness::Refused) || families.iter().all(is_absent) {
        Status::Fail
    } else {
        Status::Pass
    }
}

/// A small file of the system, without the blanks around.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// What stands behind a word at the start of a line.
fn field<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(word)).map(str::trim)
}

/// Soft and hard limit of a line of proc_pid_limits(5).
fn limits(line: &str) -> Option<Limits> {
    let mut words = line.split_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Limits { soft: limit()?, hard: limit()? })
}

fn pair(text: &str) -> Option<[u32; 2]> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

impl Host {
    fn look() -> Self {
        let status = read("/proc/self/status").unwrap_or_default();
        // The second of real, effective, saved and that of the file system.
        let effective = |word| field(&status, word)?.split_whitespace().nth(1)?.parse().ok();
        let group: Option<u32> = effective("Gid:");
        let others = field(&status, "Groups:").unwrap_or_default();
        let others = others.split_whitespace().filter_map(|group| group.parse().ok());
        let mut groups: Vec<u32> = group.into_iter().chain(others).collect();
        groups.dedup();
        let rights = field(&status, "CapEff:").and_then(|bits| u64::from_str_radix(bits, 16).ok());
        // CAP_NET_ADMIN and CAP_NET_RAW of linux/capability.h.
        let has = |bit: u32| rights.map(|rights| rights >> bit & 1 == 1);
        let ready = Capabilities::stamps_ready();
        Host {
            kernel: read("/proc/sys/kernel/osrelease"),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            timer_slack_ns: read("/proc/self/timerslack_ns").and_then(|text| text.parse().ok()),
            stamps_ready_ns: ready.and_then(|time| u64::try_from(time.as_nanos()).ok()),
            open_files: read("/proc/self/limits")
                .and_then(|text| limits(field(&text, "Max open files")?)),
            uid: effective("Uid:"),
            groups,
            cap_net_raw: has(13),
            cap_net_admin: has(12),
            ping_group_range: read("/proc/sys/net/ipv4/ping_group_range")
                .and_then(|text| pair(&text)),
            rmem_max_bytes: read("/proc/sys/net/core/rmem_max").and_then(|text| text.parse().ok()),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        fn or_unknown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
            value.map_or_else(|| "unknown".to_owned(), text)
        }
        let yes = |has| or_unknown(has, |has: bool| if has { "yes" } else { "no" }.to_owned());
        let us = |ns: u64| format!("{}.{:03} us", ns / 1000, ns % 1000);
        let limit = |limit: Option<u64>| limit.map_or("no limit".to_owned(), |n| n.to_string());
        let groups = self.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let stamps = match self.stamps_ready_ns {
            Some(ns) => format!("after {}", us(ns)),
            None => "not within 5 ms: results will name other sources of time".to_owned(),
        };
        vec![
            ("kernel", or_unknown(self.kernel.clone(), |kernel| kernel)),
            ("clock source", or_unknown(self.clock_source.clone(), |source| source)),
            ("timer slack", or_unknown(self.timer_slack_ns, us)),
            ("kernel stamps", stamps),
            (
                "open files",
                or_unknown(self.open_files, |files| {
                    format!("{}, at most {}", limit(files.soft), limit(files.hard))
                }),
            ),
            ("user", or_unknown(self.uid, |uid| uid.to_string())),
            ("groups", groups),
            ("CAP_NET_RAW", yes(self.cap_net_raw)),
            ("CAP_NET_ADMIN", yes(self.cap_net_admin)),
            (
                "ping_group_range",
                or_unknown(self.ping_group_range, |[first, last]| {
                    let none = if first > last { " (no group)" } else { "" };
                    format!("{first} to {last}{none}")
                }),
            ),
            ("rmem_max", or_unknown(self.rmem_max_bytes, |bytes| format!("{bytes} bytes"))),
        ]
    }
}

impl Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readiness::Raw => "can be pinged, over raw sockets",
            Readiness::Datagram => "can be pinged, over unprivileged sockets",
            Readiness::Absent => "absent on this host",
            Readiness::Refused => "cannot be pinged: one of the remedies for its sockets is needed",
        })
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host")?;
        for (what, text) in self.host.rows() {
            write!(f, "\n  {what:<26}{text}")?;
        }
        write!(f, "\n\n{}\n", self.capabilities)?;
        write!(f, "\nIPv4 {}", self.ping.v4)?;
        f.write_char('\n')?;
        write!(f, "IPv6 {}", self.ping.v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_absent_is_no_failure_and_none_at_all_is() {
        use Readiness::{Absent, Datagram, Raw, Refused};
        for (families, wanted) in [
            ([Raw, Raw], Status::Pass),
            ([Raw, Absent], Status::Pass),
            ([Datagram, Raw], Status::Pass),
            ([Absent, Datagram], Status::Pass),
            ([Raw, Refused], Status::Fail),
            ([Refused, Absent], Status::Fail),
            ([Absent, Absent], Status::Fail),
        ] {
            assert_eq!(status(families), wanted, "{families:?}");
        }
    }

    #[test]
    fn limits_and_ranges_are_read_as_the_kernel_writes_them() {
        let limit = |soft, hard| Some(Limits { soft, hard });
        assert_eq!(limits("  1024     524288   files "), limit(Some(1024), Some(524_288)));
        assert_eq!(limits("unlimited unlimited files"), limit(None, None));
        assert_eq!(limits("files"), None);
        assert_eq!(pair("1\t0"), Some([1, 0]));
        assert_eq!(pair("1"), None);
        assert_eq!(field("Name:\tx\nUid:\t0\t7\t0\t0\n", "Uid:"), Some("0\t7\t0\t0"));
    }
}
