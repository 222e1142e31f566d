//! Which names are asked for, in which order, and what the whole comes to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::resolv_conf::ResolvOptions;
use crate::wire::dns::DnsName;

/// The names to ask for, in their order (resolv.conf(5), `search` and `ndots`).
///
/// - A name with a final dot is asked for as it is, and no other.
/// - A name with at least `ndots` dots is asked for as it is first, then with each domain behind it.
/// - Any other with each domain behind it first, and as it is last; with `no-tld-query` a name of one
///   label is not asked for as it is.
///
/// What would be too long with a domain behind it is left out, and each name is there once.
///
/// ```
/// use netsonde::engine::stub::{ResolvOptions, candidates};
///
/// let search = ["corp.example".parse()?];
/// let names = candidates("db", &search, &ResolvOptions::default())?;
/// assert_eq!(names, ["db.corp.example".parse()?, "db".parse()?]);
/// assert_eq!(candidates("db.", &search, &ResolvOptions::default())?, ["db".parse()?]);
/// # Ok::<(), netsonde::wire::dns::NameError>(())
/// ```
///
/// # Errors
/// [`NameError`](crate::wire::dns::NameError): the text is no name.
pub fn candidates(
    text: &str,
    search: &[DnsName],
    options: &ResolvOptions,
) -> Result<Vec<DnsName>, crate::wire::dns::NameError> {
    let name: DnsName = text.parse()?;
    if text.ends_with('.') {
        return Ok(vec![name]);
    }
    let dots = text.bytes().filter(|octet| *octet == b'.').count();
    let mut list: Vec<DnsName> =
        search.iter().filter_map(|domain| name.append(domain).ok()).collect();
    if dots >= options.ndots as usize {
        list.insert(0, name);
    } else if dots > 0 || !options.no_tld_query {
        list.push(name);
    }
    let mut once: Vec<DnsName> = Vec::with_capacity(list.len());
    for name in list {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    Ok(once)
}

/// Names that no server is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Special {
    /// `localhost` and what is below it: the addresses of loopback (RFC 6761, 6.3).
    Loopback([IpAddr; 2]),
    /// `invalid` (RFC 6761, 6.4), `onion` (RFC 7686, 2) and what is below them: there is no such name.
    NoSuchName,
}

/// Whether a name is one that no server is asked for. `local` is none of them: there is no multicast DNS
/// here, and its names go to the servers, as those of one label do.
#[must_use]
pub fn special(name: &DnsName) -> Option<Special> {
    let top = name.as_ref().labels().last()?;
    let is = |label: &str| top.eq_ignore_ascii_case(label.as_bytes());
    if is("localhost") {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        return Some(Special::Loopback([v6, v4]));
    }
    (is("invalid") || is("onion")).then_some(Special::NoSuchName)
}

/// What one name of the list came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tally {
    /// It has addresses.
    Found,
    /// There is no such name.
    NoSuchName,
    /// There is, without an address.
    NoData,
    /// The servers failed at it (`SERVFAIL`).
    ServerFailure,
    /// No server could be asked, or none answered.
    NoAnswer,
}

/// How the list of names is gone through, as `res_search` of glibc does.
#[derive(Clone, Debug, Default)]
pub struct Search {
    names: std::collections::VecDeque<DnsName>,
    no_data: Option<usize>,
    failure: Option<usize>,
    asked: usize,
    decisive: Option<usize>,
}

impl Search {
    /// Goes through these.
    #[must_use]
    pub fn new(names: Vec<DnsName>) -> Self {
        Search { names: names.into(), ..Search::default() }
    }

    /// The next name to ask for; `None` if it is over.
    pub fn next_name(&mut self) -> Option<DnsName> {
        self.names.pop_front()
    }

    /// What the last name came to. Addresses end it, and so do servers that cannot be asked: behind them
    /// the other names would only wait as long. After "no such name", "no data" and `SERVFAIL` the next
    /// name is asked for.
    pub fn came_to(&mut self, tally: Tally) {
        let place = self.asked;
        self.asked += 1;
        match tally {
            Tally::Found | Tally::NoAnswer => {
                self.decisive = Some(place);
                self.names.clear();
            }
            Tally::NoData => _ = self.no_data.get_or_insert(place),
            Tally::ServerFailure => _ = self.failure.get_or_insert(place),
            Tally::NoSuchName => {}
        }
    }

    /// Which of the names asked for, from 0, says what the whole comes to: the one that ended it, else one
    /// that exists without data, else one that servers failed at, else the last.
    #[must_use]
    pub fn decisive(&self) -> Option<usize> {
        self.decisive.or(self.no_data).or(self.failure).or(self.asked.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str, domains: &[&str], ndots: u32) -> Vec<String> {
        let search: Vec<DnsName> = domains.iter().map(|domain| domain.parse().unwrap()).collect();
        let options = ResolvOptions { ndots, ..ResolvOptions::default() };
        candidates(text, &search, &options).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dots_decide_where_the_name_itself_stands() {
        assert_eq!(list("a", &["x.y", "z"], 1), ["a.x.y.", "a.z.", "a."]);
        assert_eq!(list("a.b", &["x.y"], 1), ["a.b.", "a.b.x.y."]);
        assert_eq!(list("a.b", &["x.y"], 2), ["a.b.x.y.", "a.b."]);
        assert_eq!(list("a", &["x.y"], 0), ["a.", "a.x.y."]);
        assert_eq!(list("a.", &["x.y"], 5), ["a."]);
        assert_eq!(list("a", &["x", "X", "."], 1), ["a.x.", "a."]);
        let long = ["a"; 120].join(".");
        assert_eq!(list(&long, &["domain.that.does.not.fit.behind.it"], 1).len(), 1);
        let options = ResolvOptions { no_tld_query: true, ..ResolvOptions::default() };
        assert!(candidates("a", &[], &options).unwrap().is_empty());
        assert!(candidates("a..b", &[], &options).is_err());
    }

    #[test]
    fn some_names_are_never_asked_for() {
        let of = |text: &str| special(&text.parse().unwrap());
        assert!(matches!(of("localhost"), Some(Special::Loopback(_))));
        assert!(matches!(of("a.LocalHost."), Some(Special::Loopback(_))));
        assert_eq!(of("x.onion"), Some(Special::NoSuchName));
        assert_eq!(of("x.invalid"), Some(Special::NoSuchName));
        assert_eq!(of("printer.local"), None);
        assert_eq!(of("localhost.example"), None);
    }

    #[test]
    fn no_data_counts_more_than_a_failure_and_a_failure_more_than_no_name() {
        use Tally::{Found, NoAnswer, NoData, NoSuchName, ServerFailure};
        for (tallies, decisive) in [
            (&[NoSuchName, NoSuchName, NoSuchName][..], 2),
            (&[NoSuchName, NoData, ServerFailure], 1),
            (&[ServerFailure, NoSuchName, NoSuchName], 0),
            (&[ServerFailure, NoData, NoData], 1),
            (&[NoData, Found], 1),
            (&[NoSuchName, NoAnswer], 1),
        ] {
            let mut search = Search::new(vec![DnsName::root(); 3]);
            for tally in tallies {
                assert!(search.next_name().is_some(), "{tallies:?}");
                search.came_to(*tally);
            }
            assert!(search.next_name().is_none(), "{tallies:?}");
            assert_eq!(search.decisive(), Some(decisive), "{tallies:?}");
        }
    }
}
