//! Which packets a rule is about.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A set of packet numbers, the first being 0: `"all"`, `"none"`, or parts with commas between, each a
/// number (`7`), a range (`10-19`), every n-th (`%10`: 0, 10, 20, ..., `%10+3`: 3, 13, ...) or a share
/// in thousandths drawn from a seed (`~50@7`: about 5 %, always the same ones for seed 7).
///
/// ```
/// use netsonde_lab::Set;
///
/// let set: Set = "1, 4-6, %10+8".parse()?;
/// assert_eq!((0..20).filter(|n| set.contains(*n)).collect::<Vec<_>>(), [1, 4, 5, 6, 8, 18]);
/// assert!("5-".parse::<Set>().is_err());
/// # Ok::<(), netsonde_lab::BadSet>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Set {
    parts: Vec<Part>,
    listed: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Range(u64, u64),
    Every { step: u64, first: u64 },
    Share { thousandths: u64, seed: u64 },
}

/// A text that is no [`Set`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSet(String);

impl fmt::Display for BadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no number, no range, no `%step`, no `~thousandths@seed`", self.0)
    }
}

impl std::error::Error for BadSet {}

/// A well-mixed number for a number (splitmix64, as Vigna published it), so that seeded choices depend
/// on the packet alone and not on the order of arrival.
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut word = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(number);
    word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Set {
    /// Every packet.
    pub fn all() -> Self {
        Self { parts: vec![Part::Range(0, u64::MAX)], listed: BTreeSet::new() }
    }

    /// About so many of 1,000, the same ones for each seed.
    pub fn share(thousandths: u64, seed: u64) -> Self {
        Self { parts: vec![Part::Share { thousandths, seed }], listed: BTreeSet::new() }
    }

    /// Whether a packet is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.listed.contains(&number)
            || self.parts.iter().any(|part| match *part {
                Part::Range(first, last) => (first..=last).contains(&number),
                Part::Every { step, first } => {
                    number >= first && (number - first).is_multiple_of(step)
                }
                Part::Share { thousandths, seed } => mix(seed, number) % 1000 < thousandths,
            })
    }

    /// Whether no packet is in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.listed.is_empty()
    }
}

impl FromIterator<u64> for Set {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        Self { parts: Vec::new(), listed: numbers.into_iter().collect() }
    }
}

impl FromStr for Set {
    type Err = BadSet;

    fn from_str(text: &str) -> Result<Self, BadSet> {
        let mut set = Self::default();
        match text.trim() {
            "all" => return Ok(Self::all()),
            "none" => return Ok(set),
            _ => {}
        }
        for part in text.split(',').map(str::trim) {
            let bad = || BadSet(part.to_owned());
            let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
            if let Some(rest) = part.strip_prefix('%') {
                let (step, first) = rest.split_once('+').unwrap_or((rest, "0"));
                let step = number(step).ok().filter(|step| *step > 0).ok_or_else(bad)?;
                set.parts.push(Part::Every { step, first: number(first)? });
            } else if let Some(rest) = part.strip_prefix('~') {
                let (thousandths, seed) = rest.split_once('@').unwrap_or((rest, "0"));
                let (thousandths, seed) = (number(thousandths)?, number(seed)?);
                set.parts.push(Part::Share { thousandths, seed });
            } else if let Some((first, last)) = part.split_once('-') {
                set.parts.push(Part::Range(number(first)?, number(last)?));
            } else {
                set.listed.insert(number(part)?);
            }
        }
        Ok(set)
    }
}

impl TryFrom<String> for Set {
    type Error = BadSet;

    fn try_from(text: String) -> Result<Self, BadSet> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_they_say() {
        for (text, expected) in [
            ("none", vec![]),
            ("3", vec![3]),
            ("0,2-4", vec![0, 2, 3, 4]),
            ("%4", vec![0, 4, 8]),
            ("%4+1", vec![1, 5, 9]),
        ] {
            let set: Set = text.parse().unwrap();
            assert_eq!(
                (0..10).filter(|n| set.contains(*n)).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
            assert_eq!(set.is_empty(), expected.is_empty(), "{text}");
        }
        assert!((0..10).all(|n| Set::all().contains(n)));
        for text in ["", "x", "1-", "-1", "%0", "%", "~x", "1,,2"] {
            assert!(text.parse::<Set>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_about_right_and_repeat() {
        let count = |set: &Set| (0..100_000).filter(|n| set.contains(*n)).count();
        let (one, other) = (Set::share(100, 1), "~100@2".parse::<Set>().unwrap());
        assert!(count(&one).abs_diff(10_000) < 500 && count(&other).abs_diff(10_000) < 500);
        assert_ne!(one, other);
        assert!((0..1000).all(|n| one.contains(n) == Set::share(100, 1).contains(n)));
    }
}
