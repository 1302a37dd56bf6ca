//! Joining and splitting: `cat`, `stack`, `split`, `chunk`.

use std::mem::MaybeUninit;

use candle_core::{Device, Tensor, WithDType};

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;
use crate::tensor::elements::{by_dtype, with_slice};
use crate::tensor::{Complex, Kind, Value, device, dims, dtype, elements};
use crate::{Result, bail, error};

/// `torch.cat`: the tensors one after the other along `dim`, in the dtype that they promote to.
///
/// # Errors
/// There are no tensors; their shapes differ in more than `dim`; they are on different devices.
pub fn cat(values: &[Value], dim: i64) -> Result<Value> {
    let values = common(values, "cat")?;
    // As in PyTorch, a tensor of shape [0] is skipped beside tensors of any shape.
    let mut full: Vec<&Value> = values.iter().filter(|v| v.dims() != [0]).collect();
    if full.is_empty() {
        full = values.iter().take(1).collect();
    }
    let first = full[0].dims();
    let dim = dims::dim(dim, first)?;
    for value in &full {
        let fits = value.rank() == first.len()
            && (0..first.len()).all(|i| i == dim || value.dims()[i] == first[i]);
        if !fits {
            bail!("cat along dim {dim}: shapes {first:?} and {:?} differ elsewhere", value.dims());
        }
    }
    let mut shape = first.to_vec();
    shape[dim] = full.iter().map(|v| v.dims()[dim]).sum();
    join(&full, |parts| {
        let parts =
            parts.iter().map(|t| t.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
        match parts.first() {
            Some(first) if shape.contains(&0) => Ok(first.reshape(shape.as_slice())?),
            Some(first) if first.device().is_cpu() && !parts.iter().any(Tensor::track_op) => {
                cat_on_cpu(&parts, dim, &shape)
            }
            _ => Ok(Tensor::cat(&parts, dim)?),
        }
    })
}

/// `torch.stack`: tensors of one shape as the slices along a new dim at position `dim`.
///
/// # Errors
/// There are no tensors; their shapes differ; they are on different devices.
pub fn stack(values: &[Value], dim: i64) -> Result<Value> {
    let Some(first) = values.first() else { return Err(nothing_to_join("stack")) };
    let dim = dims::new_dim(dim, first.dims())?;
    if let Some(other) = values.iter().find(|v| v.dims() != first.dims()) {
        bail!("stack needs tensors of one shape, not {:?} and {:?}", first.dims(), other.dims());
    }
    let widened = values.iter().map(|v| v.map(|t| t.unsqueeze(dim))).collect::<Result<Vec<_>>>()?;
    cat(&widened, dim as i64)
}

/// The values in the dtype that they promote to.
///
/// # Errors
/// There are none, or they are on different devices.
fn common(values: &[Value], call: &str) -> Result<Vec<Value>> {
    let Some(first) = values.first() else { return Err(nothing_to_join(call)) };
    if let Some(other) = values.iter().find(|v| !v.device().same_device(first.device())) {
        let (a, b) = (device::name(first.device()), device::name(other.device()));
        return Err(error!("{call}: one tensor is on {a}, another on {b}")
            .help(format!("move it, with .to({a:?})")));
    }
    let kind = values.iter().map(Kind::of).reduce(Kind::promote).unwrap_or(Kind::F32);
    values.iter().map(|v| dtype::cast(v, kind)).collect()
}

fn nothing_to_join(call: &str) -> crate::Error {
    error!("{call} needs at least one tensor").help(format!("{call}([a, b], dim)"))
}

/// Applies `f` to the candle tensors of values of one dtype: to the real and to the imaginary parts
/// if they are complex.
fn join(values: &[&Value], f: impl Fn(&[&Tensor]) -> Result<Tensor>) -> Result<Value> {
    let part = |i: usize| f(&values.iter().map(|v| v.parts()[i]).collect::<Vec<_>>());
    Ok(match values[0] {
        Value::Real(_) => Value::Real(part(0)?),
        Value::Bool(_) => Value::Bool(part(0)?),
        Value::Complex(_) => Value::Complex(Complex { re: part(0)?, im: part(1)? }),
    })
}

/// Contiguous CPU tensors one after the other along `dim`, as a tensor of shape `dims`.
fn cat_on_cpu(tensors: &[Tensor], dim: usize, dims: &[usize]) -> Result<Tensor> {
    by_dtype!(tensors[0], T => joined::<T>(tensors, dim, dims))
}

fn joined<T: WithDType>(tensors: &[Tensor], dim: usize, dims: &[usize]) -> Result<Tensor> {
    let row: usize = dims[dim..].iter().product();
    let mut failed = Ok(());
    let fill = |out: &mut [MaybeUninit<T>]| {
        let mut at = 0;
        for tensor in tensors {
            let part: usize = tensor.dims()[dim..].iter().product();
            let copied = with_slice(tensor, |from: &[T]| {
                if out.len() == row {
                    parallel::chunks(&mut out[at..at + part], CHUNK, |piece, out| {
                        out.write_copy_of_slice(&from[piece * CHUNK..][..out.len()]);
                    });
                    return;
                }
                parallel::rows(out, row, part, |i, out| {
                    out[at..at + part].write_copy_of_slice(&from[i * part..][..part]);
                });
            });
            if let Err(error) = copied {
                failed = Err(error);
                elements::fill_with(out, T::zero());
                return;
            }
            at += part;
        }
    };
    // SAFETY: the sizes of the tensors along `dim` add up to `dims[dim]`, so together their rows
    // fill every row of `out` from its first element to its last; if reading one fails, `fill_with`
    // initialises all of `out`.
    let out = unsafe { elements::filled_vec(dims.iter().product(), fill) };
    failed?;
    elements::from_vec(out, dims, &Device::Cpu)
}

/// `torch.split` with a list: pieces of the given sizes along `dim`, which share the storage.
///
/// # Errors
/// The sizes do not add up to the size of the dim.
pub fn split_sizes(value: &Value, sizes: &[i64], dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    let whole = value.dims()[at];
    let sizes = dims::shape(sizes)?;
    if sizes.iter().sum::<usize>() != whole {
        bail!(
            "split: sizes {sizes:?} do not add up to {whole}, the size of dim {at} of {:?}",
            value.dims()
        );
    }
    let mut start = 0;
    let mut pieces = Vec::with_capacity(sizes.len());
    for size in sizes {
        pieces.push(value.map(|t| t.narrow(at, start, size))?);
        start += size;
    }
    Ok(pieces)
}

/// `torch.split`: pieces of `size` along `dim`, which share the storage. The last one is smaller if
/// `size` does not divide the size of the dim.
///
/// # Errors
/// `size` is below 1.
pub fn split(value: &Value, size: i64, dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    if size < 1 {
        bail!("split needs pieces of at least 1, not {size}");
    }
    let whole = value.dims()[at] as i64;
    let mut sizes = vec![size; (whole / size) as usize];
    if whole % size > 0 || whole == 0 {
        sizes.push(whole % size);
    }
    split_sizes(value, &sizes, at as i64)
}

/// `torch.chunk`: at most `count` pieces along `dim`, which share the storage. All but the last are
/// of one size.
///
/// # Errors
/// `count` is below 1.
pub fn chunk(value: &Value, count: i64, dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    if count < 1 {
        bail!("chunk needs at least 1 piece, not {count}");
    }
    split(value, (value.dims()[at] as u64).div_ceil(count as u64).max(1) as i64, dim)
}
