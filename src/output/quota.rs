//! How many bytes a run may print and save together, and how many files it may create.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use bytesize::ByteSize;

use crate::{Error, Result};

/// The limits on what a run prints and saves. A clone shares the same counters.
#[derive(Debug, Clone)]
pub struct Quota(Rc<Allowance>);

#[derive(Debug)]
struct Allowance {
    bytes: u64,
    files: usize,
    left: Cell<u64>,
}

impl Quota {
    /// Allows `bytes` bytes, and `files` files and folders.
    pub fn new(bytes: u64, files: usize) -> Self {
        Self(Rc::new(Allowance { bytes, files, left: Cell::new(bytes) }))
    }

    /// Starts a new run with the full number of bytes.
    pub fn renew(&self) {
        self.0.left.set(self.0.bytes);
    }

    /// Uses up `bytes` bytes.
    ///
    /// # Errors
    /// Fewer than that are left: the run ends.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let left = self.0.left.get().checked_sub(bytes as u64).ok_or_else(|| self.spent())?;
        self.0.left.set(left);
        Ok(())
    }

    /// Checks that `bytes` bytes are left, without using them up.
    ///
    /// # Errors
    /// Fewer than that are left: the run ends.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if bytes as u64 <= self.0.left.get() { Ok(()) } else { Err(self.spent()) }
    }

    fn spent(&self) -> Error {
        let bytes = ByteSize(self.0.bytes).display().iec();
        Error::ended(format!("the run prints and saves more than {bytes}"))
            .help("--max-output allows more")
    }

    /// Checks that a run may have `files` files and folders.
    ///
    /// # Errors
    /// The limit is lower: the run ends.
    pub fn check_files(&self, files: usize) -> Result<()> {
        if files <= self.0.files {
            return Ok(());
        }
        Err(Error::ended(format!("the run saves more than {} files, their folders among them", self.0.files))
            .help("save several values in one file, as in save(\"all\", #{a: x, b: y}); --max-files allows more"))
    }
}

/// A writer that charges what passes through it to a quota.
pub struct Metered<'a> {
    inner: &'a mut dyn Write,
    quota: &'a Quota,
    outcome: Result<()>,
}

impl<'a> Metered<'a> {
    /// Charges what is written to `inner` to `quota`.
    pub fn new(inner: &'a mut dyn Write, quota: &'a Quota) -> Self {
        Self { inner, quota, outcome: Ok(()) }
    }

    /// Reports whether the quota was enough. A format's writer sees only an I/O error, which would
    /// not name the limit.
    ///
    /// # Errors
    /// The quota ran out.
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
