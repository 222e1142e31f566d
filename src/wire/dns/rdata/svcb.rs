//! Parameters of services (RFC 9460, 2.1 and 7).

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{DataReader, DnsError, DnsErrorKind};
use super::TextError;
use super::field::Field;
use super::octets::{escape, from_base64, show_base64};
use super::text::{TextErrorKind, Token, Tokens, unescaped};

/// The key of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct SvcKey(pub u16);

impl SvcKey {
    /// Keys that a client has to know.
    pub const MANDATORY: SvcKey = SvcKey(0);
    /// Protocols.
    pub const ALPN: SvcKey = SvcKey(1);
    /// The default protocol is not spoken.
    pub const NO_DEFAULT_ALPN: SvcKey = SvcKey(2);
    /// The port.
    pub const PORT: SvcKey = SvcKey(3);
    /// Addresses.
    pub const IPV4HINT: SvcKey = SvcKey(4);
    /// A configuration for Encrypted Client Hello.
    pub const ECH: SvcKey = SvcKey(5);
    /// Addresses.
    pub const IPV6HINT: SvcKey = SvcKey(6);
    /// The path of DNS over HTTPS (RFC 9461, 5).
    pub const DOHPATH: SvcKey = SvcKey(7);

    /// Keys that dig and kdig have a name for. They show dohpath as `key7`, and so does this.
    const NAMES: [&'static str; 7] =
        ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"];

    fn parse(text: &str) -> Option<Self> {
        if text == "dohpath" {
            return Some(SvcKey::DOHPATH);
        }
        if let Some(at) = SvcKey::NAMES.iter().position(|name| *name == text) {
            return u16::try_from(at).ok().map(SvcKey);
        }
        let digits = text.strip_prefix("key")?;
        let plain = digits == "0" || !digits.starts_with(['0', '+']);
        plain.then(|| digits.parse().ok().map(SvcKey))?
    }
}

impl fmt::Display for SvcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SvcKey::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "key{}", self.0),
        }
    }
}

/// The parameters of a service, to the end of the data: their keys ascend, and the value of each known
/// one has the form that it has to have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SvcParams<'a>(&'a [u8]);

impl<'a> SvcParams<'a> {
    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (SvcKey, &'a [u8])> + use<'a> {
        let mut reader = DataReader::of(self.0);
        std::iter::from_fn(move || parameter(&mut reader).ok())
    }

    /// The value of a key, as octets.
    #[must_use]
    pub fn get(&self, key: SvcKey) -> Option<&'a [u8]> {
        self.iter().find(|(one, _)| *one == key).map(|(_, value)| value)
    }

    /// The keys that a client has to know to use this.
    pub fn mandatory(&self) -> impl Iterator<Item = SvcKey> + use<'a> {
        keys(self.get(SvcKey::MANDATORY).unwrap_or_default())
    }

    /// The protocols.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        strings(self.get(SvcKey::ALPN).unwrap_or_default())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.get(SvcKey::PORT)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Addresses to try before those of the target are known.
    pub fn ipv4_hints(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        chunks(self.get(SvcKey::IPV4HINT).unwrap_or_default()).map(Ipv4Addr::from)
    }

    /// The same of IPv6.
    pub fn ipv6_hints(&self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        chunks(self.get(SvcKey::IPV6HINT).unwrap_or_default()).map(Ipv6Addr::from)
    }

    /// Whether it has all that it calls mandatory, and protocols if it takes the default one away: a
    /// client ignores the record otherwise (RFC 9460, 7.1.1 and 8).
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let default = self.get(SvcKey::NO_DEFAULT_ALPN).is_none();
        self.mandatory().all(|key| self.get(key).is_some())
            && (default || self.get(SvcKey::ALPN).is_some())
    }
}

fn parameter<'a>(reader: &mut DataReader<'a>) -> Result<(SvcKey, &'a [u8]), DnsError> {
    let key = SvcKey(reader.u16()?);
    let len = reader.u16()?;
    Ok((key, reader.take(len.into())?))
}

fn chunks<const N: usize>(octets: &[u8]) -> impl Iterator<Item = [u8; N]> + use<'_, N> {
    octets.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok())
}

fn keys(octets: &[u8]) -> impl Iterator<Item = SvcKey> + use<'_> {
    chunks(octets).map(u16::from_be_bytes).map(SvcKey)
}

fn strings(octets: &[u8]) -> impl Iterator<Item = &[u8]> + use<'_> {
    let mut reader = DataReader::of(octets);
    std::iter::from_fn(move || reader.string().ok())
}

/// Whether a key can have a value.
fn is_form(key: SvcKey, value: &[u8]) -> bool {
    let some_of = |size| !value.is_empty() && value.len().is_multiple_of(size);
    match key {
        SvcKey::MANDATORY => {
            some_of(2) && keys(value).is_sorted_by(|a, b| a < b) && keys(value).all(|k| k.0 != 0)
        }
        SvcKey::ALPN => {
            let read: usize = strings(value).map(|id| id.len() + 1).sum();
            !value.is_empty() && read == value.len() && strings(value).all(|id| !id.is_empty())
        }
        SvcKey::NO_DEFAULT_ALPN => value.is_empty(),
        SvcKey::PORT => value.len() == 2,
        SvcKey::IPV4HINT => some_of(4),
        SvcKey::IPV6HINT => some_of(16),
        // The last key is none, and stays none.
        key => key.0 != u16::MAX,
    }
}

