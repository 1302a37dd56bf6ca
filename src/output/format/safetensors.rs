//! Tensors by name as .safetensors.
//!
//! Token ids are integer tensors whose names the file's metadata lists under `TOKEN_IDS`. If some
//! of them are padding, their mask is saved beside them under [`mask_name`].

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use serde_json::Value as Json;

use crate::checkpoint::safetensors_header::Header;
use crate::system::message;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Complex, Kind, Value, dims, dtype};
use crate::{Result, bail, error};

/// A tensor to be saved.
pub struct Item {
    /// The tensor.
    pub value: Value,
    /// For token ids: a boolean tensor of the same shape, true for real tokens and false for
    /// padding.
    pub mask: Option<Value>,
}

impl Item {
    /// Whether some of the tokens are padding.
    ///
    /// # Errors
    /// Candle's, if the mask can't be copied to the CPU.
    pub fn is_padded(&self) -> Result<bool> {
        let Some(mask) = &self.mask else { return Ok(false) };
        let mask = mask.real("the mask")?.to_device(&Device::Cpu)?.flatten_all()?;
        Ok(mask.to_vec1::<u8>()?.contains(&0))
    }
}

/// The metadata key under which the names of token ids are listed, as a JSON array.
const TOKEN_IDS: &str = "token_ids";

/// The name under which the mask of the token ids `ids` is saved.
pub fn mask_name(ids: &str) -> String {
    format!("{ids}.mask")
}

/// Writes tensors by name.
///
/// # Errors
/// A dtype that the format does not have, a tensor whose name is that of another one's mask, or
/// `to` can't be written to.
pub fn write(items: &[(&str, &Item)], to: &mut dyn Write) -> Result<()> {
    let (mut views, mut ids) = (Vec::new(), Vec::new());
    for &(name, item) in items {
        views.push((name.to_owned(), View::new(&item.value).map_err(|e| e.at(name))?));
        ids.extend(item.mask.is_some().then_some(name));
        if let Some(mask) = item.mask.as_ref().filter(|_| item.is_padded().unwrap_or(true)) {
            let of = mask_name(name);
            if items.iter().any(|(name, _)| *name == of) {
                bail!(
                    "{of} is the name under which the mask of {name} is saved: give that tensor another"
                );
            }
            views.push((of, View::new(mask)?));
        }
    }
    let says = (!ids.is_empty())
        .then(|| HashMap::from([(TOKEN_IDS.to_owned(), Json::from(ids).to_string())]));
    let bytes = safetensors::serialize(views, says)
        .map_err(|e| error!("the tensors can't be written: {e}"))?;
    to.write_all(&bytes).map_err(|e| error!("{e}"))
}

