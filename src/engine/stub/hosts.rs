//! The hosts file (hosts(5)).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::wire::dns::DnsName;

/// What a hosts file says: addresses of names and names of addresses.
///
/// ```
/// use netsonde::engine::stub::Hosts;
///
/// let hosts = Hosts::parse("192.0.2.1 www.example www # the shop\n2001:db8::1 www.example\nwhat\n");
/// assert_eq!(hosts.addresses(&"WWW.example".parse()?).len(), 2);
/// assert_eq!(hosts.name(&"192.0.2.1".parse()?).unwrap().to_string(), "www.example.");
/// assert_eq!(hosts.unreadable(), [3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    addresses: HashMap<DnsName, Vec<IpAddr>>,
    names: HashMap<IpAddr, DnsName>,
    unreadable: Vec<usize>,
}

impl Hosts {
    /// Reads the text. Lines that are none are passed over, as glibc does, and told by
    /// [`unreadable`](Self::unreadable). An address with a zone is none: nothing could be said of it here.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut hosts = Hosts::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let before = hosts.unreadable.len();
            match first.parse() {
                Ok(address) => hosts.line(number + 1, address, words),
                Err(_) => hosts.unreadable.push(number + 1),
            }
            hosts.unreadable.truncate(before + 1);
        }
        hosts
    }

    fn line<'a>(&mut self, number: usize, address: IpAddr, words: impl Iterator<Item = &'a str>) {
        let mut named = false;
        for word in words {
            let Ok(name) = word.parse::<DnsName>() else {
                self.unreadable.push(number);
                continue;
            };
            named = true;
            self.names.entry(address).or_insert_with(|| name.clone());
            let addresses = self.addresses.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if !named {
            self.unreadable.push(number);
        }
    }

    /// The addresses of a name in the order of the lines; none if it is not there.
    #[must_use]
    pub fn addresses(&self, name: &DnsName) -> &[IpAddr] {
        self.addresses.get(name).map_or(&[], Vec::as_slice)
    }

    /// The first name of an address.
    #[must_use]
    pub fn name(&self, address: &IpAddr) -> Option<&DnsName> {
        self.names.get(address)
    }

    /// Lines with something that was passed over, from 1.
    #[must_use]
    pub fn unreadable(&self) -> &[usize] {
        &self.unreadable
    }
}
