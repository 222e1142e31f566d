//! Resolvers that ask somebody.

pub(super) mod lookup;
#[cfg(all(feature = "dns", target_os = "linux"))]
mod stub;
mod system;

#[cfg(all(feature = "dns", target_os = "linux"))]
pub use stub::StubResolver;
pub use system::SystemResolver;
