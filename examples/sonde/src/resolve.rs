//! Names given on the command line, and the system's resolver for all others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netsonde::{BoxFuture, Family, Name, Resolve, ResolveError, Resolved, SystemResolver};

/// A table in front of the system's resolver.
#[derive(Debug)]
pub(crate) struct Overlay {
    table: BTreeMap<Name, Vec<IpAddr>>,
    system: SystemResolver,
}

impl Overlay {
    /// Several addresses of one name are kept in their order.
    pub(crate) fn new(names: impl IntoIterator<Item = (Name, IpAddr)>) -> Self {
        let mut table: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for (name, address) in names {
            table.entry(name).or_default().push(address);
        }
        Overlay { table, system: SystemResolver }
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
            None => self.system.resolve(name, family),
        }
    }

    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        match self.table.iter().find(|(_, addresses)| addresses.contains(&address)) {
            Some((name, _)) => Box::pin(std::future::ready(Ok(Some(name.as_str().to_owned())))),
            None => self.system.reverse(address),
        }
    }
}
