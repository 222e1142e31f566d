//! `resolv.conf`, as the resolver of glibc reads it (resolv.conf(5)).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::dns::DnsName;

/// Name servers that are used; what is listed behind them is not, as glibc has it (`MAXNS`).
pub const MAX_NAMESERVERS: usize = 3;

/// The largest `ndots` (resolv.conf(5)).
const MAX_NDOTS: u32 = 15;
/// The largest `timeout`, in seconds.
const MAX_TIMEOUT: u32 = 30;
/// The largest `attempts`.
const MAX_ATTEMPTS: u32 = 5;

/// What a `resolv.conf` says.
///
/// ```
/// use netsonde::engine::stub::ResolvConf;
///
/// let conf = ResolvConf::parse("nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2 inet6\n");
/// assert_eq!(conf.nameservers[0].address, "192.0.2.53".parse::<std::net::IpAddr>()?);
/// assert_eq!(conf.search.as_ref().map(Vec::len), Some(2));
/// assert_eq!(conf.options.ndots, 2);
/// assert_eq!(conf.warnings[0].to_string(), "line 3: an option that is not known: `inet6`");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvConf {
    /// The servers, at most [`MAX_NAMESERVERS`]. If there is none, glibc asks 127.0.0.1.
    pub nameservers: Vec<NameServer>,
    /// The list of the last `search` or `domain`; `None` if there is neither.
    pub search: Option<Vec<DnsName>>,
    /// What `options` lines set.
    pub options: ResolvOptions,
    /// What was passed over or changed, in the order of the lines.
    pub warnings: Vec<ResolvWarning>,
}

/// A server of a `nameserver` line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NameServer {
    /// Its address.
    pub address: IpAddr,
    /// The interface of a scoped IPv6 address, by name or number.
    pub zone: Option<String>,
}

/// The options of resolv.conf(5) that a stub resolver goes by, with the defaults of glibc.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvOptions {
    /// Dots that a name needs to be asked for as it is before the search list is. Default 1, at most 15.
    pub ndots: u32,
    /// How long the first server is waited for. Default 5 s, at most 30 s.
    pub timeout: Duration,
    /// How often all servers are asked. Default 2, at most 5.
    pub attempts: u32,
    /// Whether each lookup begins with another server.
    pub rotate: bool,
    /// Whether queries carry EDNS.
    pub edns0: bool,
    /// Whether AD of an answer is believed, and set in queries.
    pub trust_ad: bool,
    /// Whether queries go over TCP from the start.
    pub use_vc: bool,
    /// Whether AAAA is never asked for.
    pub no_aaaa: bool,
    /// Whether A and AAAA are asked for one after the other.
    pub single_request: bool,
    /// Whether A and AAAA each have a socket of their own. It is so here in any case.
    pub single_request_reopen: bool,
    /// Whether a name with one label is never asked for as it is.
    pub no_tld_query: bool,
}

impl Default for ResolvOptions {
    fn default() -> Self {
        ResolvOptions {
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            edns0: false,
            trust_ad: false,
            use_vc: false,
            no_aaaa: false,
            single_request: false,
            single_request_reopen: false,
            no_tld_query: false,
        }
    }
}

/// Something that was passed over or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvWarning {
    /// The line, from 1; `None` for what came from the environment.
    pub line: Option<usize>,
    /// What is the matter.
    pub kind: ResolvWarningKind,
    /// The words in question.
    pub text: String,
}

/// What is the matter with words in a `resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolvWarningKind {
    /// A keyword that is not known.
    Keyword,
    /// A keyword that glibc has and this resolver does nothing about: `sortlist`.
    Unsupported,
    /// No value behind a keyword.
    Missing,
    /// No address.
    Address,
    /// More servers than [`MAX_NAMESERVERS`].
    TooManyServers,
    /// No domain name.
    Name,
    /// An option that is not known.
    Option,
    /// An option whose value is no number.
    Number,
    /// A value that is cut to what is allowed.
    Range,
    /// Words behind the value.
    Trailing,
}

impl fmt::Display for ResolvWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: ")?,
            None => f.write_str("environment: ")?,
        }
        f.write_str(match self.kind {
            ResolvWarningKind::Keyword => "a keyword that is not known",
            ResolvWarningKind::Unsupported => "a keyword that is not supported",
            ResolvWarningKind::Missing => "no value",
            ResolvWarningKind::Address => "no address",
            ResolvWarningKind::TooManyServers => "more than 3 name servers",
            ResolvWarningKind::Name => "no domain name",
            ResolvWarningKind::Option => "an option that is not known",
            ResolvWarningKind::Number => "an option without a number",
            ResolvWarningKind::Range => "cut to what is allowed",
            ResolvWarningKind::Trailing => "words that mean nothing here",
        })?;
        write!(f, ": `{}`", self.text.escape_debug())
    }
}

