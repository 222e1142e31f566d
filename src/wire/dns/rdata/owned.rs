//! Records by themselves.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::super::{
    Class, ComposeError, Composer, DataReader, DnsError, DnsName, Record, RecordType, Section,
};
use super::text::{TextErrorKind, Tokens};
use super::{RData, TextError, field, from_tokens, show_generic};

/// A record by itself, without compression.
///
/// Records are equal if they are duplicates (RFC 2181, 5): the same owner, type and class, and the same
/// data in the canonical form of RFC 4034, 6.2. The time to live does not count. They are ordered by owner
/// (RFC 4034, 6.1), class, type and canonical data.
///
/// ```
/// use netsonde::wire::dns::rdata::RecordBuf;
///
/// let record: RecordBuf = "example.org 300 IN MX 10 Mail.Example.org".parse()?;
/// assert_eq!(record.to_string(), "example.org. 300 IN MX 10 Mail.Example.org.");
/// assert_eq!(record, "EXAMPLE.org. 60 IN MX 10 mail.example.org.".parse()?);
/// # Ok::<(), netsonde::wire::dns::rdata::TextError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordBuf {
    /// The name that it is about.
    pub owner: DnsName,
    /// Its type.
    pub rtype: RecordType,
    /// Its class.
    pub class: Class,
    /// Seconds for which it may be kept.
    pub ttl: u32,
    /// Its data, without compression.
    pub data: Box<[u8]>,
}

impl RecordBuf {
    /// A record of these data, in which no name may be compressed.
    #[must_use]
    pub fn new(
        owner: DnsName,
        rtype: RecordType,
        class: Class,
        ttl: u32,
        data: impl Into<Box<[u8]>>,
    ) -> Self {
        RecordBuf { owner, rtype, class, ttl, data: data.into() }
    }

    /// Its data, typed.
    ///
    /// # Errors
    /// As for [`RData::parse`].
    pub fn rdata(&self) -> Result<RData<'_>, DnsError> {
        RData::parse(self.rtype, self.class, DataReader::of(&self.data))
    }

    /// Its data in the canonical form (RFC 4034, 6.2); as they are if they cannot be read.
    #[must_use]
    pub fn canonical_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.data.len());
        match self.rdata() {
            Ok(rdata) => rdata.write_canonical(&mut data),
            Err(_) => data.extend_from_slice(&self.data),
        }
        data
    }

    /// Adds it to a message.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn compose(
        &self,
        composer: &mut Composer<'_>,
        section: Section,
    ) -> Result<(), ComposeError> {
        let owner = self.owner.as_ref();
        composer.record(section, owner, self.rtype, self.class, self.ttl, &self.data)
    }
}

impl From<&Record<'_>> for RecordBuf {
    /// Writes out the names in its data. Data that cannot be read are kept as they are.
    fn from(record: &Record<'_>) -> Self {
        let mut data = Vec::with_capacity(record.data().len());
        match record.rdata() {
            Ok(rdata) => rdata.write(&mut data),
            Err(_) => data.extend_from_slice(record.data()),
        }
        let (rtype, class) = (record.rtype, record.class);
        RecordBuf::new(record.owner.to_name(), rtype, class, record.ttl(), data)
    }
}

impl fmt::Display for RecordBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} ", self.owner, self.ttl, self.class, self.rtype)?;
        match self.rdata() {
            Ok(data) => data.fmt(f),
            Err(_) => show_generic(&self.data, f),
        }
    }
}

impl FromStr for RecordBuf {
    type Err = TextError;

    /// Reads a whole record: owner, time to live in seconds, class, type, data.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut tokens = Tokens::new(text);
        let owner = field::name(&tokens.need()?)?;
        let ttl = tokens.need()?.number()?;
        let class = tokens.need()?.parse(TextErrorKind::Class)?;
        let rtype = tokens.need()?.parse(TextErrorKind::Type)?;
        let data = from_tokens(rtype, class, &mut tokens)?;
        Ok(RecordBuf::new(owner, rtype, class, ttl, data))
    }
}

impl PartialEq for RecordBuf {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RecordBuf {}

impl Hash for RecordBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.owner, self.rtype, self.class, self.canonical_data()).hash(state);
    }
}

impl PartialOrd for RecordBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RecordBuf {
    fn cmp(&self, other: &Self) -> Ordering {
        let labels = |name: &DnsName| {
            let mut labels: Vec<_> =
                name.as_ref().labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        let owners = || labels(&self.owner).cmp(&labels(&other.owner));
        let data = || self.canonical_data().cmp(&other.canonical_data());
        let numbers = (self.class, self.rtype).cmp(&(other.class, other.rtype));
        owners().then(numbers).then_with(data)
    }
}
