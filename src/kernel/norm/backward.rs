//! The derivatives of norms. With x̂ = (x − mean) / scale and the gradient g of the result, γ = g · weight:
//! of the whole norm (γ − mean γ − x̂ · mean γ·x̂) / scale; of its second half (γ − mean γ) / scale with
//! regard to x and −Σ γ·x̂ / scale with regard to the scale; of its first half x̂ / d. Without centring
//! there is no mean γ. The loops compute in float64 and round each result once.

use std::mem::MaybeUninit;

use candle_core::{D, DType, Result, Tensor};

use super::{LANES, Norm, fitting};
use crate::cpu::parallel;
use crate::cpu::simd::vectorized;
use crate::differentiable::{Backward, Gradients};
use crate::elements::{Elements, Float, filled_tensor};
use crate::elementwise::Binary::{Div, Mul, Sub};
use crate::half_precision::{round, widen};
use crate::sum::sum_of_rows;

impl Norm<'_> {
    /// Of [`Norm::apply`], with regard to x and to the weight and the bias that there are.
    pub(super) fn of_apply(&self, back: &Backward) -> Result<Gradients> {
        let x = &back.inputs[0];
        let (wide, g) = (widen(x)?, widen(back.gradient)?);
        let mut gradients =
            vec![back.of(0, || round(&self.of_stream(&wide, &g, None)?, x.dtype()))?];
        if let Some(weight) = self.weight {
            let normed = || Norm { weight: None, bias: None, ..*self }.plain(&wide);
            gradients
                .push(back.of(gradients.len(), || sum_to(&Mul.apply(&normed()?, &g)?, weight))?);
        }
        if let Some(bias) = self.bias {
            gradients.push(back.of(gradients.len(), || sum_to(&g, bias))?);
        }
        Ok(gradients)
    }

    /// Of [`Norm::finish`], with regard to x and the scale.
    pub(super) fn of_finish(&self, back: &Backward) -> Result<Gradients> {
        let (x, scale) = (&back.inputs[0], &back.inputs[1]);
        let (wide, g) = (widen(x)?, widen(back.gradient)?);
        Ok(vec![
            back.of(0, || round(&self.of_stream(&wide, &g, Some(scale))?, x.dtype()))?,
            back.of(1, || self.of_scale(&wide, &g, scale))?,
        ])
    }

    /// Of [`Norm::measure`], with regard to x.
    pub(super) fn of_measure(&self, back: &Backward) -> Result<Gradients> {
        let (x, scale) = (&back.inputs[0], &back.output);
        let of_x = || -> Result<Tensor> {
            let wide = widen(x)?;
            let of_x = match wide.dtype() {
                DType::F64 => self.measured_rows::<f64>(&wide, back.gradient, scale),
                _ => self.measured_rows::<f32>(&wide, back.gradient, scale),
            };
            let of_x = match of_x {
                Some(of_x) => of_x?,
                None => {
                    let each = (back.gradient.div(scale)? / wide.dim(D::Minus1)? as f64)?;
                    Mul.apply(&self.centre(&wide)?, &each)?
                }
            };
            round(&of_x, x.dtype())
        };
        Ok(vec![back.of(0, of_x)?])
    }

    /// With regard to x: of the whole norm, or with a given scale of the second half alone.
    fn of_stream(&self, x: &Tensor, g: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        let weight = self.weight.map(|weight| weight.to_dtype(x.dtype())).transpose()?;
        let of_x = match x.dtype() {
            DType::F64 => self.stream_rows::<f64>(x, g, weight.as_ref(), scale),
            _ => self.stream_rows::<f32>(x, g, weight.as_ref(), scale),
        };
        if let Some(of_x) = of_x {
            return of_x;
        }
        let weighted = self.weighted(g)?;
        let centred = self.centre(x)?;
        let through = |of_normed: Tensor, scale: &Tensor| -> Result<Tensor> {
            let of_normed = match self.centred {
                true => Sub.apply(&of_normed, &of_normed.mean_keepdim(D::Minus1)?)?,
                false => of_normed,
            };
            Div.apply(&of_normed, scale)
        };
        match scale {
            Some(scale) => through(weighted, scale),
            None => {
                let scale = self.scale_of_centred(&centred)?;
                let normed = Div.apply(&centred, &scale)?;
                let along = Mul.apply(&weighted, &normed)?.mean_keepdim(D::Minus1)?;
                through(Sub.apply(&weighted, &Mul.apply(&normed, &along)?)?, &scale)
            }
        }
    }

    fn of_scale(&self, x: &Tensor, g: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let weight = self.weight.map(|weight| weight.to_dtype(x.dtype())).transpose()?;
        let of_scale = match x.dtype() {
            DType::F64 => self.scale_rows::<f64>(x, g, weight.as_ref(), scale),
            _ => self.scale_rows::<f32>(x, g, weight.as_ref(), scale),
        };
        match of_scale {
            Some(of_scale) => of_scale,
            None => {
                let along =
                    Mul.apply(&self.weighted(g)?, &self.centre(x)?)?.sum_keepdim(D::Minus1)?;
                along.div(&scale.sqr()?)?.neg()
            }
        }
    }

    fn weighted(&self, g: &Tensor) -> Result<Tensor> {
        match self.weight {
            Some(weight) => Mul.apply(g, &weight.to_dtype(g.dtype())?),
            None => Ok(g.clone()),
        }
    }

    fn stream_rows<T: Float>(
        &self,
        x: &Tensor,
        g: &Tensor,
        weight: Option<&Tensor>,
        scales: Option<&Tensor>,
    ) -> Option<Result<Tensor>> {
        let rows = Rows::<T>::of(x, g, weight, scales)?;
        let (x, g, weight, scales) =
            (&*rows.x, &*rows.g, rows.weight.as_deref(), rows.scales.as_deref());
        let d = rows.d;
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, d, d, |row, out| {
                let (x, g) = (&x[row * d..][..d], &g[row * d..][..d]);
                let mean = self.mean(x);
                let scale = scales.map_or_else(|| self.scale(x, mean), |scales| scales[row]);
                let inverse = 1.0 / scale.into();
                let [sum, along] = sums(g, x, weight, mean, inverse).map(|sum| sum / d as f64);
                let sum = if self.centred { sum } else { 0.0 };
                let along = if scales.is_some() { 0.0 } else { along };
                spread(out, g, x, weight, mean, inverse, [sum, along]);
            });
        };
        // SAFETY: the rows cover the output, and `spread` writes all of a row, since x, g and weight
        // have its length.
        Some(unsafe { filled_tensor(rows.shape.clone(), fill) })
    }

    fn scale_rows<T: Float>(
        &self,
        x: &Tensor,
        g: &Tensor,
        weight: Option<&Tensor>,
        scale: &Tensor,
    ) -> Option<Result<Tensor>> {
        let rows = Rows::<T>::of(x, g, weight, Some(scale))?;
        let (x, g, weight, scales) =
            (&*rows.x, &*rows.g, rows.weight.as_deref(), rows.scales.as_deref()?);
        let d = rows.d;
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, 1, d, |row, out| {
                let (x, g) = (&x[row * d..][..d], &g[row * d..][..d]);
                let inverse = 1.0 / scales[row].into();
                let [_, along] = sums(g, x, weight, self.mean(x), inverse);
                out[0].write(T::from_f64(-along * inverse));
            });
        };
        // SAFETY: every row of one element is written.
        Some(unsafe { filled_tensor(scale.shape().clone(), fill) })
    }

    fn measured_rows<T: Float>(
        &self,
        x: &Tensor,
        g: &Tensor,
        scale: &Tensor,
    ) -> Option<Result<Tensor>> {
        let (&d, given) = (x.dims().last()?, Elements::<T>::contiguous(x)?);
        let (g, scales) = (Elements::<T>::contiguous(g)?, Elements::<T>::contiguous(scale)?);
        let (given, g, scales) = (&*given, &*g, &*scales);
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, d, d, |row, out| {
                let x = &given[row * d..][..d];
                let each = g[row].into() / (scales[row].into() * d as f64);
                multiples(out, x, self.mean(x), each);
            });
        };
        // SAFETY: the rows cover the output, and `multiples` writes all of a row, since x has its
        // length.
        Some(unsafe { filled_tensor(x.shape().clone(), fill) })
    }
}

