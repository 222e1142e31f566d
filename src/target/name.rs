//! Domain names in ASCII form, and IPv4 addresses in all the forms of old.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::TargetError;

/// A domain name: ASCII, lower case, at most 253 bytes in labels of 1 to 63 (RFC 1035, 2.3.4). Names
/// outside ASCII are turned into their A-label form (UTS 46) when the feature `idna` is on. A final
/// dot is kept: it tells resolvers not to try search domains.
///
/// ```
/// use netsonde::Name;
///
/// let name: Name = "_xmpp-client._tcp.Example.org.".parse()?;
/// assert_eq!(name.as_str(), "_xmpp-client._tcp.example.org.");
/// assert_eq!(name.without_dot(), "_xmpp-client._tcp.example.org");
/// # #[cfg(feature = "idna")]
/// assert_eq!("bücher.example".parse::<Name>()?.as_str(), "xn--bcher-kva.example");
/// # Ok::<(), netsonde::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// The name as it was given, in ASCII and lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its final dot: the form for certificates, SNI and Host.
    #[must_use]
    pub fn without_dot(&self) -> &str {
        self.0.strip_suffix('.').unwrap_or(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = TargetError;

    /// # Errors
    /// [`TargetError::Name`] with the reason.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bad = |why| Err(TargetError::Name { why });
        let ascii = if text.is_ascii() { text.to_ascii_lowercase() } else { to_ascii(text)? };
        let labels = ascii.strip_suffix('.').unwrap_or(&ascii);
        if labels.is_empty() {
            return bad("it is empty");
        }
        if labels.len() > 253 {
            return bad("it is longer than 253 bytes");
        }
        for label in labels.split('.') {
            if label.is_empty() {
                return bad("it has an empty label");
            }
            if label.len() > 63 {
                return bad("it has a label longer than 63 bytes");
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return bad("letters, digits, `-` and `_` only");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return bad("a label begins or ends with `-`");
            }
        }
        Ok(Name(ascii.into()))
    }
}

#[cfg(feature = "idna")]
fn to_ascii(text: &str) -> Result<String, TargetError> {
    idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| TargetError::Name { why: "not a valid international name (UTS 46)" })
}

#[cfg(not(feature = "idna"))]
fn to_ascii(_text: &str) -> Result<String, TargetError> {
    Err(TargetError::IdnaFeature)
}

/// Reads the number forms of inet_aton(3): one to four parts, each decimal, octal (`0` in front) or
/// hexadecimal (`0x`), the last one filling the bytes that are left. `None` if the last label is no
/// number, so that it is a name; an error if it is one and the whole is no address.
pub(super) fn legacy_v4(text: &str) -> Result<Option<Ipv4Addr>, TargetError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_number {
        return Ok(None);
    }
    let mut value: u64 = 0;
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return Err(TargetError::Address);
    }
    let (last, first) = parts.split_last().ok_or(TargetError::Address)?;
    for part in first {
        let byte = number(part).filter(|byte| *byte <= 255).ok_or(TargetError::Address)?;
        value = value << 8 | byte;
    }
    let free_bits = 32 - 8 * first.len() as u32;
    let tail = number(last).filter(|tail| *tail < 1 << free_bits).ok_or(TargetError::Address)?;
    let value = value << free_bits | tail;
    u32::try_from(value).map(|value| Some(value.into())).map_err(|_| TargetError::Address)
}

fn number(part: &str) -> Option<u64> {
    let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    let (digits, radix) = match (hex, part.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (part, 10),
    };
    // inet_aton(3) takes a bare `0x` as zero; `from_str_radix` alone would take signs.
    match digits {
        "" => (radix == 16).then_some(0),
        digits if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, radix).ok()
        }
        _ => None,
    }
}
