//! Watching a probe while it runs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::icmp::EchoRecord;
use crate::target::Target;
use crate::timing::Phase;
use crate::verdict::Verdict;

/// Something that happened in a probe. Offsets count from the start of the probe, in nanoseconds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The probe began.
    Started {
        /// Its target.
        target: &'a Target,
    },
    /// A phase began; the one before it, if any, ended.
    Entered {
        /// The phase.
        phase: Phase,
        /// When.
        at_ns: u64,
    },
    /// A name was resolved.
    Resolved {
        /// The addresses that will be dialled, in order.
        addresses: &'a [SocketAddr],
        /// When.
        at_ns: u64,
    },
    /// An address is dialled.
    Dialling {
        /// The address.
        address: &'a Target,
        /// When.
        at_ns: u64,
    },
    /// An address has answered, or it has failed.
    Dialled {
        /// The address.
        address: &'a Target,
        /// Whether it connected.
        verdict: &'a Verdict,
        /// When.
        at_ns: u64,
    },
    /// Something new is known of a packet of a train: its fate, a duplicate, a late answer.
    Packet {
        /// Where it was sent.
        address: IpAddr,
        /// The packet as it stands.
        packet: &'a EchoRecord,
        /// When.
        at_ns: u64,
    },
    /// The probe is over.
    Finished {
        /// Its verdict.
        verdict: &'a Verdict,
        /// When.
        at_ns: u64,
    },
}

/// Receives the events of probes, inline: what it does counts as time of the probe, so it should be
/// short. A panic in it is caught and ends the observing, not the probe.
///
/// ```
/// use netsonde::{Event, Observer};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// #[derive(Debug, Default)]
/// struct Count(AtomicU32);
///
/// impl Observer for Count {
///     fn event(&self, _event: &Event<'_>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// Called for each event, on the task that runs the probe.
    fn event(&self, event: &Event<'_>);
}

/// Hands an event to an observer; `false` if it panicked.
pub(crate) fn notify(observer: &dyn Observer, event: &Event<'_>) -> bool {
    catch_unwind(AssertUnwindSafe(|| observer.event(event))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Bad;

    impl Observer for Bad {
        fn event(&self, _event: &Event<'_>) {
            panic!("on purpose");
        }
    }

    #[test]
    fn x32_a_panic_in_an_observer_is_caught() {
        let verdict = Verdict::Pass;
        assert!(!notify(&Bad, &Event::Finished { verdict: &verdict, at_ns: 1 }));
    }
}
