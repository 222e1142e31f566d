//! Distinguished names as text (RFC 4514).

use std::fmt::Write as _;

use x509_cert::der::{Error, Tag};

use super::der::{Element, Elements, hex};

/// Short names: those of RFC 4514 and a few that everybody knows.
const SHORT_NAMES: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.12", "title"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "givenName"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The content of a name (without its outer header) as text, most specific part first.
pub(super) fn text(content: &[u8]) -> Result<String, Error> {
    let sets = Elements::of(content).collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for set in sets.iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        for (index, attribute) in set.expect(Tag::Set)?.elements().enumerate() {
            if index > 0 {
                text.push('+');
            }
            let mut parts = attribute?.expect(Tag::Sequence)?.elements();
            let (kind, value) = (parts.need()?.oid()?.to_string(), parts.need()?);
            let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == kind).map(|(_, name)| *name);
            match (short, string(&value)) {
                (Some(short), Some(value)) => {
                    text.push_str(short);
                    text.push('=');
                    escape(&value, &mut text);
                }
                _ => {
                    let _ = write!(text, "{kind}=#{}", hex(value.whole));
                }
            }
        }
    }
    Ok(text)
}

/// The text of a string type; `None` for other types and for broken text.
fn string(value: &Element<'_>) -> Option<String> {
    let bytes = value.value;
    match value.tag {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8(bytes.to_vec()).ok(),
        Tag::TeletexString => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (pairs, []) = bytes.as_chunks::<2>() else { return None };
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

/// RFC 4514, 2.4; control characters go as hex pairs too.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            c if c.is_control() => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            c => out.push(c),
        }
    }
}
