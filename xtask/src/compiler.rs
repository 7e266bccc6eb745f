//! Passes flags to the compiler in a way that does not rebuild every dependency, as they would in `RUSTFLAGS`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes the program `rustc` that cargo runs in front of the compiler, and which adds `flags`.
pub(crate) fn with_flags(directory: &Path, flags: &str) -> Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("rustc");
    fs::write(&path, format!("#!/bin/sh\nexec \"$@\" {flags}\n"))
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