impl fmt::Debug for SvcParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Field::show(self, f)
    }
}

fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        f.write_str(if index > 0 { "," } else { "=" })?;
        write!(f, "{item}")?;
    }
    Ok(())
}

/// One protocol in the list of a value, which is escaped twice (RFC 9460, A.1).
fn show_alpn(id: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    id.iter().try_for_each(|octet| match octet {
        b',' => f.write_str("\\\\,"),
        b'\\' => f.write_str("\\\\\\\\"),
        b'"' | b';' | b'(' | b')' => write!(f, "\\{}", char::from(*octet)),
        0x21..=0x7e => f.write_char(char::from(*octet)),
        _ => write!(f, "\\{octet:03}"),
    })
}

impl<'a> Field<'a> for SvcParams<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let (mut ahead, mut last) = (*reader, None);
        while ahead.left() > 0 {
            let wrong = ahead.error(DnsErrorKind::Data);
            let (key, value) = parameter(&mut ahead)?;
            if last.is_some_and(|last| last >= key) || !is_form(key, value) {
                return Err(wrong);
            }
            last = Some(key);
        }
        Ok(SvcParams(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{key}")?;
            match key {
                _ if value.is_empty() => {}
                SvcKey::MANDATORY => list(f, self.mandatory())?,
                SvcKey::PORT => list(f, self.port().into_iter())?,
                SvcKey::IPV4HINT => list(f, self.ipv4_hints())?,
                SvcKey::IPV6HINT => list(f, self.ipv6_hints())?,
                SvcKey::ALPN => {
                    for (index, id) in self.alpn().enumerate() {
                        f.write_char(if index > 0 { ',' } else { '=' })?;
                        show_alpn(id, f)?;
                    }
                }
                SvcKey::ECH => {
                    f.write_char('=')?;
                    show_base64(value, f)?;
                }
                _ => {
                    f.write_str("=\"")?;
                    escape(value, f)?;
                    f.write_char('"')?;
                }
            }
        }
        Ok(())
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let mut all: Vec<(SvcKey, Vec<u8>)> = Vec::new();
        while let Some(token) = tokens.next_parameter()? {
            let wrong = token.error(TextErrorKind::Param);
            let (key, value) = scan_parameter(&token).ok_or(wrong)?;
            if all.iter().any(|(one, _)| *one == key) || !is_form(key, &value) {
                return Err(wrong);
            }
            all.push((key, value));
        }
        all.sort_unstable();
        for (key, value) in all {
            let at = TextError { offset: 0, kind: TextErrorKind::Length };
            let len = u16::try_from(value.len()).map_err(|_| at)?;
            into.extend_from_slice(&key.0.to_be_bytes());
            into.extend_from_slice(&len.to_be_bytes());
            into.extend_from_slice(&value);
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

fn scan_parameter(token: &Token<'_>) -> Option<(SvcKey, Vec<u8>)> {
    let (key, value) = token.text.split_once('=').unwrap_or((token.text, ""));
    let key = SvcKey::parse(key)?;
    let value = match value.strip_prefix('"') {
        Some(inside) => inside.strip_suffix('"')?,
        None => value,
    };
    let value = unescaped(value)?;
    let text = || std::str::from_utf8(&value).ok();
    let items = || text().map(|text| text.split(','));
    let mut out = Vec::new();
    match key {
        SvcKey::MANDATORY => {
            let mut keys = items()?.map(SvcKey::parse).collect::<Option<Vec<_>>>()?;
            keys.sort_unstable();
            out.extend(keys.iter().flat_map(|key| key.0.to_be_bytes()));
        }
        SvcKey::ALPN => {
            let (mut ids, mut octets) = (vec![Vec::new()], value.iter());
            while let Some(octet) = octets.next() {
                match octet {
                    b',' => ids.push(Vec::new()),
                    b'\\' => ids.last_mut()?.push(*octets.next()?),
                    octet => ids.last_mut()?.push(*octet),
                }
            }
            for id in ids {
                out.push(u8::try_from(id.len()).ok()?);
                out.extend(id);
            }
        }
        SvcKey::PORT => {
            let digits = text()?;
            let plain = digits.bytes().all(|octet| octet.is_ascii_digit());
            out.extend(plain.then(|| digits.parse::<u16>().ok())??.to_be_bytes());
        }
        SvcKey::IPV4HINT => {
            for item in items()? {
                out.extend(item.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        SvcKey::IPV6HINT => {
            for item in items()? {
                out.extend(item.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        SvcKey::ECH => out = from_base64(text()?)?,
        _ => out = value,
    }
    Some((key, out))
}
