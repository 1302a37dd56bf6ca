//! The formats that data is saved in, and which of them a file's extension asks for.

/// A format that data is saved in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tensors by name (.safetensors).
    SafeTensors,
    /// One tensor, as NumPy saves it (.npy).
    Npy,
    /// Tensors by name, as NumPy saves them (.npz).
    Npz,
    /// A table as text (.csv).
    Csv,
    /// A table with typed columns (.parquet).
    Parquet,
    /// Any data (.json).
    Json,
    /// JSON, one value per line (.jsonl).
    JsonLines,
    /// Plain text (.txt).
    Text,
}

impl Format {
    const ALL: [Format; 8] = [
        Format::SafeTensors,
        Format::Npy,
        Format::Npz,
        Format::Csv,
        Format::Parquet,
        Format::Json,
        Format::JsonLines,
        Format::Text,
    ];

    /// The extension, without its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::SafeTensors => "safetensors",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Text => "txt",
        }
    }

    /// The format that a name's extension asks for. Any other extension is part of the name.
    pub fn of(name: &str) -> Option<Format> {
        let (stem, ending) = name.rsplit_once('.')?;
        let chosen = |format: &Format| format.extension().eq_ignore_ascii_case(ending);
        Format::ALL.into_iter().find(|format| !stem.is_empty() && chosen(format))
    }
}

/// Extensions of well-known formats that data is not saved in.
const FOREIGN: &[&str] = &[
    "7z",
    "arrow",
    "avi",
    "bin",
    "bz2",
    "cfg",
    "ckpt",
    "conf",
    "dat",
    "db",
    "doc",
    "docx",
    "eps",
    "feather",
    "gguf",
    "ggml",
    "gz",
    "h5",
    "hdf5",
    "htm",
    "html",
    "ini",
    "ipynb",
    "jsonlines",
    "lock",
    "log",
    "mat",
    "md",
    "msgpack",
    "ndjson",
    "onnx",
    "orc",
    "pickle",
    "pkl",
    "proto",
    "pt",
    "pth",
    "py",
    "rds",
    "rhai",
    "rtf",
    "sql",
    "sqlite",
    "tar",
    "tex",
    "tgz",
    "toml",
    "tsv",
    "xls",
    "xlsx",
    "xml",
    "yaml",
    "yml",
    "zarr",
    "zip",
    "zst",
];

/// Extensions of picture formats.
const PICTURES: &[&str] =
    &["bmp", "gif", "jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp"];

/// The extension of a name, if it is that of a format that data is not saved in.
pub fn foreign_ending(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit('/').next()?.rsplit_once('.')?;
    let known = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(ending));
    (!stem.is_empty() && (known(FOREIGN) || known(PICTURES))).then_some(ending)
}

/// Whether an extension is that of a picture format.
pub fn is_picture(ending: &str) -> bool {
    PICTURES.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// The extensions of all formats, for messages.
pub fn formats() -> String {
    Format::ALL.map(|format| format!(".{}", format.extension())).join(" ")
}
