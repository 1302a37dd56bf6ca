//! Discrete Fourier transforms along any dim, of any length.
//!
//! On the CPU by rustfft; on a GPU by matrix products (`dft_matrix`) up to
//! `dft_matrix::MAX_LENGTH`, and longer ones on the CPU.

use std::mem::MaybeUninit;

use candle_core::{Device, Tensor};
use rustfft::FftDirection;

use super::dft_matrix;
use super::line_fft::{Buffers, Float, LineFft, Out};
use super::transform::{Norm, Transform};
use crate::kernel::elementwise::Binary;
use crate::tensor::elements::with_slice;
use crate::tensor::reduce::along_dim;
use crate::tensor::reduce::along_dim::{Lines, Tile};
use crate::tensor::{Complex, Kind, Value, device, dims, elements, graph};
use crate::{Result, error};

impl Transform {
    /// Transforms the lines along `dim`, after cutting them or padding them with zeros to length
    /// `n`. Without `n` the length is the size of the dim, for `irfft` twice the size less 2. The
    /// result is c64, or f32 for `irfft`; for f64 and c128 it is c128 or f64.
    ///
    /// # Errors
    /// The tensor does not have the dim; the length is below 1; `rfft` of a complex tensor; the
    /// result exceeds the memory limit.
    pub fn apply(self, value: &Value, dim: i64, n: Option<i64>, norm: Norm) -> Result<Value> {
        if self == Transform::Rfft && matches!(value, Value::Complex(_)) {
            return Err(error!("rfft needs a real tensor, and this one is complex")
                .help("use fft, or take .real first"));
        }
        let dim = dims::dim(dim, value.dims())?;
        let size = value.dims()[dim];
        let default = if self == Transform::Irfft { 2 * (size as i64 - 1) } else { size as i64 };
        let n = match n.unwrap_or(default) {
            n @ 1.. => n as usize,
            n => {
                let (name, dims) = (self.name(), value.dims());
                return Err(error!("{name}: the length must be at least 1, and along dim {dim} of {dims:?} it is {n}")
                    .help("give it as in #{n: 8}"));
            }
        };
        let mut out = value.dims().to_vec();
        // Twice the size, for the real and the imaginary part.
        out[dim] = n.saturating_mul(2);
        dims::check_size(&out)?;
        let scale = norm.scale(n, matches!(self, Transform::Ifft | Transform::Irfft));
        let plan = PreparedTransform { transform: self, n, scale };
        let compute = |value: &Value| match Kind::of(value).to_complex() {
            Kind::C128 => plan.run::<f64>(value, dim),
            _ => plan.run::<f32>(value, dim),
        };
        graph::operation(
            &[value],
            |inputs| compute(inputs[0]),
            move |back| back.of_one(|| self.gradient(&back.gradient, dim, [n, size], scale)),
        )
    }

    /// The gradient of what was transformed with this length and scale, of `size` along the dim:
    /// the conjugate transposed transform of the `gradient` of the result.
    fn gradient(
        self,
        gradient: &Value,
        dim: usize,
        [n, size]: [usize; 2],
        scale: f64,
    ) -> Result<Value> {
        let unscaled = |transform: Transform| {
            let norm = match transform {
                Transform::Ifft | Transform::Irfft => Norm::Forward,
                Transform::Fft | Transform::Rfft => Norm::Backward,
            };
            transform.apply(gradient, dim as i64, Some(n as i64), norm)
        };
        let turned = match self {
            Transform::Fft | Transform::Rfft => unscaled(Transform::Ifft)?,
            Transform::Ifft => unscaled(Transform::Fft)?,
            Transform::Irfft => {
                // A frequency that also stands for its conjugate counts twice.
                let half = n / 2 + 1;
                let alone = |k: usize| k == 0 || (n.is_multiple_of(2) && k == n / 2);
                let weights = (0..half).map(|k| if alone(k) { 1.0 } else { 2.0 }).collect();
                let mut shape = vec![1; gradient.rank()];
                shape[dim] = half;
                let weights: Tensor = elements::from_vec::<f64>(weights, &shape, &Device::Cpu)?;
                unscaled(Transform::Rfft)?.map(|t| {
                    Binary::Mul.apply(t, &weights.to_dtype(t.dtype())?.to_device(t.device())?)
                })?
            }
        };
        turned.map(|t| {
            let t = t.affine(scale, 0.0)?;
            match t.dim(dim)? {
                have if have < size => t.pad_with_zeros(dim, 0, size - have),
                _ => t.narrow(dim, 0, size),
            }
        })
    }
}

/// A transform of a known length.
struct PreparedTransform {
    transform: Transform,
    /// The length.
    n: usize,
    /// The factor by which the result is multiplied.
    scale: f64,
}

