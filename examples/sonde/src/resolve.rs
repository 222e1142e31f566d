//! Names given on the command line, and a resolver for all others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netsonde::{
    BoxFuture, Family, Name, Resolve, ResolveError, Resolved, StubResolver, SystemResolver,
};

/// Who is asked for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Resolver {
    /// What every other program of this host gets: getaddrinfo(3)
    #[default]
    System,
    /// Our own: /etc/hosts and the servers of /etc/resolv.conf, with lifetimes and who answered
    Stub,
}

impl Resolver {
    fn make(self) -> Result<Box<dyn Resolve>, netsonde::Error> {
        Ok(match self {
            Resolver::System => Box::new(SystemResolver),
            Resolver::Stub => Box::new(StubResolver::from_system()?),
        })
    }
}

/// A table in front of a resolver.
#[derive(Debug)]
pub(crate) struct Overlay {
    table: BTreeMap<Name, Vec<IpAddr>>,
    behind: Box<dyn Resolve>,
}

impl Overlay {
    /// Several addresses of one name are kept in their order.
    ///
    /// # Errors
    /// The resolver behind it cannot be set up.
    pub(crate) fn new(
        names: impl IntoIterator<Item = (Name, IpAddr)>,
        resolver: Resolver,
    ) -> Result<Self, netsonde::Error> {
        let mut table: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for (name, address) in names {
            table.entry(name).or_default().push(address);
        }
        Ok(Overlay { table, behind: resolver.make()? })
    }
}

impl Resolve for Overlay {
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
        family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        match self.table.get(name) {
            Some(addresses) => {
                let addresses = addresses.iter().map(|ip| (*ip, 0).into()).collect();
                Box::pin(std::future::ready(Ok(Resolved::new(addresses))))
            }
            None => self.behind.resolve(name, family),
        }
    }

    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        match self.table.iter().find(|(_, addresses)| addresses.contains(&address)) {
            Some((name, _)) => Box::pin(std::future::ready(Ok(Some(name.as_str().to_owned())))),
            None => self.behind.reverse(address),
        }
    }
}
