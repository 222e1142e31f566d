//! Saying out loud that a test could not run, and failing where it must run.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The variable that turns every skipped test into a failed one; the project's CI sets it to `1`.
pub const REQUIRE_ALL: &str = "NETSONDE_REQUIRE_ALL";

/// Reports that a test cannot run here. The caller returns afterwards.
///
/// # Panics
///
/// Where [`REQUIRE_ALL`] is `1`: there everything must run.
///
/// ```
/// # let kernel_has_it = true;
/// if !kernel_has_it {
///     netsonde_support::skip("the kernel lacks nftables");
///     return;
/// }
/// ```
#[track_caller]
pub fn skip(why: impl Display) {
    println!("skipped: {why}");
    assert!(
        std::env::var(REQUIRE_ALL).as_deref() != Ok("1"),
        "skipped: {why} (and {REQUIRE_ALL}=1 forbids that)"
    );
}

/// `Some(())` for root, otherwise reports the skip.
///
/// ```
/// # use netsonde_support::require_root;
/// # fn test() {
/// let Some(()) = require_root() else { return };
/// # }
/// ```
#[track_caller]
pub fn require_root() -> Option<()> {
    if crate::sys::effective_uid() == 0 {
        return Some(());
    }
    skip("needs root");
    None
}

/// The full path of a command (see [`find_command`]), otherwise reports the skip.
///
/// ```
/// # use netsonde_support::require_command;
/// # fn test() {
/// let Some(nginx) = require_command("nginx") else { return };
/// # }
/// ```
#[track_caller]
pub fn require_command(name: &str) -> Option<PathBuf> {
    let found = find_command(name);
    if found.is_none() {
        skip(format_args!("needs the command {name}"));
    }
    found
}

/// `Some(())` where `::1` can be bound, otherwise reports the skip.
#[track_caller]
pub fn require_ipv6() -> Option<()> {
    if crate::daemon::has_ipv6() {
        return Some(());
    }
    skip("needs IPv6 on loopback");
    None
}

/// Looks for a command in `PATH`, then where Debian keeps daemons that are not in a user's `PATH`:
/// the `sbin` folders, `/usr/lib/postfix/sbin`, and the newest `/usr/lib/postgresql/*/bin`.
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders
        .extend(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"].map(Into::into));
    let mut clusters: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    clusters.sort();
    folders.extend(clusters.into_iter().rev());
    folders.into_iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_name() {
        assert!(find_command("sh").unwrap().ends_with("sh"));
        assert_eq!(find_command("no-such-command-here"), None);
    }

    #[test]
    fn skip_panics_only_where_everything_must_run() {
        let outcome = std::panic::catch_unwind(|| skip("a reason"));
        assert_eq!(outcome.is_err(), std::env::var(REQUIRE_ALL).as_deref() == Ok("1"));
    }
}
