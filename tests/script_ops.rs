//! The random conversations of the fuzz target `script_ops`, from a seed instead of a corpus.
#![cfg(feature = "script")]

use proptest::prelude::*;

#[path = "../fuzz/src/ops.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz target")]
#[expect(clippy::indexing_slicing, reason = "a panic is what this looks for")]
mod ops;

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_order_of_calls_keeps_the_bounds_and_changes_nothing(
        head in prop::collection::vec(any::<u8>(), 0..10),
        calls in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"aabb\n\n\r0".to_vec())],
            0..200,
        ),
    ) {
        ops::check(&[head, calls].concat());
    }
}
