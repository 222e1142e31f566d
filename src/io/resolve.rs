//! Resolvers that ask somebody.

pub(super) mod lookup;
mod system;

pub use system::SystemResolver;