impl ResolvConf {
    /// Reads the text. Nothing in it is an error, as for glibc: what cannot be used is passed over, and
    /// told in [`warnings`](Self::warnings).
    ///
    /// A line whose first character is `;` or `#` is a comment. Other than in glibc, such a word within a
    /// search list ends the list, which is told.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = ResolvConf::default();
        for (number, line) in text.lines().enumerate() {
            conf.line(number + 1, line);
        }
        conf
    }

    fn warn(&mut self, line: Option<usize>, kind: ResolvWarningKind, text: &str) {
        self.warnings.push(ResolvWarning { line, kind, text: text.to_owned() });
    }

    fn line(&mut self, number: usize, line: &str) {
        if line.starts_with([';', '#']) || line.trim().is_empty() {
            return;
        }
        let at = Some(number);
        let (keyword, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim();
        let known = ["nameserver", "domain", "search", "options", "sortlist"];
        if !known.contains(&keyword) {
            // glibc wants it at the very beginning of the line.
            return self.warn(at, ResolvWarningKind::Keyword, line.trim());
        }
        if rest.is_empty() && keyword != "search" {
            return self.warn(at, ResolvWarningKind::Missing, keyword);
        }
        match keyword {
            "nameserver" => self.nameserver(at, rest),
            "domain" => {
                let (first, more) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
                self.search_list(at, first);
                if !more.is_empty() {
                    self.warn(at, ResolvWarningKind::Trailing, more.trim());
                }
            }
            "search" => self.search_list(at, rest),
            "options" => self.options(at, rest),
            _ => self.warn(at, ResolvWarningKind::Unsupported, line),
        }
    }

    fn nameserver(&mut self, at: Option<usize>, rest: &str) {
        let mut words = rest.split_whitespace();
        let Some(word) = words.next() else { return };
        if let Some(more) = words.next().filter(|more| !more.starts_with([';', '#'])) {
            self.warn(at, ResolvWarningKind::Trailing, more);
        }
        let (address, zone) = match word.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (word, None),
        };
        let address: Option<IpAddr> = address.parse().ok();
        let fits = |address: &IpAddr| zone.is_none_or(|zone| address.is_ipv6() && !zone.is_empty());
        let Some(address) = address.filter(fits) else {
            return self.warn(at, ResolvWarningKind::Address, word);
        };
        if self.nameservers.len() == MAX_NAMESERVERS {
            return self.warn(at, ResolvWarningKind::TooManyServers, word);
        }
        self.nameservers.push(NameServer { address, zone: zone.map(str::to_owned) });
    }

    fn search_list(&mut self, at: Option<usize>, words: &str) {
        let mut list = Vec::new();
        for word in words.split_whitespace() {
            if word.starts_with([';', '#']) {
                self.warn(at, ResolvWarningKind::Trailing, word);
                break;
            }
            match word.parse::<DnsName>() {
                Ok(name) => list.push(name),
                Err(_) => self.warn(at, ResolvWarningKind::Name, word),
            }
        }
        self.search = Some(list);
    }

    fn options(&mut self, at: Option<usize>, words: &str) {
        for word in words.split_whitespace() {
            if word.starts_with([';', '#']) {
                return self.warn(at, ResolvWarningKind::Trailing, word);
            }
            if let Some((name, value)) = word.split_once(':') {
                self.number(at, word, name, value);
                continue;
            }
            let options = &mut self.options;
            match word {
                "rotate" => options.rotate = true,
                "edns0" => options.edns0 = true,
                "trust-ad" => options.trust_ad = true,
                "use-vc" => options.use_vc = true,
                "no-aaaa" => options.no_aaaa = true,
                "single-request" => options.single_request = true,
                "single-request-reopen" => options.single_request_reopen = true,
                "no-tld-query" => options.no_tld_query = true,
                // Each lookup reads nothing anew here, and names are always checked.
                "no-reload" | "no-check-names" => {}
                _ => self.warn(at, ResolvWarningKind::Option, word),
            }
        }
    }

    fn number(&mut self, at: Option<usize>, word: &str, name: &str, value: &str) {
        let (least, most) = match name {
            "ndots" => (0, MAX_NDOTS),
            "timeout" => (1, MAX_TIMEOUT),
            "attempts" => (1, MAX_ATTEMPTS),
            _ => return self.warn(at, ResolvWarningKind::Option, word),
        };
        if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
            return self.warn(at, ResolvWarningKind::Number, word);
        }
        let told = value.parse().unwrap_or(u32::MAX);
        let value = told.clamp(least, most);
        if value != told {
            self.warn(at, ResolvWarningKind::Range, word);
        }
        match name {
            "ndots" => self.options.ndots = value,
            "timeout" => self.options.timeout = Duration::from_secs(value.into()),
            _ => self.options.attempts = value,
        }
    }

    /// Puts the value of `LOCALDOMAIN` over the search list, as glibc does (resolv.conf(5)).
    pub fn apply_localdomain(&mut self, value: &str) {
        self.search_list(None, value);
    }

    /// Puts the value of `RES_OPTIONS` over the options.
    pub fn apply_res_options(&mut self, value: &str) {
        self.options(None, value);
    }

    /// The search list; without `search` and `domain` what stands behind the first dot of the name of this
    /// host, as glibc has it.
    #[must_use]
    pub fn search_or_domain_of(&self, hostname: &str) -> Vec<DnsName> {
        match &self.search {
            Some(list) => list.clone(),
            None => {
                let domain = hostname.trim().split_once('.').map(|(_, domain)| domain);
                domain.and_then(|domain| domain.parse().ok()).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/resolv_conf.rs"]
mod tests;
