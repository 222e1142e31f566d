#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]
