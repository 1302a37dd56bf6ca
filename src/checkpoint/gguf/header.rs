//! The header of a GGUF file: its metadata and where its tensors are. candle reads it, from a bounded
//! part of the file; here it is checked before anything is made of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::ops::Range;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};

use crate::system::panics;
use crate::{Error, Result, bail, error};

/// The most bytes of a header: the largest vocabularies in use take a quarter of it.
const MAX_HEADER: usize = 1 << 26;
/// What the beginning of each tensor is a multiple of, at least: so blocks lie as their types ask for.
const MIN_ALIGNMENT: u64 = 8;

/// The types that are not read, by their numbers.
const NOT_READ: [(&str, &str); 17] = [
    ("4", "Q4_2"),
    ("5", "Q4_3"),
    ("16", "IQ2_XXS"),
    ("17", "IQ2_XS"),
    ("18", "IQ3_XXS"),
    ("19", "IQ1_S"),
    ("20", "IQ4_NL"),
    ("21", "IQ3_S"),
    ("22", "IQ2_S"),
    ("23", "IQ4_XS"),
    ("29", "IQ1_M"),
    ("24", "I8"),
    ("26", "I32"),
    ("28", "F64"),
    ("34", "TQ1_0"),
    ("35", "TQ2_0"),
    ("39", "MXFP4"),
];

/// A tensor of a file.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The type of its blocks.
    pub dtype: GgmlDType,
    /// [out, in], as candle has it.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub place: Range<usize>,
}

/// Reads the header of the file `name`, whose bytes are given.
///
/// # Errors
/// It is no GGUF file, or its header contradicts the file.
pub fn read(bytes: &[u8], name: &str) -> Result<(Metadata, BTreeMap<String, Stored>)> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(error!("{name} is a Git LFS pointer, not the weights")
            .help("fetch them with git lfs pull"));
    }
    if !bytes.starts_with(b"GGUF") {
        bail!("{name} is no GGUF file: it does not begin with GGUF");
    }
    let header = &bytes[..bytes.len().min(MAX_HEADER)];
    let content = panics::catch_foreign(
        || Content::read(&mut Cursor::new(header)),
        || broken(name, "its header can't be read"),
    )?
    .map_err(|cause| refused(name, &cause.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (tensor, info) in &content.tensor_infos {
        let wrong = |what: &str| broken(name, &format!("{what} of {tensor:?}"));
        let shape = info.shape.dims().to_vec();
        let dtype = info.ggml_dtype;
        let count = shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
        let count =
            count.filter(|n| *n <= isize::MAX as usize / 16).ok_or_else(|| wrong("the shape"))?;
        if count == 0 || !shape.last().is_some_and(|n| n.is_multiple_of(dtype.block_size())) {
            return Err(wrong("the shape"));
        }
        let start = content
            .tensor_data_offset
            .checked_add(info.offset)
            .ok_or_else(|| wrong("the place"))?;
        if !start.is_multiple_of(MIN_ALIGNMENT) {
            return Err(wrong("the alignment"));
        }
        let size = count / dtype.block_size() * dtype.type_size();
        let start = usize::try_from(start).map_err(|_| wrong("the place"))?;
        let end = start.checked_add(size).filter(|end| *end <= bytes.len());
        let Some(end) = end else {
            return Err(error!("{name} is cut short at {tensor}").help("fetch the file again"));
        };
        tensors.insert(tensor.clone(), Stored { dtype, shape, place: start..end });
    }
    Ok((Metadata::new(content.metadata, name), tensors))
}

fn broken(name: &str, what: &str) -> Error {
    error!("{name} is broken: {what}").help("fetch the file again")
}

/// What candle says of a header that it refuses. Types are named.
fn refused(name: &str, cause: &str) -> Error {
    let cause = cause.lines().next().unwrap_or_default().trim();
    let Some(number) = cause.strip_prefix("unknown dtype for tensor ") else {
        return broken(name, cause);
    };
    let known = NOT_READ.iter().find(|(known, _)| *known == number);
    let dtype = known.map_or_else(|| format!("type {number}"), |(_, dtype)| (*dtype).to_owned());
    error!("{name} has tensors of {dtype}, which is not read").help(
        "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K are: llama-quantize writes them",
    )
}

/// The metadata of a file. What of an architecture's own is not read is an error in the end, as it
/// could change what the model computes.
pub struct Metadata {
    file: String,
    values: HashMap<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Metadata {
    fn new(values: HashMap<String, Value>, file: &str) -> Self {
        Self { file: file.to_owned(), values, read: RefCell::default() }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.values.get(key)
    }

    fn other(&self, key: &str, expected: &str) -> Error {
        error!("{}: the metadata {key} must be {expected}", self.file)
    }

    /// A text.
    ///
    /// # Errors
    /// The value is none.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.other(key, "a text")),
        }
    }

    /// true or false.
    ///
    /// # Errors
    /// The value is neither.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.other(key, "true or false")),
        }
    }

    /// A whole number of at least 0. Where a file has one for each layer, all must be the same.
    ///
    /// # Errors
    /// The value is none, or they differ.
    pub fn count(&self, key: &str) -> Result<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(all)) => {
                let counts: Option<Vec<u64>> = all.iter().map(whole).collect();
                match counts.as_deref() {
                    Some([first, rest @ ..]) if rest.iter().all(|n| n == first) => Ok(Some(*first)),
                    _ => Err(self.other(key, "the same number in every layer")),
                }
            }
            Some(value) => whole(value).map(Some).ok_or_else(|| self.other(key, "a whole number")),
        }
    }

    /// A real number.
    ///
    /// # Errors
    /// The value is none.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => real(value).map(Some).ok_or_else(|| self.other(key, "a number")),
        }
    }

    /// Texts.
    ///
    /// # Errors
    /// The value is no array of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        fn text(value: &Value) -> Option<&str> {
            if let Value::String(text) = value { Some(text) } else { None }
        }
        self.array(key, text, "an array of texts")
    }

    /// Numbers.
    ///
    /// # Errors
    /// The value is no array of numbers.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.array(key, real, "an array of numbers")
    }

    fn array<'a, T>(
        &'a self,
        key: &str,
        one: fn(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<Vec<T>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(all)) => {
                let all: Option<Vec<T>> = all.iter().map(one).collect();
                all.map(Some).ok_or_else(|| self.other(key, expected))
            }
            Some(_) => Err(self.other(key, expected)),
        }
    }

    /// Checks that all metadata under `prefix` were read.
    ///
    /// # Errors
    /// One was not.
    pub fn finish(&self, prefix: &str) -> Result<()> {
        let read = self.read.borrow();
        let mut left: Vec<&String> = self
            .values
            .keys()
            .filter(|key| key.starts_with(prefix) && !read.contains(*key))
            .collect();
        left.sort();
        match left.first() {
            Some(key) => bail!(
                "{}: the metadata {key} could change what the model computes, and can't be honoured",
                self.file
            ),
            None => Ok(()),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::U64(n) => Some(n),
        Value::I8(n) => n.try_into().ok(),
        Value::I16(n) => n.try_into().ok(),
        Value::I32(n) => n.try_into().ok(),
        Value::I64(n) => n.try_into().ok(),
        _ => None,
    }
}

fn real(value: &Value) -> Option<f64> {
    match *value {
        // The shortest number that is this one in float32: 1e-6 and not 9.999999974752427e-7.
        Value::F32(x) => x.to_string().parse().ok(),
        Value::F64(x) => Some(x),
        Value::I8(n) => Some(n.into()),
        Value::I16(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        _ => whole(value).map(|n| n as f64),
    }
}
