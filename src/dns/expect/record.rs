//! Which records are meant.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::super::DnsRecord;
use crate::error::Error;
use crate::wire::dns::rdata::from_text;
use crate::wire::dns::{Class, DnsName, RecordBuf, RecordType};

/// What a record has to be. What is `None` is not asked; the time to live never is.
///
/// In a configuration it is a whole record as text, or a map:
///
/// ```
/// use netsonde::dns::RecordMatch;
///
/// let whole: RecordMatch = serde_saphyr::from_str("example.org. 300 IN MX 10 mail.example.org.")?;
/// let part: RecordMatch = serde_saphyr::from_str("{type: MX, data: 10 MAIL.example.org}")?;
/// assert_eq!(whole.rtype, part.rtype);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct RecordMatch {
    /// Its owner, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<DnsName>,
    /// Its class. Default: IN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub rtype: Option<RecordType>,
    /// Its data in presentation format, compared in the canonical form of RFC 4034, 6.2. Needs the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl RecordMatch {
    /// A record with these data, whoever owns it.
    pub fn data(rtype: RecordType, data: impl Into<String>) -> Self {
        RecordMatch { rtype: Some(rtype), data: Some(data.into()), ..RecordMatch::default() }
    }

    pub(super) fn check(&self, key: &str, whole: bool) -> Result<(), Error> {
        let (Some(rtype), Some(data)) = (self.rtype, &self.data) else {
            return match (self.rtype, &self.owner, &self.data) {
                _ if whole => Err(Error::config(key, "needs type and data")),
                (None, _, Some(_)) => Err(Error::config(key, "has data but no type")),
                (None, None, None) => Err(Error::config(key, "says neither owner nor type")),
                _ => Ok(()),
            };
        };
        let data = from_text(rtype, self.class(), data);
        data.map(drop).map_err(|error| Error::config(format!("{key}.data"), error))
    }

    fn class(&self) -> Class {
        self.class.unwrap_or(Class::IN)
    }

    /// What is compared of it, made once for many records.
    pub(super) fn prepared(&self) -> Prepared<'_> {
        let canonical = |rtype| canonical(rtype, self.class(), self.data.as_deref()?);
        Prepared { wanted: self, data: self.rtype.and_then(canonical) }
    }
}

/// A [`RecordMatch`] with its data in canonical form.
pub(super) struct Prepared<'a> {
    pub(super) wanted: &'a RecordMatch,
    data: Option<Vec<u8>>,
}

impl Prepared<'_> {
    pub(super) fn is_met(&self, record: &DnsRecord) -> bool {
        let wanted = self.wanted;
        let is_head = wanted.owner.as_ref().is_none_or(|owner| *owner == record.owner)
            && wanted.class() == record.class
            && wanted.rtype.is_none_or(|rtype| rtype == record.rtype);
        is_head
            && match (&wanted.data, &self.data) {
                (None, _) => true,
                (Some(_), Some(data)) => {
                    canonical(record.rtype, record.class, &record.data).as_ref() == Some(data)
                }
                (Some(text), None) => *text == record.data,
            }
    }
}

/// The data in canonical form; `None` if the text cannot be read, as of data that are broken.
fn canonical(rtype: RecordType, class: Class, data: &str) -> Option<Vec<u8>> {
    let data = from_text(rtype, class, data).ok()?;
    Some(RecordBuf::new(DnsName::root(), rtype, class, 0, data).canonical_data())
}

/// Records as a set, without signatures, times to live and the case of names.
pub(super) fn set_of(records: &[DnsRecord]) -> BTreeSet<(String, Class, RecordType, Vec<u8>)> {
    let records = records.iter().filter(|record| record.rtype != RecordType::RRSIG);
    let of = |record: &DnsRecord| {
        let data = canonical(record.rtype, record.class, &record.data);
        let data = data.unwrap_or_else(|| record.data.clone().into_bytes());
        (record.owner.to_string().to_ascii_lowercase(), record.class, record.rtype, data)
    };
    records.map(of).collect()
}

impl fmt::Display for RecordMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner} ")?,
            None => f.write_str("* ")?,
        }
        self.class().fmt(f)?;
        match self.rtype {
            Some(rtype) => write!(f, " {rtype}")?,
            None => f.write_str(" *")?,
        }
        self.data.as_ref().map_or(Ok(()), |data| write!(f, " {data}"))
    }
}

impl From<RecordBuf> for RecordMatch {
    /// Just this record, whatever its time to live.
    fn from(record: RecordBuf) -> Self {
        let DnsRecord { owner, class, rtype, data, .. } = DnsRecord::of(record);
        RecordMatch { owner: Some(owner), class: Some(class), rtype: Some(rtype), data: Some(data) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    owner: Option<DnsName>,
    class: Option<Class>,
    #[serde(rename = "type")]
    rtype: Option<RecordType>,
    data: Option<String>,
}

impl<'de> Deserialize<'de> for RecordMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RecordMatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record as text, or a map of owner, class, type and data")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RecordMatch, E> {
                let record: RecordBuf = text.parse().map_err(|error| {
                    E::custom(format_args!("`{}` is no record: {error}", text.escape_debug()))
                })?;
                Ok(record.into())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RecordMatch, A::Error> {
                let parts = Parts::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let Parts { owner, class, rtype, data } = parts;
                Ok(RecordMatch { owner, class, rtype, data })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
