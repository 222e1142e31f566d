//! Times as whole seconds since 1970 in memory, as RFC 3339 in text.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de};

/// `2026-05-01T00:00:00Z`; `None` outside of the years -9999 to 9999.
pub(crate) fn text(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

/// For `#[serde(with)]` on an optional time.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, de, text};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
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
        text.map(|text| text.parse().map(Timestamp::as_second).map_err(de::Error::custom))
            .transpose()
    }
}
