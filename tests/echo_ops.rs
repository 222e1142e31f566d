//! The random operations of the fuzz target `echo_ops`, from a seed instead of a corpus.
#![cfg(feature = "icmp")]

use proptest::prelude::*;

#[path = "../fuzz/src/echo_ops.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz target")]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic is what this looks for")]
mod echo_ops;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_engine_does_what_the_slow_model_does(
        calls in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        // Nothing can be sent without a flow.
        echo_ops::check(&[&[calls.len() as u8, 0][..], &calls].concat());
    }
}
