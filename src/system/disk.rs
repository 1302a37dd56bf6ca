//! Room on the disks.

use std::path::Path;

use sysinfo::{DiskRefreshKind, Disks};

/// Bytes free on the disk that a path is on, or will be.
pub fn available_bytes(path: &Path) -> Option<u64> {
    let path = path.ancestors().find_map(|path| path.canonicalize().ok())?;
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let under = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
    under
        .max_by_key(|disk| disk.mount_point().components().count())
        .map(|disk| disk.available_space())
}
