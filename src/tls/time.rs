//! Times as whole seconds since 1970 in memory, as RFC 3339 in text.
//!
//! Civil time, not `jiff::Timestamp`, because that ends a day before 9999-12-31T23:59:59Z, the date
//! that stands for "never" in certificates (RFC 5280, 4.1.2.5).

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serializer, de};

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// `2026-05-01T00:00:00Z`; `None` outside of the years -9999 to 9999.
pub(crate) fn text(seconds: i64) -> Option<String> {
    let time = EPOCH.checked_add(SignedDuration::from_secs(seconds)).ok()?;
    Some(format!("{time}Z"))
}

/// The seconds of a time in UTC.
#[cfg(feature = "tls")]
pub(crate) fn seconds(time: DateTime) -> i64 {
    time.duration_since(EPOCH).as_secs()
}

fn parse(text: &str) -> Result<i64, jiff::Error> {
    match text.strip_suffix('Z').map(str::parse::<DateTime>) {
        Some(Ok(time)) => Ok(time.duration_since(EPOCH).as_secs()),
        _ => text.parse().map(Timestamp::as_second),
    }
}

/// For `#[serde(with)]` on an optional time.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Serializer, de, parse, text};

    pub(crate) fn serialize<S: Serializer>(
        seconds: &Option<i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match seconds.and_then(text) {
            Some(text) => serializer.serialize_some(&text),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (-631_152_000, "1950-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(text(seconds).as_deref(), Some(wanted));
            assert_eq!(parse(wanted).unwrap(), seconds);
        }
        assert_eq!(text(253_402_300_800), None);
        assert_eq!(parse("1970-01-01T02:00:00+01:00").unwrap(), 3_600);
        assert!(parse("soon").is_err());
    }
}
