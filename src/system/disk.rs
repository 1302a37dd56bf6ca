//! Free space on disks.

use std::path::Path;

use sysinfo::{DiskRefreshKind, Disks};

/// The free bytes of the disk that `path` is on. If `path` does not exist yet, of the disk of the
/// nearest directory above it. Nothing if the system does not say.
pub fn available_bytes(path: &Path) -> Option<u64> {
    let path = path.ancestors().find_map(|path| path.canonicalize().ok())?;
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let mounted_above = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
    mounted_above
        .max_by_key(|disk| disk.mount_point().components().count())
        .map(|disk| disk.available_space())
}
