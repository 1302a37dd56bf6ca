//! How much a run may still write, printed and saved together.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use bytesize::ByteSize;

use crate::{Error, Result};

/// What a run may write. A clone is the same quota.
#[derive(Debug, Clone)]
pub struct Quota(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: u64,
    files: usize,
    left: Cell<u64>,
}

impl Quota {
    /// So many bytes, and so many files.
    pub fn new(bytes: u64, files: usize) -> Self {
        Self(Rc::new(Inner { bytes, files, left: Cell::new(bytes) }))
    }

    /// Begins anew.
    pub fn renew(&self) {
        self.0.left.set(self.0.bytes);
    }

    /// Takes `bytes` out of it.
    ///
    /// # Errors
    /// They are not left.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let left = self.0.left.get().checked_sub(bytes as u64).ok_or_else(|| self.spent())?;
        self.0.left.set(left);
        Ok(())
    }

    /// # Errors
    /// So many bytes are not left.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if bytes as u64 <= self.0.left.get() { Ok(()) } else { Err(self.spent()) }
    }

    fn spent(&self) -> Error {
        let bytes = ByteSize(self.0.bytes).display().iec();
        Error::ended(format!("the run prints and saves more than {bytes}"))
            .help("--max-output allows more")
    }

    /// # Errors
    /// A run may not have so many files, folders among them.
    pub fn check_files(&self, files: usize) -> Result<()> {
        if files <= self.0.files {
            return Ok(());
        }
        Err(Error::ended(format!("the run saves more than {} files, their folders among them", self.0.files))
            .help("save several values in one file, as in save(\"all\", #{a: x, b: y}); --max-files allows more"))
    }
}

/// A file that takes what it grows by out of a quota.
pub struct Metered<'a> {
    inner: &'a mut dyn Write,
    quota: &'a Quota,
    outcome: Result<()>,
}

impl<'a> Metered<'a> {
    pub fn new(inner: &'a mut dyn Write, quota: &'a Quota) -> Self {
        Self { inner, quota, outcome: Ok(()) }
    }

    /// # Errors
    /// The quota did not suffice: what a format's writer makes of that says less.
    pub fn finish(self) -> Result<()> {
        self.outcome
    }
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.quota.take(bytes.len()) {
            self.outcome = Err(error);
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
