//! Durations as text: `250ms`, `1.5s`, `2m30s`. For `#[serde(with)]`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*value))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(d)?)
}

pub(crate) fn text(value: Duration) -> String {
    let value = SignedDuration::try_from(value).unwrap_or(SignedDuration::MAX);
    let printer =
        jiff::fmt::friendly::SpanPrinter::new().spacing(jiff::fmt::friendly::Spacing::None);
    printer.designator(jiff::fmt::friendly::Designator::Compact).duration_to_string(&value)
}

fn parse<E: de::Error>(text: &str) -> Result<Duration, E> {
    let parsed: Option<SignedDuration> = text.parse().ok();
    parsed.and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        E::custom(format_args!(
            "`{}` is not a duration such as 250ms, 1.5s or 2m",
            text.escape_debug()
        ))
    })
}

pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, parse, text};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&text(*value)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose()
    }
}

pub(crate) mod map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Duration;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "super")] Duration);

    pub(crate) fn serialize<K: Serialize, S: Serializer>(
        map: &BTreeMap<K, Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, value)| (key, Text(*value))))
    }

    pub(crate) fn deserialize<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, Duration>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        D: Deserializer<'de>,
    {
        let map = BTreeMap::<K, Text>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(key, Text(value))| (key, value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_as_text() {
        let read = |text: &str| parse::<de::value::Error>(text);
        for (given, shown) in [
            ("250ms", "250ms"),
            ("1.5s", "1s500ms"),
            ("90s", "90s"),
            ("2m30s", "2m30s"),
            ("0s", "0s"),
            ("7us", "7µs"),
        ] {
            let duration = read(given).unwrap();
            assert_eq!(read(&text(duration)), Ok(duration), "{given}");
            assert_eq!(read(shown), Ok(duration));
        }
        for bad in ["", "5", "-5s", "fast", "1e3s", "5 parsecs"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(text(Duration::MAX).ends_with("s"));
    }
}
