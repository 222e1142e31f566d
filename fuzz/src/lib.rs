//! What the fuzz targets check. Each target is one call into here.

pub mod dns;
pub mod echo_ops;
pub mod icmp;
pub mod ops;

use netsonde::engine::script::CompiledScript;
use netsonde::script::{Script, ScriptLimits};
use netsonde::tls::{CertificateReport, read_certificate, read_ocsp_response};
use netsonde::{ConnectTo, Target};

/// A script file parses or not, compiles or not, and what parsed survives being written.
pub fn script_file(text: &str) {
    let Ok(mut script) = serde_saphyr::from_str::<Script>(text) else { return };
    // Compiling a pattern of the usual limit is too slow to do millions of times.
    let limits = ScriptLimits { pattern: 64 * 1024, ..ScriptLimits::default() };
    let _ = CompiledScript::new(&script, &limits).map_err(|error| error.to_string());
    // Secret steps are written masked.
    script.steps.retain(|step| !step.secret);
    let written = serde_saphyr::to_string(&script).expect("a script can be written");
    let again = serde_saphyr::from_str::<Script>(&written).expect("what was written can be read");
    assert_eq!(script, again, "{written}");
}

/// Whatever a server serves as a certificate or as a stapled response can be read, shown as JSON
/// and read back; what is kept of it is bounded.
pub fn certificate(der: &[u8]) {
    let report = read_certificate(der);
    assert_eq!(report.der_len, der.len() as u64);
    let json = serde_json::to_string(&report).expect("a report can be written");
    let again: CertificateReport = serde_json::from_str(&json).expect("and read");
    assert_eq!(report, again, "{json}");
    assert!(json.len() < 4096 + 16 * der.len(), "{} bytes of {}", json.len(), der.len());
    let _ = read_ocsp_response(der, report.serial.as_deref(), 1_790_000_000);
}

/// A target that parses is shown in a form that parses to the same.
pub fn target(text: &str) {
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
    if let Ok(to) = text.parse::<ConnectTo>() {
        assert_eq!(to.to_string().parse(), Ok(to));
    }
}

/// Any text is a `resolv.conf` and a hosts file: what comes of it keeps the caps, and what was passed over
/// is told with a line that is there.
pub fn resolv_conf(text: &str) {
    use netsonde::engine::stub::{Hosts, MAX_NAMESERVERS, ResolvConf, candidates};
    let mut conf = ResolvConf::parse(text);
    assert!(conf.nameservers.len() <= MAX_NAMESERVERS);
    assert!(conf.options.ndots <= 15 && (1..=5).contains(&conf.options.attempts));
    assert!((1..=30).contains(&conf.options.timeout.as_secs()));
    let lines = 1..=text.lines().count();
    for warning in &conf.warnings {
        assert!(warning.line.is_some_and(|line| lines.contains(&line)), "{warning}");
    }
    let search = conf.search_or_domain_of(text);
    for name in ["a", "a.b.", "a.b.c"] {
        let names = candidates(name, &search, &conf.options).expect("it is a name");
        assert!(names.len() <= search.len() + 1);
    }
    conf.apply_localdomain(text);
    conf.apply_res_options(text);
    let hosts = Hosts::parse(text);
    assert!(hosts.unreadable().iter().all(|line| lines.contains(line)));
    assert!(hosts.unreadable().is_sorted());
}
