//! Element-wise loops on the CPU, in parallel, for what candle has no kernel for or a wrong one. A
//! tensor on another device travels there and back.

use std::mem::MaybeUninit;

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;
use crate::kernel::cpu::simd::vectorized;
use crate::tensor::reduce::fold::with_slice;
use crate::tensor::{device, dims};
use crate::{Result, bail};

/// Runs `$body` with `$T` standing for the element type of `$tensor`.
macro_rules! by_dtype {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::U8 => {
                type $T = u8;
                $body
            }
            candle_core::DType::U32 => {
                type $T = u32;
                $body
            }
            candle_core::DType::I64 => {
                type $T = i64;
                $body
            }
            candle_core::DType::F16 => {
                type $T = half::f16;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::error!("a tensor of {} is not supported here", other.as_str())),
        }
    };
}
pub(crate) use by_dtype;

/// `f` of each element.
pub fn mapped<T: Sync, U: Copy + Send>(elements: &[T], f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let fill = |out: &mut [MaybeUninit<U>]| {
        parallel::chunks(out, CHUNK, |piece, out| {
            each(&elements[piece * CHUNK..][..out.len()], out, &f)
        });
    };
    // SAFETY: the pieces are all of it.
    unsafe { made(elements.len(), fill) }
}

vectorized! {
    fn each[T: Sync, U: Copy, F: Fn(&T) -> U](elements: &[T], out: &mut [MaybeUninit<U>], f: &F) {
        for (out, x) in out.iter_mut().zip(elements) {
            out.write(f(x));
        }
    }
}

/// A vector that `fill` writes, which need not have been written before.
///
/// # Safety
/// `fill` writes every element.
pub unsafe fn made<T>(count: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    fill(&mut out.spare_capacity_mut()[..count]);
    // SAFETY: they have been written.
    unsafe { out.set_len(count) };
    out
}

/// `blank` throughout: where a piece is about to be written by the thread that blanks it, that
/// costs next to nothing.
pub fn blanked<T: Copy>(piece: &mut [MaybeUninit<T>], blank: T) -> &mut [T] {
    for element in piece.iter_mut() {
        element.write(blank);
    }
    // SAFETY: all of them have been written.
    unsafe { piece.assume_init_mut() }
}

/// The elements in row-major order, in host memory.
pub fn host<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    Ok(device::transfer(tensor, &Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// `f` of each element.
pub fn map<T: WithDType, U: WithDType>(
    tensor: &Tensor,
    f: impl Fn(T) -> U + Sync,
) -> Result<Tensor> {
    let here = device::transfer(tensor, &Device::Cpu)?;
    let out: Vec<U> = with_slice(&here, |elements: &[T]| mapped(elements, |&x| f(x)))?;
    place(out, tensor.dims(), tensor.device())
}

/// `f` of each element of a float32 tensor on the CPU, a piece at a time, read where it lies.
///
/// # Safety
/// `f` writes all of the piece that it gets.
pub unsafe fn map_pieces(
    tensor: &Tensor,
    f: impl Fn(&[f32], &mut [MaybeUninit<f32>]) + Sync,
) -> Result<Tensor> {
    let out = with_slice(tensor, |elements: &[f32]| {
        let fill = |out: &mut [MaybeUninit<f32>]| {
            parallel::chunks(out, CHUNK, |piece, out| {
                f(&elements[piece * CHUNK..][..out.len()], out)
            });
        };
        // SAFETY: `f` gets every piece, and writes it whole.
        unsafe { made(elements.len(), fill) }
    })?;
    place(out, tensor.dims(), tensor.device())
}

/// `f` of each element of a float tensor, worked out in double precision.
pub fn map_float(tensor: &Tensor, f: impl Fn(f64) -> f64 + Sync) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 => map(tensor, |x: f16| f16::from_f64(f(x.to_f64()))),
        DType::BF16 => map(tensor, |x: bf16| bf16::from_f64(f(x.to_f64()))),
        DType::F32 => map(tensor, |x: f32| f(x.into()) as f32),
        DType::F64 => map(tensor, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}

/// `f` of each pair of elements of two tensors of one dtype, broadcast.
pub fn zip<T: WithDType, U: WithDType>(
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(T, T) -> U + Sync,
) -> Result<Tensor> {
    let shape = dims::broadcast(a.dims(), b.dims(), "element by element")?;
    let out: Vec<U> = match (a.elem_count(), b.elem_count()) {
        (_, 1) => {
            let (y, a) = (host::<T>(b)?[0], device::transfer(a, &Device::Cpu)?);
            with_slice(&a, |xs: &[T]| mapped(xs, |&x| f(x, y)))?
        }
        (1, _) => {
            let (x, b) = (host::<T>(a)?[0], device::transfer(b, &Device::Cpu)?);
            with_slice(&b, |ys: &[T]| mapped(ys, |&y| f(x, y)))?
        }
        _ => {
            let here =
                |t: &Tensor| device::transfer(&t.broadcast_as(shape.as_slice())?, &Device::Cpu);
            let (a, b) = (here(a)?, here(b)?);
            with_slice(&a, |xs: &[T]| with_slice(&b, |ys: &[T]| pairs(xs, ys, &f)))??
        }
    };
    place(out, &shape, a.device())
}

fn pairs<T: WithDType, U: WithDType>(
    xs: &[T],
    ys: &[T],
    f: &(impl Fn(T, T) -> U + Sync),
) -> Vec<U> {
    let fill = |out: &mut [MaybeUninit<U>]| {
        parallel::chunks(out, CHUNK, |task, out| {
            let at = task * CHUNK..task * CHUNK + out.len();
            piece(&xs[at.clone()], &ys[at], out, f);
        });
    };
    // SAFETY: the pieces are all of it.
    unsafe { made(xs.len(), fill) }
}

vectorized! {
    fn piece[T: WithDType, U: WithDType, F: Fn(T, T) -> U](xs: &[T], ys: &[T], out: &mut [MaybeUninit<U>], f: &F) {
        for ((out, &x), &y) in out.iter_mut().zip(xs).zip(ys) {
            out.write(f(x, y));
        }
    }
}

/// Contiguous CPU tensors one after the other along `dim`, as a tensor of `dims`.
pub fn cat(tensors: &[Tensor], dim: usize, dims: &[usize]) -> Result<Tensor> {
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
                blanked(out, T::zero());
                return;
            }
            at += part;
        }
    };
    // SAFETY: together the tensors are every row from its first element to its last.
    let out = unsafe { made(dims.iter().product(), fill) };
    failed?;
    place(out, dims, &Device::Cpu)
}

