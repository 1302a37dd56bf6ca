//! Bytes that are hashed as they are written.

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::system::digest::hex;

/// A writer that computes the SHA-256 of what passes through it.
pub(super) struct Hashed<'a> {
    to: &'a mut dyn Write,
    digest: Sha256,
}

impl<'a> Hashed<'a> {
    /// Passes on to `to`.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self { to, digest: Sha256::new() }
    }

    /// The SHA-256 of what has passed so far, in hexadecimal digits.
    pub fn digest(self) -> String {
        hex(&self.digest.finalize())
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
