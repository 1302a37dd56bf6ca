//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019) over the last dim.
//!
//! The mean and the variance are computed in two passes, because E\[x²\] − mean² cancels to nothing
//! if the mean is large. The loops of this module compute in float64 and round each result once.
//! Candle's operations, for other devices, take the mean in two steps instead: the second subtracts
//! what rounding has left of the mean after the first.

mod backward;

use std::mem::MaybeUninit;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops;

use crate::cpu::parallel;
use crate::cpu::simd::vectorized;
use crate::differentiable::differentiable;
use crate::elements::{Elements, Float, filled_tensor, fits_fused};
use crate::elementwise::Binary::{Add, Div, Mul, Sub};
use crate::elementwise::sqr;
use crate::half_precision::{round, widen};

/// y = (x − mean) / scale · weight + bias, with scale = √(mean of squares + eps). Half types are
/// computed in float32, and weight and bias in the dtype in which x is.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Whether the mean is subtracted (layer norm) or taken for 0 (RMS norm).
    pub centred: bool,
    /// What keeps the scale of a constant x above 0.
    pub eps: f64,
    /// \[d\]
    pub weight: Option<&'a Tensor>,
    /// \[d\]
    pub bias: Option<&'a Tensor>,
}

/// A norm without its tensors, and which of them it has.
#[derive(Clone, Copy)]
struct Form {
    centred: bool,
    eps: f64,
    weighted: bool,
}

impl Form {
    /// The norm with its weight, if it has one, and its bias.
    fn with(self, affine: &[Tensor]) -> Norm<'_> {
        let mut affine = affine.iter();
        let weight = if self.weighted { affine.next() } else { None };
        Norm { centred: self.centred, eps: self.eps, weight, bias: affine.next() }
    }
}

impl Norm<'_> {
    /// [.., d] to [.., d].
    ///
    /// # Errors
    /// Shapes that do not fit one another.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let form = self.form(self.weight.is_some());
        let inputs: Vec<&Tensor> = [x].into_iter().chain(self.weight).chain(self.bias).collect();
        let compute = |inputs: &[Tensor]| form.with(&inputs[1..]).plain(&inputs[0]);
        differentiable(&inputs, compute, move |back| form.with(&back.inputs[1..]).of_apply(back))
    }

    /// The scale of each row of x [.., d], [.., 1]: the first half of a norm, which a hook may
    /// replace.
    ///
    /// # Errors
    /// candle's.
    pub fn measure(&self, x: &Tensor) -> Result<Tensor> {
        let form = self.form(false);
        let compute = |x: &[Tensor]| form.with(&[]).scale_of(&widen(&x[0])?);
        differentiable(&[x], compute, move |back| form.with(&[]).of_measure(back))
    }

    /// The second half of the norm of x [.., d], by a scale [.., 1].
    ///
    /// # Errors
    /// Shapes that do not fit one another.
    pub fn finish(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let affine = || self.weight.into_iter().chain(self.bias);
        // A node has three inputs at most.
        let apart = affine().any(|row| row.track_op());
        let form = self.form(self.weight.is_some() && !apart);
        let rows: Vec<Tensor> = if apart { Vec::new() } else { affine().cloned().collect() };
        let kept = rows.clone();
        let y = differentiable(
            &[x, scale],
            |inputs| form.with(&rows).by_scale(&inputs[0], &inputs[1]),
            move |back| form.with(&kept).of_finish(back),
        )?;
        if apart { self.affine(y) } else { Ok(y) }
    }

    fn form(&self, weighted: bool) -> Form {
        Form { centred: self.centred, eps: self.eps, weighted }
    }

    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.fused(x) {
            return y;
        }
        let wide = widen(x)?;
        let y = match self.by_rows(&wide, None)? {
            Some(y) => y,
            None => {
                let centred = self.centre(&wide)?;
                self.affine(Div.apply(&centred, &self.scale_of_centred(&centred)?)?)?
            }
        };
        round(&y, x.dtype())
    }

    fn by_scale(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let wide = widen(x)?;
        let y = match self.by_rows(&wide, Some(scale))? {
            Some(y) => y,
            None => self.affine(Div.apply(&self.centre(&wide)?, scale)?)?,
        };
        round(&y, x.dtype())
    }

    fn affine(&self, mut y: Tensor) -> Result<Tensor> {
        if let Some(weight) = self.weight {
            y = Mul.apply(&y, &weight.to_dtype(y.dtype())?)?;
        }
        match self.bias {
            Some(bias) => Add.apply(&y, &bias.to_dtype(y.dtype())?),
            None => Ok(y),
        }
    }

    fn scale_of(&self, wide: &Tensor) -> Result<Tensor> {
        let scales = match wide.dtype() {
            DType::F64 => self.scales::<f64>(wide),
            _ => self.scales::<f32>(wide),
        };
        scales.unwrap_or_else(|| self.scale_of_centred(&self.centre(wide)?))
    }

    fn scale_of_centred(&self, centred: &Tensor) -> Result<Tensor> {
        (sqr(centred)?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()
    }

    fn centre(&self, wide: &Tensor) -> Result<Tensor> {
        if !self.centred {
            return Ok(wide.clone());
        }
        let once = Sub.apply(wide, &wide.mean_keepdim(D::Minus1)?)?;
        Sub.apply(&once, &once.mean_keepdim(D::Minus1)?)
    }

    /// By candle-nn's kernels on a GPU.
    fn fused(&self, x: &Tensor) -> Option<Result<Tensor>> {
        let row =
            |t: &&Tensor| fits_fused(x) && !t.track_op() && t.rank() == 1 && t.is_contiguous();
        let weight = self.weight.filter(row)?;
        let normed = |bias: Option<&Tensor>| {
            let (wide, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
            let y = match bias {
                None => ops::rms_norm(&wide.contiguous()?, &weight, self.eps as f32)?,
                Some(bias) => {
                    // The kernel takes E[x²] − mean²: it gets rows whose mean is near 0.
                    let near = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
                    let bias = bias.to_dtype(DType::F32)?;
                    ops::layer_norm(&near, &weight, &bias, self.eps as f32)?
                }
            };
            y.to_dtype(x.dtype())
        };
        match (self.centred, self.bias) {
            (true, Some(bias)) if row(&bias) => Some(normed(Some(bias))),
            (false, None) => Some(normed(None)),
            _ => None,
        }
    }

    /// By the loops of this module, with the rows' own scales or those given.
    fn by_rows(&self, wide: &Tensor, scales: Option<&Tensor>) -> Result<Option<Tensor>> {
        let row = |t: Option<&Tensor>| t.map(|t| t.to_dtype(wide.dtype())).transpose();
        let (weight, bias) = (row(self.weight)?, row(self.bias)?);
        let affine = (weight.as_ref(), bias.as_ref());
        match wide.dtype() {
            DType::F64 => self.rows::<f64>(wide, scales, affine),
            _ => self.rows::<f32>(wide, scales, affine),
        }
        .transpose()
    }

    fn rows<T: Float>(
        &self,
        x: &Tensor,
        scales: Option<&Tensor>,
        (weight, bias): (Option<&Tensor>, Option<&Tensor>),
    ) -> Option<Result<Tensor>> {
        let &d = x.dims().last()?;
        let given = Elements::<T>::contiguous(x)?;
        let (scales, weight, bias) = (fitting(scales)?, fitting(weight)?, fitting(bias)?);
        let (scales, weight, bias) = (scales.as_deref(), weight.as_deref(), bias.as_deref());
        let one_each = scales.is_none_or(|scales| scales.len() * d == given.len());
        if !one_each || [weight, bias].into_iter().flatten().any(|row| row.len() != d) {
            return None;
        }
        let given = &*given;
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, d, d, |row, out| {
                let x = &given[row * d..][..d];
                let mean = self.mean(x);
                let scale = scales.map_or_else(|| self.scale(x, mean), |scales| scales[row]);
                normalise(out, x, mean, scale, weight, bias);
            });
        };
        // SAFETY: the rows cover the output, and `normalise` writes all of a row, since x, weight
        // and bias have its length.
        Some(unsafe { filled_tensor(x.shape().clone(), fill) })
    }

    fn scales<T: Float>(&self, x: &Tensor) -> Option<Result<Tensor>> {
        let (&d, before) = x.dims().split_last()?;
        let given = Elements::<T>::contiguous(x)?;
        let given = &*given;
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, 1, d, |row, out| {
                let x = &given[row * d..][..d];
                out[0].write(self.scale(x, self.mean(x)));
            });
        };
        // SAFETY: every row of one element is written.
        Some(unsafe { filled_tensor([before, &[1]].concat(), fill) })
    }

    /// In float64: a sum in float32 of a few features that stand out loses digits of the mean, and
    /// with them all elements of the row.
    fn mean<T: Float>(&self, x: &[T]) -> f64 {
        if self.centred { sum(x) / x.len() as f64 } else { 0.0 }
    }

    fn scale<T: Float>(&self, x: &[T], mean: f64) -> T {
        T::from_f64((squares(x, mean) / x.len() as f64 + self.eps).sqrt())
    }
}

