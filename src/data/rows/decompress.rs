//! Decompression as a file is read: no more than the format's window is held, whatever the file
//! would become.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::format::Compression;

/// Reads what `from` holds compressed.
pub fn decompressed(from: impl Read + 'static, compression: Compression) -> Box<dyn Read> {
    match compression {
        Compression::None => Box::new(from),
        Compression::Gzip => Box::new(MultiGzDecoder::new(from)),
        Compression::Zstd => Box::new(Zstd::new(from)),
    }
}

/// Decompresses Zstandard: all frames of a stream, each checked against its checksum if it has one.
/// A frame that asks for a window of more than 128 MiB is refused.
pub struct Zstd<R> {
    from: BufReader<R>,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: Read> Zstd<R> {
    /// Reads frames from `from`.
    pub fn new(from: R) -> Self {
        Self { from: BufReader::new(from), decoder: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame. `false` at the end of the stream.
    fn begin(&mut self) -> Result<bool> {
        while !self.from.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped =
                        std::io::copy(&mut self.from.by_ref().take(length), &mut std::io::sink())?;
                    if skipped < length {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(broken(e)),
            }
        }
        Ok(false)
    }

    fn check(&self) -> Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(said), Some(found)) if said != found => Err(broken("its checksum is another")),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.within = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.from, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(broken)?;
            }
            let read = self.decoder.read(into)?;
            if read > 0 {
                return Ok(read);
            }
            self.check()?;
            self.within = false;
        }
    }
}

fn broken(cause: impl ToString) -> Error {
    Error::new(ErrorKind::InvalidData, format!("it is no Zstandard: {}", cause.to_string()))
}