/// A tensor as the safetensors crate takes it.
struct View {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View {
    fn new(value: &Value) -> Result<Self> {
        use safetensors::Dtype;
        let dtype = match value {
            Value::Bool(_) => Dtype::BOOL,
            Value::Complex(c) if c.re.dtype() == DType::F32 => Dtype::C64,
            Value::Complex(_) => {
                return Err(error!(".safetensors has no complex numbers of float64")
                    .help("save .real and .imag"));
            }
            Value::Real(t) => dtype::to_safetensors(t.dtype())
                .ok_or_else(|| error!(".safetensors of {} can't be written", t.dtype().as_str()))?,
        };
        Ok(Self { dtype, shape: value.dims().to_vec(), bytes: to_le_bytes(value)? })
    }
}

impl safetensors::View for View {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads all tensors, and the names of those that are token ids. Tensors of a dtype that [`Value`]
/// does not have are left out, with a warning; `file` names the file in it.
///
/// # Errors
/// A broken file, or one whose tensors all have such a dtype.
pub fn read(bytes: &[u8], file: &str) -> Result<(BTreeMap<String, Value>, Vec<String>)> {
    let header =
        Header::read(bytes).map_err(|e| error!("it is broken, or no .safetensors file ({e})"))?;
    let (mut tensors, mut strange) = (BTreeMap::new(), Vec::new());
    for name in header.names() {
        let shape = header.shape(&name).unwrap_or_default();
        let (dtype, data) = match header.find(&name) {
            Some(Ok((dtype, place))) => (dtype, bytes.get(place).unwrap_or_default()),
            Some(Err(unknown)) => {
                strange.push(format!("{name} ({unknown})"));
                continue;
            }
            None => continue,
        };
        match value(dtype, &shape, data).map_err(|e| e.at(&name))? {
            Some(value) => drop(tensors.insert(name, value)),
            None => strange.push(format!("{name} ({dtype:?})")),
        }
    }
    let strange = match strange.as_slice() {
        [] => return token_ids(&header, &tensors).map(|ids| (tensors, ids)),
        [one] => format!("{one} is of a dtype that tensors don't have"),
        some => format!("{} are of dtypes that tensors don't have", some.join(", ")),
    };
    if tensors.is_empty() {
        bail!("{strange}");
    }
    message::notice_once(format_args!("warning: {file}: {strange}; the other tensors are loaded"));
    token_ids(&header, &tensors).map(|ids| (tensors, ids))
}

/// A tensor from its bytes, which are little-endian. `None` for a dtype that [`Value`] does not
/// have. Integer dtypes that candle does not compute with become i64.
///
/// # Errors
/// The bytes are not those of the shape.
pub fn value(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Option<Value>> {
    dims::check_size(shape)?;
    let raw =
        |dtype: DType, shape: &[usize]| Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu);
    let real = |dtype: DType| Ok(Some(Value::Real(raw(dtype, shape)?)));
    let whole =
        |numbers: Vec<i64>| Ok(Some(Value::Real(Tensor::from_vec(numbers, shape, &Device::Cpu)?)));
    match dtype {
        // Any byte other than 0 is true.
        Dtype::BOOL => Ok(Some(dtype::cast(&Value::Real(raw(DType::U8, shape)?), Kind::Bool)?)),
        Dtype::I8 => whole(data.iter().map(|byte| i64::from(byte.cast_signed())).collect()),
        Dtype::U16 => whole(
            data.chunks_exact(2)
                .map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]])))
                .collect(),
        ),
        Dtype::I16 => Ok(Some(Value::Real(raw(DType::I16, shape)?.to_dtype(DType::I64)?))),
        Dtype::I32 => Ok(Some(Value::Real(raw(DType::I32, shape)?.to_dtype(DType::I64)?))),
        Dtype::U8 => real(DType::U8),
        Dtype::U32 => real(DType::U32),
        Dtype::I64 => real(DType::I64),
        Dtype::F16 => real(DType::F16),
        Dtype::BF16 => real(DType::BF16),
        Dtype::F32 => real(DType::F32),
        Dtype::F64 => real(DType::F64),
        Dtype::C64 => {
            let pairs = raw(DType::F32, &[shape, &[2]].concat())?;
            let part =
                |at: usize| pairs.narrow(shape.len(), at, 1)?.squeeze(shape.len())?.contiguous();
            Ok(Some(Value::Complex(Complex { re: part(0)?, im: part(1)? })))
        }
        _ => Ok(None),
    }
}

/// The names that the file's metadata lists as token ids.
///
/// # Errors
/// A listed name that is not an integer tensor of the file, or a mask that is not boolean and of
/// the same shape.
fn token_ids(header: &Header, tensors: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let broken = |what: String| error!("it is broken: its metadata has {TOKEN_IDS}, {what}");
    let Some(names) = header.metadata(TOKEN_IDS) else { return Ok(Vec::new()) };
    let names: Vec<String> =
        serde_json::from_str(names).map_err(|_| broken("which is no array of names".into()))?;
    for name in &names {
        let is_integer = |value: &&Value| {
            value.real(name).is_ok_and(|tensor| tensor.dtype().is_int())
                && !matches!(value, Value::Bool(_))
        };
        let Some(ids) = tensors.get(name).filter(is_integer) else {
            return Err(broken(format!("and {name:?} is no tensor of integers")));
        };
        match tensors.get(&mask_name(name)) {
            Some(mask) if !matches!(mask, Value::Bool(_)) || mask.dims() != ids.dims() => {
                return Err(broken(format!("and the mask of {name:?} is none")));
            }
            _ => {}
        }
    }
    Ok(names)
}
