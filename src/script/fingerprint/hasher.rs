//! SHA-256 over a sequence of parts.

use sha2::{Digest as _, Sha256};

/// The bytes of a SHA-256 digest.
pub type Digest = [u8; 32];

/// Collects the parts of one digest. Each part is preceded by its length, so that two different
/// sequences of parts never give the same bytes.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes as one part.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Adds a string as one part.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    /// The digest of all parts.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}
