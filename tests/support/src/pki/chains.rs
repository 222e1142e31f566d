//! Sets of certificates that are meant to wear a verifier out.

use crate::pki::{Authority, CertSpec, Issued, Pki};

/// A leaf below `depth` intermediates, the first of them signed by the root that is returned.
///
/// ```
/// let (root, leaf) = netsonde_support::pki::chains::deep("deep.test", 10);
/// assert_eq!(leaf.chain.len(), 11);
/// # drop(root);
/// ```
pub fn deep(name: &str, depth: usize) -> (Authority, Issued) {
    let root = Authority::root("Deep Root");
    let last = (0..depth).fold(root.clone(), |above, level| {
        above.intermediate(&format!("Deep Intermediate {level}"))
    });
    let leaf = last.leaf(name).issue();
    (root, leaf)
}

/// A valid chain with `count` unrelated self-signed authorities behind it.
pub fn with_unrelated(pki: &Pki, name: &str, count: usize) -> Issued {
    let mut leaf = pki.leaf(name).issue();
    leaf.chain
        .extend((0..count).map(|n| Authority::root(&format!("Unrelated {n}")).der().to_vec()));
    leaf
}

/// A leaf below `count` authorities that have all signed each other, without any way up to a root: a
/// verifier that tries every path never ends.
pub fn cross_sign_ring(name: &str, count: usize) -> Issued {
    let members: Vec<Authority> =
        (0..count).map(|n| Authority::root(&format!("Ring {n}"))).collect();
    let mut leaf = members[0].leaf(name).issue();
    for (n, member) in members.iter().enumerate() {
        for other in members.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, other)| other) {
            let cross = CertSpec::new()
                .subject(member.subject().to_vec())
                .key(member.key().clone())
                .ca(None)
                .by(other)
                .issue();
            leaf.chain.push(cross.der().to_vec());
        }
    }
    leaf
}

/// A leaf with `names` names below an intermediate that excludes `constraints` names, none of which
/// is one of the leaf's: a valid chain, for which each has to be compared with each.
///
/// The names are short, because rustls takes at most 64 KiB of certificates: 2,048 x 2,048 fits.
pub fn constraint_grid(host: &str, names: usize, constraints: usize) -> (Authority, Issued) {
    let root = Authority::root("Grid Root");
    let excluded: Vec<String> = (0..constraints).map(|n| format!("{n:x}.c")).collect();
    let intermediate =
        root.intermediate_spec("Grid Intermediate").name_constraints(&[], &excluded).authority();
    let spec = intermediate.leaf(host);
    let leaf = (1..names).fold(spec, |spec, n| spec.dns(format!("{n:x}.l"))).issue();
    (root, leaf)
}

/// A leaf with this many names, the last of which is `host`.
pub fn many_names(pki: &Pki, host: &str, count: usize) -> Issued {
    let spec = pki.leaf(host).no_names();
    (1..count).fold(spec, |spec, n| spec.dns(format!("host-{n}.many.test"))).dns(host).issue()
}
