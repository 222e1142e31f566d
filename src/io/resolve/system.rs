//! The resolver of the system: getaddrinfo(3).

use std::net::IpAddr;

use crate::io::errno;
use crate::io::socket::getaddrinfo::{GaiError, GaiErrorKind, lookup, name_of};
use crate::resolve::{BoxFuture, Family, Resolve, ResolveError, Resolved};
use crate::target::Name;
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, RawCode};

/// Resolves as every other program of this host does: `/etc/hosts`, name service switch, search
/// lists and servers of `resolv.conf`, whatever the system is set up for.
///
/// getaddrinfo blocks and cannot be cancelled, so it runs on the blocking threads of the tokio
/// runtime that the probe runs on. When a deadline drops the future, the probe ends on time; the
/// call itself goes on there until the system gives up (resolv.conf(5): 5 s for each try of each
/// server by default) and its answer is thrown away. Calls that have not begun yet are cancelled.
///
/// ```
/// use netsonde::{Family, Resolve, SystemResolver};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let found = SystemResolver.resolve(&"localhost".parse()?, Family::V4Only).await?;
/// assert!(found.addresses[0].ip().is_loopback());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct that will never hold anything")]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
        family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        Box::pin(ask(name.as_str().to_owned(), family))
    }

    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        Box::pin(async move {
            match blocking(move || name_of(address)).await? {
                Ok(name) => Ok(Some(name)),
                Err(error) if error.kind == GaiErrorKind::NoName => Ok(None),
                Err(error) => Err(resolve_error(error)),
            }
        })
    }
}

/// Aborts the task unless it has ended: a call that still waits for a thread is then never made.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(name: String, family: Family) -> Result<Resolved, ResolveError> {
    let addresses = blocking(move || lookup(&name, family)).await?;
    addresses.map(Resolved::new).map_err(resolve_error)
}

/// Makes a call that blocks on a thread for such calls.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ResolveError> {
    let call = tokio::task::spawn_blocking(call);
    let _abort = Abort(call.abort_handle());
    // The runtime is being shut down under the probe: no such call panics.
    let cancelled = |_| ResolveError::Local(LocalFault::new(LocalFaultKind::Cancelled));
    call.await.map_err(cancelled)
}

fn resolve_error(error: GaiError) -> ResolveError {
    let local = |kind| match error.code {
        Some(code) => LocalFault::new(kind).with_detail(format!("{error} (getaddrinfo {code})")),
        None => LocalFault::new(kind).with_detail(error.to_string()),
    };
    let failed = |kind| {
        let failure = Failure::new(kind);
        ResolveError::Failed(match error.code {
            Some(value) => failure.with_raw(RawCode::Gai { value }),
            None => failure,
        })
    };
    match error.kind {
        GaiErrorKind::NoName => failed(FailureKind::ResolveNoSuchName),
        GaiErrorKind::NoData => failed(FailureKind::ResolveNoAddress),
        GaiErrorKind::Again | GaiErrorKind::Fail => failed(FailureKind::ResolveFailed),
        GaiErrorKind::Memory => ResolveError::Local(local(LocalFaultKind::Memory)),
        GaiErrorKind::System(number) => {
            let kind = errno::local(number).unwrap_or(LocalFaultKind::Resolver);
            ResolveError::Local(LocalFault::new(kind).with_errno(number))
        }
        GaiErrorKind::Other => ResolveError::Local(local(LocalFaultKind::Resolver)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_this_host_are_no_failures() {
        let verdict = |kind, code| resolve_error(GaiError { kind, code });
        let ResolveError::Local(fault) = verdict(GaiErrorKind::System(24), Some(-11)) else {
            panic!("EMFILE is local");
        };
        assert_eq!((fault.code(), fault.errno), ("local_descriptors", Some(24)));
        for (kind, code) in [(GaiErrorKind::Memory, -10), (GaiErrorKind::Other, -6)] {
            assert!(matches!(verdict(kind, Some(code)), ResolveError::Local(_)));
        }
        for (kind, wanted) in [
            (GaiErrorKind::NoName, "resolve_no_such_name"),
            (GaiErrorKind::NoData, "resolve_no_address"),
            (GaiErrorKind::Again, "resolve_failed"),
            (GaiErrorKind::Fail, "resolve_failed"),
        ] {
            let ResolveError::Failed(failure) = verdict(kind, Some(-2)) else {
                panic!("{wanted} is of the resolver");
            };
            assert_eq!(failure.code(), wanted);
            assert_eq!(failure.raw, Some(RawCode::Gai { value: -2 }));
        }
    }

    #[tokio::test]
    async fn a_name_resolves_on_the_blocking_pool() {
        let found = SystemResolver.resolve(&"localhost".parse().unwrap(), Family::Any).await;
        assert!(found.unwrap().addresses.iter().all(|a| a.ip().is_loopback()));
    }

    #[tokio::test]
    async fn an_address_has_the_name_of_the_hosts_file_or_none() {
        let name = SystemResolver.reverse(IpAddr::from([127, 0, 0, 1])).await.unwrap();
        println!("127.0.0.1 is {name:?}");
        assert!(name.is_none_or(|name| !name.is_empty() && name.parse::<IpAddr>().is_err()));
    }

    #[test]
    fn a_runtime_shut_down_under_it_is_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let asked = handle.block_on(ask("localhost".into(), Family::Any));
        let Err(ResolveError::Local(fault)) = asked else { panic!("{asked:?}") };
        assert_eq!(fault.kind, LocalFaultKind::Cancelled);
    }
}