/// What the loops read.
struct Rows<'a, T> {
    shape: &'a candle_core::Shape,
    d: usize,
    x: Elements<'a, T>,
    g: Elements<'a, T>,
    weight: Option<Elements<'a, T>>,
    scales: Option<Elements<'a, T>>,
}

impl<'a, T: Float> Rows<'a, T> {
    /// Nothing if the loops do not take the tensors.
    fn of(
        x: &'a Tensor,
        g: &'a Tensor,
        weight: Option<&'a Tensor>,
        scales: Option<&'a Tensor>,
    ) -> Option<Self> {
        let &d = x.dims().last()?;
        let (weight, scales) = (fitting::<T>(weight)?, fitting::<T>(scales)?);
        let rows = Self {
            shape: x.shape(),
            d,
            x: Elements::contiguous(x)?,
            g: Elements::contiguous(g)?,
            weight,
            scales,
        };
        let one_each = rows.scales.as_ref().is_none_or(|scales| scales.len() * d == rows.x.len());
        let as_wide = rows.weight.as_ref().is_none_or(|weight| weight.len() == d);
        (one_each && as_wide && rows.g.len() == rows.x.len()).then_some(rows)
    }
}

/// The sum of x over the dims along which `of` was broadcast to its shape, in the shape and dtype of
/// `of`.
fn sum_to(x: &Tensor, of: &Tensor) -> Result<Tensor> {
    let sum = match *of.dims() {
        [d] if x.dims().last() == Some(&d) => {
            sum_of_rows(&x.reshape((x.elem_count() / d.max(1), d))?)?
        }
        _ => {
            let before = x.rank() - of.rank();
            let alike = |dim: usize| dim >= before && of.dims()[dim - before] == x.dims()[dim];
            let summed: Vec<usize> = (0..x.rank()).filter(|dim| !alike(*dim)).collect();
            x.sum_keepdim(summed)?.reshape(of.shape())?
        }
    };
    sum.to_dtype(of.dtype())
}

