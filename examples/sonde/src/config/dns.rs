//! `sonde dns`.

use std::net::IpAddr;
use std::sync::Arc;

use netsonde::dns::{
    DnsConfig, DnsExpect, DnsProber, DnsTransport, EdnsConfig, QueryFlags, Question,
};
use netsonde::engine::stub::ResolvConf;
use netsonde::tcp::SocketOptions;
use netsonde::wire::dns::{Class, DnsName, RecordType};
use netsonde::{Common, Dialing, Family, Name, Probe, Target};

use super::{expect_tls, tls};
use crate::args::{DnsArgs, TlsOptions};
use crate::script_file::with_causes;

/// A probe for each server.
///
/// # Errors
/// A message for the user: what is wrong with the question, a server or an option.
pub(crate) fn dns_probes(args: &DnsArgs) -> Result<Vec<Probe>, String> {
    let (servers, words): (Vec<&String>, Vec<&String>) =
        args.words.iter().partition(|word| word.starts_with('@'));
    let question = question(&words, args.reverse)?;
    let mut targets = Vec::with_capacity(servers.len());
    for server in servers {
        let text = server.trim_start_matches('@');
        targets.push(text.parse().map_err(|error| format!("@{}: {error}", text.escape_debug()))?);
    }
    if targets.is_empty() {
        targets.push(usual_server()?);
    }
    let prober = DnsProber::new(config(question, args)?).map_err(|error| with_causes(&error))?;
    let prober = Arc::new(prober);
    Ok(targets.into_iter().map(|target| Probe::new(Arc::clone(&prober), target)).collect())
}

fn config(question: Question, args: &DnsArgs) -> Result<DnsConfig, String> {
    if !args.tls && args.tls_options != TlsOptions::default() {
        return Err("the options of TLS need --tls".to_owned());
    }
    let transport = match (args.tcp, args.tls) {
        (true, _) => DnsTransport::Tcp,
        (_, true) => DnsTransport::Tls,
        _ => DnsTransport::Udp,
    };
    let edns = EdnsConfig {
        udp_payload: args.bufsize,
        dnssec_ok: args.dnssec,
        nsid: args.nsid,
        client_subnet: args.subnet,
        cookie: args.cookie,
        padding: args.padding,
        ..EdnsConfig::default()
    };
    let any = args.expect_rcode.iter().any(Option::is_none);
    let rcodes = args.expect_rcode.iter().copied().flatten().collect();
    Ok(DnsConfig {
        timeout: args.timeout,
        transport,
        tcp_fallback: !args.ignore,
        attempt_timeout: args.wait,
        retries: args.retry,
        mixed_case: args.mixed_case,
        listen: args.listen,
        soft_errors: args.soft_errors,
        flags: QueryFlags {
            recursion_desired: !args.no_recurse,
            checking_disabled: args.cd,
            authentic_data: args.ad,
        },
        edns: (!args.no_edns).then_some(edns),
        dialing: Dialing {
            family: match (args.ipv4, args.ipv6) {
                (true, _) => Family::V4Only,
                (_, true) => Family::V6Only,
                _ => Family::Any,
            },
            ..Dialing::default()
        },
        socket: SocketOptions {
            source: args.source,
            interface: args.interface.clone(),
            ..SocketOptions::default()
        },
        tls: args.tls.then(|| tls(&args.tls_options)),
        expect: DnsExpect {
            common: Common { failure: args.many.expect_failure, ..Common::default() },
            tls: expect_tls(&args.tls_options),
            rcodes: if any { Vec::new() } else { rcodes },
            ..DnsExpect::default()
        },
        ..DnsConfig::ask(question)
    })
}

/// What the words without the servers ask for.
fn question(words: &[&String], reverse: bool) -> Result<Question, String> {
    let (name, rest) = words.split_first().ok_or("which name?")?;
    let name = match reverse {
        false => ascii(name)?,
        true => {
            let address: IpAddr =
                name.parse().map_err(|_| format!("`{}` is no address", name.escape_debug()))?;
            reverse_name(address)
        }
    };
    let shown = name.escape_debug();
    let name: DnsName = name.parse().map_err(|error| format!("`{shown}`: {error}"))?;
    let (mut rtype, mut class) = (None, None);
    for word in rest {
        let shown = word.escape_debug();
        match (word.parse::<RecordType>(), word.parse::<Class>()) {
            (Ok(found), _) if rtype.is_none() => rtype = Some(found),
            (_, Ok(found)) if class.is_none() => class = Some(found),
            (Err(_), Err(_)) => return Err(format!("`{shown}` is neither a type nor a class")),
            _ => return Err(format!("`{shown}` is one too many")),
        }
    }
    let usual = if reverse { RecordType::PTR } else { RecordType::A };
    let question = Question::new(name, rtype.unwrap_or(usual));
    Ok(question.of_class(class.unwrap_or(Class::IN)))
}

/// A name with letters outside ASCII as it goes over the wire (RFC 5891); any other as it stands, since
/// more can be asked for than hosts may be called.
fn ascii(name: &str) -> Result<String, String> {
    if name.is_ascii() {
        return Ok(name.to_owned());
    }
    let host: Name = name.parse().map_err(|error| format!("`{}`: {error}", name.escape_debug()))?;
    Ok(host.as_str().to_owned())
}

/// The name under which the name of an address stands (RFC 1035, 3.5; RFC 3596, 2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            format!("{labels}ip6.arpa.")
        }
    }
}

/// The first name server of this host.
fn usual_server() -> Result<Target, String> {
    const FILE: &str = "/etc/resolv.conf";
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    let conf = ResolvConf::parse(&text);
    let server = conf.nameservers.first().ok_or_else(|| format!("{FILE} names no server"))?;
    let text = match &server.zone {
        Some(zone) => format!("{}%{zone}", server.address),
        None => server.address.to_string(),
    };
    text.parse().map_err(|error| format!("{FILE}: {text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str], reverse: bool) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        question(&words.iter().collect::<Vec<_>>(), reverse).map(|question| question.to_string())
    }

    #[test]
    fn words_are_a_question() {
        assert_eq!(asked(&["a.example"], false).unwrap(), "a.example. IN A");
        assert_eq!(asked(&["a.example", "mx"], false).unwrap(), "a.example. IN MX");
        assert_eq!(asked(&["version.bind", "CH", "TXT"], false).unwrap(), "version.bind. CH TXT");
        assert_eq!(asked(&["b\u{fc}cher.example"], false).unwrap(), "xn--bcher-kva.example. IN A");
        assert_eq!(asked(&["192.0.2.1"], true).unwrap(), "1.2.0.192.in-addr.arpa. IN PTR");
        let v6 = asked(&["2001:db8::1"], true).unwrap();
        assert!(
            v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa. IN PTR"),
            "{v6}"
        );
        assert!(asked(&["a.example"], true).is_err());
        assert!(asked(&["a..example"], false).unwrap_err().contains("empty label"));
        assert_eq!(asked(&["my\\ a.example", "SRV"], false).unwrap(), "my\\032a.example. IN SRV");
        assert!(asked(&["a.example", "A", "MX"], false).unwrap_err().contains("one too many"));
        assert_eq!(asked(&["a.example", "ANY"], false).unwrap(), "a.example. IN ANY");
        assert!(asked(&[], false).is_err());
    }
}