/// A copy in row-major order; of a matrix that lies column by column, tile by tile.
pub fn copied(tensor: &Tensor) -> Result<Tensor> {
    let rank = tensor.rank();
    let turned = rank >= 2 && tensor.device().is_cpu() && !tensor.is_contiguous();
    let straight = match turned {
        true => {
            Some(tensor.transpose(rank - 2, rank - 1)?).filter(|straight| straight.is_contiguous())
        }
        false => None,
    };
    match straight {
        Some(straight) => by_dtype!(tensor, T => turn::<T>(&straight, tensor.dims())),
        None => Ok(tensor.force_contiguous()?),
    }
}

/// The matrices of `straight` with rows for columns: a tensor of `dims`.
fn turn<T: WithDType>(straight: &Tensor, dims: &[usize]) -> Result<Tensor> {
    /// Rows and columns that are turned together: as many cache lines stay near.
    const TILE: usize = 32;
    let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let out = with_slice(straight, |from: &[T]| {
        let mut out = vec![T::zero(); from.len()];
        if out.is_empty() {
            return out;
        }
        parallel::chunks(&mut out, TILE * columns, |tile, out| {
            // Tiles may run over the end of a matrix: each row is found alone.
            let first = tile * TILE;
            for start in (0..columns).step_by(TILE) {
                let end = (start + TILE).min(columns);
                for (row, out) in out.chunks_mut(columns).enumerate() {
                    let (matrix, row) = ((first + row) / rows, (first + row) % rows);
                    let from = &from[matrix * rows * columns + row..];
                    for (column, out) in (start..end).zip(&mut out[start..end]) {
                        *out = from[column * rows];
                    }
                }
            }
        });
        out
    })?;
    place(out, dims, straight.device())
}

/// `f` of each pair of elements of two float tensors of one dtype, broadcast, worked out in double
/// precision.
pub fn zip_float(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64 + Sync) -> Result<Tensor> {
    match a.dtype() {
        DType::F16 => zip(a, b, |x: f16, y: f16| f16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::BF16 => zip(a, b, |x: bf16, y: bf16| bf16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::F32 => zip(a, b, |x: f32, y: f32| f(x.into(), y.into()) as f32),
        DType::F64 => zip(a, b, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}

/// A tensor of host elements, on `device`.
pub fn place<T: WithDType>(elements: Vec<T>, dims: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, dims, &Device::Cpu)?.to_device(device)?)
}
