//! Files that options and commands name, which may be devices without an end.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a file of at most `most` bytes, or returns why it cannot be read.
pub(crate) fn read(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more shows that there is more.
    let length = file.take(most as u64 + 1).read_to_end(&mut content);
    match length.map_err(failed)? {
        length if length > most => Err(format!("{} is larger than {most} bytes", path.display())),
        _ => Ok(content),
    }
}
