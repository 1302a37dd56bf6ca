//! The formats that rows are read from, by the endings of a file's name.

use crate::{Result, error};

/// How a file's rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Typed columns (.parquet).
    Parquet,
    /// A map in JSON on each line (.jsonl).
    JsonLines,
    /// Cells with commas between (.csv), under a first row of names.
    Csv,
    /// Cells with tabs between (.tsv), under a first row of names.
    Tsv,
    /// A text on each line (.txt).
    Text,
}

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (.gz).
    Gzip,
    /// Zstandard (.zst).
    Zstd,
}

/// The endings that rows are read from, for messages.
pub const ENDINGS: &str = ".jsonl .csv .tsv .parquet .txt, and these with .gz or .zst after it";

impl Format {
    /// The format and the compression of a file of this name; nothing if it holds no rows.
    pub fn of(name: &str) -> Option<(Format, Compression)> {
        let name = name.to_ascii_lowercase();
        let ends = |name: &str, ending: &str| name.strip_suffix(ending).map(str::to_owned);
        let (plain, compression) = match ends(&name, ".gz") {
            Some(plain) => (plain, Compression::Gzip),
            None => match ends(&name, ".zst").or_else(|| ends(&name, ".zstd")) {
                Some(plain) => (plain, Compression::Zstd),
                None => (name, Compression::None),
            },
        };
        let format = match plain.rsplit_once('.')?.1 {
            "parquet" => Format::Parquet,
            "jsonl" => Format::JsonLines,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "txt" => Format::Text,
            _ => return None,
        };
        Some((format, compression))
    }

    /// As [`of`](Self::of).
    ///
    /// # Errors
    /// A name of another ending; a Parquet file that is compressed as a whole, which would have to
    /// be read from its end.
    pub fn expect(name: &str) -> Result<(Format, Compression)> {
        match Self::of(name) {
            Some((Format::Parquet, Compression::Gzip | Compression::Zstd)) => Err(error!(
                "{name}: a Parquet file is read from its end, and can't be compressed as a whole"
            )
            .help("decompress it; its columns are compressed inside")),
            Some(found) => Ok(found),
            None => Err(error!("{name} is in no format that rows are read from")
                .help(format!("they are {ENDINGS}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_format_and_compression() {
        assert_eq!(Format::of("a/b.jsonl"), Some((Format::JsonLines, Compression::None)));
        assert_eq!(Format::of("b.CSV.gz"), Some((Format::Csv, Compression::Gzip)));
        assert_eq!(Format::of("b.tsv.zst"), Some((Format::Tsv, Compression::Zstd)));
        for name in ["b.json", "b", "gz", "b.gz", ".zst"] {
            assert_eq!(Format::of(name), None, "{name}");
        }
        assert!(Format::expect("b.parquet").is_ok() && Format::expect("b.parquet.gz").is_err());
    }
}