vectorized! {
    /// Σ γ and Σ γ·x̂; x and weight are as long as g.
    fn sums[T: Float](
        g: &[T],
        x: &[T],
        weight: Option<&[T]>,
        mean: f64,
        inverse: f64,
    ) -> [f64; 2] {
        let (mut all, mut along) = ([0f64; LANES], [0f64; LANES]);
        let (whole, rest) = g.as_chunks::<LANES>();
        let (x_whole, x_rest) = x.as_chunks::<LANES>();
        let (weight_whole, weight_rest) = weight.unwrap_or(&[]).as_chunks::<LANES>();
        for (at, (g, x)) in whole.iter().zip(x_whole).enumerate() {
            let weight = weight_whole.get(at).map_or([1.0; LANES], |weight| weight.map(T::into));
            for lane in 0..LANES {
                let weighted = g[lane].into() * weight[lane];
                all[lane] += weighted;
                along[lane] += weighted * (x[lane].into() - mean);
            }
        }
        for (at, (&g, &x)) in rest.iter().zip(x_rest).enumerate() {
            let weighted = g.into() * weight_rest.get(at).map_or(1.0, |&weight| weight.into());
            all[at] += weighted;
            along[at] += weighted * (x.into() - mean);
        }
        [all.iter().sum(), along.iter().sum::<f64>() * inverse]
    }
}

vectorized! {
    /// Writes (γ − sum − x̂ · along) / scale to all of `out`, if the other slices are as long. `taken` are
    /// the sum and what is taken along x̂.
    fn spread[T: Float](
        out: &mut [MaybeUninit<T>],
        g: &[T],
        x: &[T],
        weight: Option<&[T]>,
        mean: f64,
        inverse: f64,
        taken: [f64; 2],
    ) {
        let (sum, along) = (taken[0], taken[1] * inverse);
        let rest = x.iter().map(|&x| (x.into() - mean) * along + sum);
        match weight {
            Some(weight) => {
                for (((out, rest), &g), &weight) in out.iter_mut().zip(rest).zip(g).zip(weight) {
                    out.write(T::from_f64((g.into() * weight.into() - rest) * inverse));
                }
            }
            None => {
                for ((out, rest), &g) in out.iter_mut().zip(rest).zip(g) {
                    out.write(T::from_f64((g.into() - rest) * inverse));
                }
            }
        }
    }
}

vectorized! {
    /// Writes (x − mean) · each to all of `out`, if x is as long.
    fn multiples[T: Float](out: &mut [MaybeUninit<T>], x: &[T], mean: f64, each: f64) {
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(T::from_f64((x.into() - mean) * each));
        }
    }
}