impl PreparedTransform {
    /// Transforms the lines along `dim` in precision `T`.
    fn run<T: Float>(&self, value: &Value, dim: usize) -> Result<Value> {
        let lines = Lines::along(value.dims(), dim);
        let width = if self.transform == Transform::Rfft { self.n / 2 + 1 } else { self.n };
        let shape = along_dim::resized(value.dims(), dim, width);
        let on_gpu = !value.device().is_cpu();
        if on_gpu && self.n <= dft_matrix::MAX_LENGTH && value.numel() > 0 {
            return self.by_products::<T>(value, dim);
        }
        let place = |elements: Vec<T>| elements::from_vec(elements, &shape, value.device());
        let on_cpu = |t: &Tensor| device::transfer(&t.to_dtype(T::DTYPE)?, &Device::Cpu);
        let (re, im) = match value {
            Value::Complex(c) => (on_cpu(&c.re)?, Some(on_cpu(&c.im)?)),
            Value::Real(t) | Value::Bool(t) => (on_cpu(t)?, None),
        };
        let (re, im) = with_slice(&re, |re: &[T]| match &im {
            Some(im) => with_slice(im, |im: &[T]| self.transform(lines, re, Some(im))),
            None => Ok(self.transform(lines, re, None)),
        })??;
        Ok(match im {
            Some(im) => Value::Complex(Complex { re: place(re)?, im: place(im)? }),
            None => Value::Real(place(re)?),
        })
    }

    /// The transform by matrix products, on the device of the value.
    fn by_products<T: Float>(&self, value: &Value, dim: usize) -> Result<Value> {
        let size = if self.transform == Transform::Irfft { self.n / 2 + 1 } else { self.n };
        let line = |t: &Tensor| -> Result<Tensor> {
            let t = t.to_dtype(T::DTYPE)?.transpose(dim, t.rank() - 1)?;
            let (last, have) = (t.rank() - 1, t.dim(t.rank() - 1)?);
            Ok(if have < size {
                t.pad_with_zeros(last, 0, size - have)?
            } else {
                t.narrow(last, 0, size)?
            })
        };
        let (re, im) = match value {
            Value::Complex(c) => (line(&c.re)?, Some(line(&c.im)?)),
            Value::Real(t) | Value::Bool(t) => (line(t)?, None),
        };
        let (re, im) = dft_matrix::transform(self.transform, &re, im.as_ref(), self.n, self.scale)?;
        let back = |t: Tensor| t.transpose(dim, t.rank() - 1)?.contiguous();
        Ok(match im {
            Some(im) => Value::Complex(Complex { re: back(re)?, im: back(im)? }),
            None => Value::Real(back(re)?),
        })
    }

    /// The real and imaginary parts of the transformed lines, in the order of the tensor. `Irfft`
    /// has no imaginary parts.
    fn transform<T: Float>(
        &self,
        lines: Lines,
        re: &[T],
        im: Option<&[T]>,
    ) -> (Vec<T>, Option<Vec<T>>) {
        let direction = match self.transform {
            Transform::Fft | Transform::Rfft => FftDirection::Forward,
            Transform::Ifft | Transform::Irfft => FftDirection::Inverse,
        };
        let real = match self.transform {
            Transform::Rfft | Transform::Irfft => true,
            Transform::Fft => im.is_none(),
            Transform::Ifft => false,
        };
        let fft = LineFft::<T>::new(self.n, direction, real, self.scale);
        let size = lines.size;
        if self.transform == Transform::Irfft {
            let write = |tile: &Tile,
                         buffers: &mut LineBuffers<T>,
                         [out]: [&mut [MaybeUninit<T>]; 1]| {
                let (re, im) =
                    (tile.read(re, &mut buffers.re), im.map(|im| tile.read(im, &mut buffers.im)));
                for (line, out) in out.chunks_mut(self.n).enumerate() {
                    fft.to_real(
                        part(Some(re), line, size),
                        part(im, line, size),
                        &mut buffers.fft,
                        out,
                    );
                }
            };
            // SAFETY: `out` consists of lines of `self.n` elements, one for each line of the tile,
            // and `to_real` writes all of each.
            let [numbers] = unsafe { lines.spread(self.n, write) };
            return (numbers, None);
        }
        let width = if self.transform == Transform::Rfft { self.n / 2 + 1 } else { self.n };
        let write = |tile: &Tile, buffers: &mut LineBuffers<T>, [out_re, out_im]: Out<T>| {
            let (re, im) =
                (tile.read(re, &mut buffers.re), im.map(|im| tile.read(im, &mut buffers.im)));
            for (line, out) in out_re.chunks_mut(width).zip(out_im.chunks_mut(width)).enumerate() {
                let (re, im) = (part(Some(re), line, size), part(im, line, size));
                match real {
                    true => fft.of_real(re, &mut buffers.fft, out.into()),
                    false => fft.complex(re, im, &mut buffers.fft, out.into()),
                }
            }
        };
        // SAFETY: `out_re` and `out_im` consist of lines of `width` elements, one for each line of
        // the tile, and `of_real` and `complex` write all of each.
        let [re, im] = unsafe { lines.spread(width, write) };
        (re, Some(im))
    }
}

/// Line number `line` of lines of `size` elements; empty if there are none.
fn part<T>(lines: Option<&[T]>, line: usize, size: usize) -> &[T] {
    lines.map_or(&[], |lines| &lines[line * size..][..size])
}

/// The buffers of one thread.
#[derive(Default)]
struct LineBuffers<T> {
    re: Vec<T>,
    im: Vec<T>,
    fft: Buffers<T>,
}

#[cfg(test)]
mod tests;
