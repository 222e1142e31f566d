//! A folder that goes away with its owner.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A new folder under the system's temporary folder, removed with all that is in it on drop.
///
/// ```
/// let folder = netsonde_support::TempDir::new("example");
/// std::fs::write(folder.join("file"), "text")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A folder with this word in its name.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn new(word: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Socket paths in it must stay below 108 bytes.
        let name = format!("netsonde-{word}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a temporary folder can be made");
        Self(path)
    }
}

impl Deref for TempDir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