/// The elements of a tensor that may be missing: nothing if there is one that does not fit.
fn fitting<T: Float>(x: Option<&Tensor>) -> Option<Option<Elements<'_, T>>> {
    match x {
        Some(x) => Elements::contiguous(x).map(Some),
        None => Some(None),
    }
}

/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 16;

vectorized! {
    /// Σ x
    fn sum[T: Float](x: &[T]) -> f64 {
        let mut sums = [0f64; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                sums[lane] += x[lane].into();
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += x.into();
        }
        sums.iter().sum()
    }
}

vectorized! {
    /// Σ (x − mean)²
    fn squares[T: Float](x: &[T], mean: f64) -> f64 {
        let mut sums = [0f64; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                let centred = x[lane].into() - mean;
                sums[lane] += centred * centred;
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            let centred = x.into() - mean;
            *sum += centred * centred;
        }
        sums.iter().sum()
    }
}

vectorized! {
    /// Writes all of `out`, if the other slices are as long. An element is computed in float64 and
    /// rounded once: in float32 the five roundings of a layer norm were 1.4 times PyTorch's error.
    fn normalise[T: Float](
        out: &mut [MaybeUninit<T>],
        x: &[T],
        mean: f64,
        scale: T,
        weight: Option<&[T]>,
        bias: Option<&[T]>,
    ) {
        let inverse: f64 = 1.0 / scale.into();
        let pairs = out.iter_mut().zip(x.iter().map(|&x| (x.into() - mean) * inverse));
        match (weight, bias) {
            (Some(weight), Some(bias)) => {
                for (((out, y), &weight), &bias) in pairs.zip(weight).zip(bias) {
                    out.write(T::from_f64(y * weight.into() + bias.into()));
                }
            }
            (Some(weight), None) => {
                for ((out, y), &weight) in pairs.zip(weight) {
                    out.write(T::from_f64(y * weight.into()));
                }
            }
            (None, Some(bias)) => {
                for ((out, y), &bias) in pairs.zip(bias) {
                    out.write(T::from_f64(y + bias.into()));
                }
            }
            (None, None) => {
                for (out, y) in pairs {
                    out.write(T::from_f64(y));
                }
            }
        }
    }
}
