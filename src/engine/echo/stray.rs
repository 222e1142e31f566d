//! What came in and was not believed.

use serde::{Deserialize, Serialize};

macro_rules! strays {
    ($($(#[$doc:meta])* $variant:ident = $name:ident,)*) => {
        /// Why something that came in was not taken for an answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Stray { $($(#[$doc])* $variant,)* }

        impl Stray {
            /// Every reason.
            pub const ALL: &[Stray] = &[$(Stray::$variant,)*];

            /// The stable name, as it stands in JSON and in metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Stray::$variant => stringify!($name),)* }
            }
        }

        /// How often each reason was met.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct StrayCounts { $($(#[$doc])* pub $name: u64,)* }

        impl StrayCounts {
            /// Counts one.
            pub fn add(&mut self, why: Stray) {
                match why { $(Stray::$variant => self.$name += 1,)* }
            }

            /// Counts several.
            pub fn add_many(&mut self, why: Stray, count: u64) {
                match why { $(Stray::$variant => self.$name += count,)* }
            }

            /// How many for this reason.
            #[must_use]
            pub const fn of(&self, why: Stray) -> u64 {
                match why { $(Stray::$variant => self.$name,)* }
            }

            /// All together.
            #[must_use]
            pub fn total(&self) -> u64 {
                Stray::ALL.iter().map(|why| self.of(*why)).sum()
            }
        }
    };
}

strays! {
    /// No packet of ours has this identifier and sequence number.
    Unmatched = unmatched,
    /// It comes from another address than the request went to.
    WrongSource = wrong_source,
    /// The cookie is none of ours.
    BadCookie = bad_cookie,
    /// The cookie is that of an earlier packet of ours: a replay, or very late.
    StaleCookie = stale_cookie,
    /// Too short for what it should be.
    Short = short,
    /// Longer than the request was.
    Payload = payload,
    /// The checksum is wrong.
    Checksum = checksum,
    /// Not a well-formed IP or ICMP packet.
    Malformed = malformed,
    /// Neither an echo reply nor an error: our own requests on loopback, timestamps, ...
    Kind = kind,
    /// A redirect or source quench, which changes nothing (RFC 1122, 3.2.2; RFC 6633).
    Advice = advice,
    /// An error that quotes something that is not an echo request of ours.
    Quote = quote,
    /// An error about a packet that was decided already.
    Afterwards = afterwards,
    /// A message of the error queue whose origin is unknown.
    Origin = origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let mut counts = StrayCounts::default();
        for (why, times) in Stray::ALL.iter().zip(1..) {
            (0..times).for_each(|_| counts.add(*why));
        }
        for (why, times) in Stray::ALL.iter().zip(1..) {
            assert_eq!(counts.of(*why), times, "{}", why.as_str());
        }
        let json = serde_json::to_value(counts).unwrap();
        assert!(Stray::ALL.iter().all(|why| json[why.as_str()] == counts.of(*why)));
        assert_eq!(counts.total(), (1..=Stray::ALL.len() as u64).sum::<u64>());
    }
}
