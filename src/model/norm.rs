//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019), with the scale they divide by
//! as a hook point.

use candle_core::{D, DType, Tensor};

use super::linear::Change;
use super::pass::{Halt, Tap};
use super::spec::NormKind;
use crate::hook::Point;
use crate::{Result, kernel};

/// y = (x − mean) / scale · weight + bias; an RMS norm takes no mean.
#[derive(Debug, Clone)]
pub struct Norm {
    pub kind: NormKind,
    pub eps: f64,
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
}

impl Norm {
    /// With other tensors for the weights.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let weight = self.weight.as_ref().map(&mut *f).transpose()?;
        Ok(Self { weight, bias: self.bias.as_ref().map(f).transpose()?, ..*self })
    }

    /// [.., d] to [.., d], with the scale [.., 1] standing at `points`, one after the other.
    pub fn forward(&self, x: &Tensor, points: &[Point], tap: &mut Tap) -> Result<Tensor, Halt> {
        if !points.iter().any(|point| tap.wants(*point)) {
            return Ok(self.plain(x)?);
        }
        let (centred, scale) = match self.rule().scale(x) {
            Some(scale) => (None, scale?),
            None => {
                let (centred, scale) = self.centre(x)?;
                (Some(centred), scale)
            }
        };
        let scale = points.iter().try_fold(scale, |scale, point| tap.at(*point, scale))?;
        let centred = match centred {
            Some(centred) => centred,
            None => match self.rule().normed(x, Some(&scale)) {
                Some(y) => return Ok(y?),
                None => self.centre(x)?.0,
            },
        };
        Ok(self.finish(&centred, &scale, x.dtype())?)
    }

    /// The norm where nobody looks at its scale.
    pub fn plain(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.rule().normed(x, None).or_else(|| self.fused(x)) {
            return Ok(y?);
        }
        let (centred, scale) = self.centre(x)?;
        self.finish(&centred, &scale, x.dtype())
    }

    fn fused(&self, x: &Tensor) -> Option<candle_core::Result<Tensor>> {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        match self.kind {
            NormKind::Layer => kernel::fused::layer_norm(x, weight, bias, self.eps),
            NormKind::Rms => kernel::fused::rms_norm(x, weight, self.eps),
        }
    }

    fn rule(&self) -> kernel::norm::Rule<'_> {
        kernel::norm::Rule {
            centred: self.kind == NormKind::Layer,
            eps: self.eps as f32,
            weight: self.weight.as_ref(),
            bias: self.bias.as_ref(),
        }
    }

    /// x less its mean, and √(variance + eps): in two passes, since E[x²] − mean² cancels to
    /// nothing where the mean is large. Half types are widened to float32.
    fn centre(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = if matches!(x.dtype(), DType::F16 | DType::BF16) {
            x.to_dtype(DType::F32)?
        } else {
            x.clone()
        };
        let centred = match self.kind {
            NormKind::Rms => x,
            NormKind::Layer => {
                // The second subtraction takes away what rounding left of the mean in the first.
                let once = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                once.broadcast_sub(&once.mean_keepdim(D::Minus1)?)?
            }
        };
        let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        Ok((centred, scale))
    }

    fn finish(&self, centred: &Tensor, scale: &Tensor, dtype: DType) -> Result<Tensor> {
        let mut y = centred.broadcast_div(scale)?;
        if let Some(weight) = &self.weight {
            y = y.broadcast_mul(&weight.to_dtype(y.dtype())?)?;
        }
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.to_dtype(y.dtype())?)?;
        }
        Ok(y.to_dtype(dtype)?)
    }
}
