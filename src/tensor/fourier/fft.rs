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
                    t.broadcast_mul(&weights.to_dtype(t.dtype())?.to_device(t.device())?)
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
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::tensor::dtype;

    fn noise(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0).collect()
    }

    fn real(dims: &[usize], kind: Kind) -> Value {
        let value = Value::Real(
            elements::from_vec(noise(dims.iter().product()), dims, &Device::Cpu).unwrap(),
        );
        dtype::cast(&value, kind).unwrap()
    }

    fn complex(dims: &[usize]) -> Value {
        let Value::Real(re) = real(dims, Kind::F64) else { panic!() };
        let im = re.sqr().unwrap().affine(2.0, -0.5).unwrap();
        Value::Complex(Complex { re, im })
    }

    fn parts(value: &Value) -> (Vec<f64>, Vec<f64>) {
        let part = |t: &Tensor| {
            elements::to_vec::<f64>(&t.to_dtype(candle_core::DType::F64).unwrap()).unwrap()
        };
        match value {
            Value::Complex(c) => (part(&c.re), part(&c.im)),
            Value::Real(t) | Value::Bool(t) => (part(t), vec![0.0; t.elem_count()]),
        }
    }

    /// The transform along `dim` by its definition.
    fn naive(value: &Value, dim: usize, inverse: bool) -> Vec<(f64, f64)> {
        let ((re, im), dims) = (parts(value), value.dims());
        let (n, stride) = (dims[dim], dims::strides(dims)[dim]);
        let sign = if inverse { 1.0 } else { -1.0 };
        let element = |at: usize| {
            let (k, start) = (at / stride % n, at - at / stride % n * stride);
            (0..n).fold((0.0, 0.0), |(x, y), j| {
                let (sin, cos) = (sign * TAU * ((j * k) % n) as f64 / n as f64).sin_cos();
                let (a, b) = (re[start + j * stride], im[start + j * stride]);
                (x + a * cos - b * sin, y + a * sin + b * cos)
            })
        };
        (0..re.len()).map(element).collect()
    }

    fn assert_close(value: &Value, expected: &[(f64, f64)], tolerance: f64, what: &str) {
        let (re, im) = parts(value);
        assert_eq!(re.len(), expected.len(), "{what}");
        for (i, (x, y)) in expected.iter().enumerate() {
            assert!(
                (re[i] - x).abs() < tolerance && (im[i] - y).abs() < tolerance,
                "{what} at {i}"
            );
        }
    }

    #[test]
    fn every_length_and_dim_agrees_with_the_definition() {
        for n in 1..=40 {
            for dim in 0..3 {
                let mut dims = vec![2, 3, 2];
                dims[dim] = n;
                let what = format!("{n} along {dim}");
                let signed = dim as i64 - 3;
                for (kind, tolerance) in [(Kind::F64, 1e-11), (Kind::F32, 1e-4)] {
                    let x = real(&dims, kind);
                    let spectrum = Transform::Fft.apply(&x, signed, None, Norm::Backward).unwrap();
                    assert_eq!(Kind::of(&spectrum), kind.to_complex());
                    assert_close(&spectrum, &naive(&x, dim, false), tolerance, &what);
                    let half = Transform::Rfft.apply(&x, signed, None, Norm::Backward).unwrap();
                    let expected = spectrum.map(|t| t.narrow(dim, 0, n / 2 + 1)).unwrap();
                    let (re, im) = parts(&expected);
                    assert_close(
                        &half,
                        &re.into_iter().zip(im).collect::<Vec<_>>(),
                        tolerance,
                        &what,
                    );
                    let back = Transform::Irfft
                        .apply(&half, signed, Some(n as i64), Norm::Backward)
                        .unwrap();
                    assert_eq!((Kind::of(&back), back.dims()), (kind, dims.as_slice()));
                    let (re, im) = parts(&x);
                    assert_close(
                        &back,
                        &re.into_iter().zip(im).collect::<Vec<_>>(),
                        tolerance,
                        &what,
                    );
                }
                let z = complex(&dims);
                let forward = Transform::Fft.apply(&z, signed, None, Norm::Backward).unwrap();
                assert_close(&forward, &naive(&z, dim, false), 1e-11, &what);
                let inverse = Transform::Ifft.apply(&z, signed, None, Norm::Forward).unwrap();
                assert_close(&inverse, &naive(&z, dim, true), 1e-11, &what);
            }
        }
    }

    #[test]
    fn norms_divide_as_their_names_say() {
        let x = complex(&[6]);
        let plain = naive(&x, 0, false);
        for (norm, forward) in
            [(Norm::Backward, 1.0), (Norm::Ortho, 6f64.sqrt()), (Norm::Forward, 6.0)]
        {
            let scaled: Vec<_> =
                plain.iter().map(|(re, im)| (re / forward, im / forward)).collect();
            let spectrum = Transform::Fft.apply(&x, 0, None, norm).unwrap();
            assert_close(&spectrum, &scaled, 1e-12, "forward");
            let (re, im) = parts(&x);
            let back = Transform::Ifft.apply(&spectrum, 0, None, norm).unwrap();
            assert_close(&back, &re.into_iter().zip(im).collect::<Vec<_>>(), 1e-12, "back");
        }
        assert_eq!(Norm::parse("orto").unwrap_err().message(), {
            "norm must be \"backward\", \"ortho\" or \"forward\", not \"orto\""
        });
    }

    #[test]
    fn numbers_near_the_largest_do_not_overflow() {
        let x = Value::Real(Tensor::new(&[3e38f32, 0.0, 0.0, 0.0], &Device::Cpu).unwrap());
        for transform in [Transform::Fft, Transform::Rfft] {
            let (re, im) = parts(&transform.apply(&x, 0, None, Norm::Backward).unwrap());
            assert!(
                re.iter().all(|re| (re / 3e38 - 1.0).abs() < 1e-6)
                    && im.iter().all(|im| *im == 0.0),
                "{re:?} {im:?}"
            );
        }
    }

    #[test]
    fn a_length_cuts_or_pads() {
        let x = real(&[2, 5], Kind::F64);
        let Value::Real(t) = &x else { panic!() };
        let cut = Value::Real(t.narrow(1, 0, 3).unwrap());
        let padded = Value::Real(t.pad_with_zeros(1, 0, 3).unwrap());
        for (n, same) in [(3, cut), (8, padded)] {
            let spectrum = Transform::Fft.apply(&x, -1, Some(n), Norm::Backward).unwrap();
            assert_close(&spectrum, &naive(&same, 1, false), 1e-12, "fft");
            let half = Transform::Rfft.apply(&x, -1, Some(n), Norm::Backward).unwrap();
            assert_eq!(half.dims(), [2, n as usize / 2 + 1]);
            let back = Transform::Irfft.apply(&half, -1, Some(n), Norm::Backward).unwrap();
            let (re, im) = parts(&same);
            assert_close(&back, &re.into_iter().zip(im).collect::<Vec<_>>(), 1e-12, "irfft");
        }
        assert_eq!(Transform::Irfft.apply(&x, -1, None, Norm::Backward).unwrap().dims(), [2, 8]);
    }

    #[test]
    fn any_dtype_goes_in_and_faults_are_sentences() {
        for kind in [Kind::Bool, Kind::I64, Kind::F16, Kind::BF16] {
            let x = dtype::cast(&real(&[4], Kind::F32), kind).unwrap();
            assert_eq!(
                Kind::of(&Transform::Fft.apply(&x, 0, None, Norm::Backward).unwrap()),
                Kind::C64
            );
        }
        let message = |transform: Transform, x: &Value, dim, n| {
            transform.apply(x, dim, n, Norm::Backward).unwrap_err().message().to_owned()
        };
        assert_eq!(
            message(Transform::Rfft, &complex(&[4]), 0, None),
            "rfft needs a real tensor, and this one is complex"
        );
        assert_eq!(
            message(Transform::Irfft, &real(&[2, 1], Kind::F32), 1, None),
            "irfft: the length must be at least 1, and along dim 1 of [2, 1] it is 0"
        );
        message(Transform::Fft, &real(&[0], Kind::F32), 0, None);
        message(Transform::Fft, &real(&[4], Kind::F32), 1, None);
        message(Transform::Fft, &real(&[], Kind::F32), -1, None);
        message(Transform::Fft, &real(&[4], Kind::F32), 0, Some(i64::MAX));
        let empty =
            Transform::Fft.apply(&real(&[0, 4], Kind::F32), -1, None, Norm::Backward).unwrap();
        assert_eq!(empty.dims(), [0, 4]);
    }
}
