//! Whether a file holds what it held when it was read.

use sha2::{Digest, Sha256};

#[cfg(feature = "cli")]
use super::file::{self, FileKind};

/// The SHA-256 of a file's contents, or that there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Option<[u8; 32]>);

impl Fingerprint {
    /// There is no file.
    pub const MISSING: Fingerprint = Fingerprint(None);

    /// The fingerprint of a file with these contents.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(Sha256::digest(bytes).into()))
    }

    /// The fingerprint of the file as it is now. A file that can't be read counts as missing.
    #[cfg(feature = "cli")]
    pub(super) fn now(path: &std::path::Path) -> Self {
        file::read(path, FileKind::Script).map_or(Self::MISSING, |bytes| Self::of(&bytes))
    }
}
