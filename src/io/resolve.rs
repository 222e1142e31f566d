//! Resolvers that ask somebody.

mod system;

pub use system::SystemResolver;
