//! What the ICMP prober reports, beside a packet capture on its own wire (packet(7)). Each test is a
//! goal, by the id that it has in its name, over both families. One line a goal says what was found.
//!
//! A-12, a wall clock that is set with packets in flight, is no test of a network: nobody sets the clock
//! of the machine for it. It is `a12_i106_a_wall_clock_that_is_set_with_a_thousand_in_flight_harms_none`
//! and its neighbours, in the engine's own tests.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod bounds;
mod calibrate;
mod common;
mod fates;
mod peers;
mod plan;
mod times;
