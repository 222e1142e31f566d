//! Which address is dialled first (RFC 6724, 6).

use std::net::{IpAddr, Ipv6Addr};

/// Sorts destinations by RFC 6724, 6: given is each with the address that this host would send from, if it
/// can send there at all. Of its rules these are applied, with the table of 2.1: 1 (unusable last), 2
/// (same scope), 5 (same label), 6 (precedence), 8 (smaller scope); what is equal keeps its order. Rules 3,
/// 4 and 7 need to know more of the sources than a socket tells, and 9 works against servers that rotate
/// their addresses.
///
/// ```
/// use netsonde::engine::stub::sort_by_source;
///
/// let v4 = ("192.0.2.1".parse()?, Some("192.0.2.9".parse()?));
/// let v6 = ("2001:db8::1".parse()?, None);
/// assert_eq!(sort_by_source(vec![v6, v4]), [v4.0, v6.0]);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn sort_by_source(mut all: Vec<(IpAddr, Option<IpAddr>)>) -> Vec<IpAddr> {
    all.sort_by_key(|(destination, source)| {
        let (precedence, label) = policy(*destination);
        let scope = scope(*destination);
        (
            source.is_none(),
            source.is_none_or(|source| self::scope(source) != scope),
            source.is_none_or(|source| policy(source).1 != label),
            std::cmp::Reverse(precedence),
            scope,
        )
    });
    all.into_iter().map(|(destination, _)| destination).collect()
}

/// As it stands in the table: IPv4 as mapped (RFC 6724, 2.1).
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Precedence and label.
fn policy(address: IpAddr) -> (u8, u8) {
    let v6 = mapped(address);
    let [first, second, ..] = v6.segments();
    match () {
        () if v6.is_loopback() => (50, 0),
        () if v6.to_ipv4_mapped().is_some() => (35, 4),
        () if first == 0x2002 => (30, 2),
        () if first == 0x2001 && second == 0 => (5, 5),
        () if first & 0xfe00 == 0xfc00 => (3, 13),
        () if v6.segments().iter().take(6).all(|part| *part == 0) => (1, 3),
        () if first & 0xffc0 == 0xfec0 => (1, 11),
        () if first == 0x3ffe => (1, 12),
        () => (40, 1),
    }
}

/// The scope as a number: RFC 6724, 3.1 and, for IPv4, 3.2.
fn scope(address: IpAddr) -> u8 {
    let v6 = mapped(address);
    if let Some(v4) = v6.to_ipv4_mapped() {
        return if v4.is_loopback() || v4.is_link_local() { 2 } else { 14 };
    }
    let [first, ..] = v6.segments();
    match first {
        _ if v6.is_loopback() => 2,
        multicast if multicast & 0xff00 == 0xff00 => (multicast & 0xf) as u8,
        link if link & 0xffc0 == 0xfe80 => 2,
        site if site & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(pairs: &[(&str, &str)]) -> Vec<String> {
        let pairs = pairs.iter().map(|(to, from)| (to.parse().unwrap(), from.parse().ok()));
        sort_by_source(pairs.collect()).iter().map(ToString::to_string).collect()
    }

    // The examples of RFC 6724, 10.2, as far as these rules decide them.
    #[test]
    fn the_examples_of_the_rfc() {
        let first = |pairs: &[(&str, &str)]| sorted(pairs).remove(0);
        assert_eq!(
            first(&[("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "2001:db8:1::2")]),
            "2001:db8:1::1"
        );
        assert_eq!(
            first(&[("2001:db8:1::1", "fe80::1"), ("198.51.100.121", "198.51.100.117")]),
            "198.51.100.121"
        );
        assert_eq!(
            first(&[("10.1.2.3", "10.1.2.4"), ("2001:db8:1::1", "2001:db8:1::2")]),
            "2001:db8:1::1"
        );
        assert_eq!(first(&[("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")]), "fe80::1");
        assert_eq!(
            first(&[
                ("2001:db8:1::1", "2002:c633:6401::2"),
                ("2002:c633:6401::1", "2002:c633:6401::2")
            ]),
            "2002:c633:6401::1"
        );
    }

    #[test]
    fn what_is_equal_keeps_its_order_and_unusable_is_last() {
        let pairs = [("192.0.2.9", "10.0.0.1"), ("2001:db8::1", "-"), ("192.0.2.1", "10.0.0.1")];
        assert_eq!(sorted(&pairs), ["192.0.2.9", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(sorted(&[("127.0.0.1", "127.0.0.1"), ("::1", "::1")]), ["::1", "127.0.0.1"]);
    }
}
