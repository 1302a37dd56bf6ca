//! A writer that keeps the error of what it writes to.

use std::io::Write;

/// Keeps the first I/O error of the file itself. A format's writer would pass on only its own
/// message for it.
pub(super) struct FirstError<W: Write> {
    inner: W,
    /// It, if there was one.
    pub error: Option<std::io::Error>,
}

impl<W: Write> FirstError<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, error: None }
    }

    fn keep<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.map_err(|cause| {
            let kind = cause.kind();
            self.error.get_or_insert(cause);
            kind.into()
        })
    }
}

impl<W: Write> Write for FirstError<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.inner.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.inner.flush();
        self.keep(result)
    }
}
