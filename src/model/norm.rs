//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019), with the scale they divide by
//! as a hook point.

use candle_core::Tensor;

use super::linear::Change;
use super::spec::NormKind;
use super::tap::{Halt, Tap};
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

    /// [.., d] to [.., d]. The scale [.., 1] is computed apart from the rest, and stands at each of
    /// `points` in turn, only if a hook or a capture asks for it.
    pub fn forward(&self, x: &Tensor, points: &[Point], tap: &mut Tap) -> Result<Tensor, Halt> {
        if !points.iter().any(|point| tap.wants(*point)) {
            return Ok(self.plain(x)?);
        }
        let norm = self.kernel();
        let mut measured = norm.measure(x)?;
        for point in points {
            measured.scale = tap.at(*point, measured.scale)?;
        }
        Ok(norm.finish(x, measured)?)
    }

    /// [.., d] to [.., d], without the scale as a hook point.
    pub fn plain(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.kernel().apply(x)?)
    }

    fn kernel(&self) -> kernel::norm::Norm<'_> {
        kernel::norm::Norm {
            centred: self.kind == NormKind::Layer,
            eps: self.eps,
            weight: self.weight.as_ref(),
            bias: self.bias.as_ref(),
        }
    }
}
