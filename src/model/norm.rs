//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019). The scale by which they divide
//! is a hook point.

use candle_core::Tensor;

use super::linear::Change;
use super::spec::NormKind;
use super::tap::{Halt, Tap};
use crate::hook::Point;
use crate::{Result, kernel};

/// y = (x − mean) / scale · weight + bias, with scale = √(variance + eps); an RMS norm has no mean
/// and no bias, and scale = √(mean square + eps).
#[derive(Debug, Clone)]
pub struct Norm {
    pub kind: NormKind,
    pub eps: f64,
    /// The gain \[d\], or a shape that broadcasts with x.
    pub weight: Option<Tensor>,
    /// \[d\]
    pub bias: Option<Tensor>,
}

impl Norm {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let weight = self.weight.as_ref().map(&mut *f).transpose()?;
        Ok(Self { weight, bias: self.bias.as_ref().map(f).transpose()?, ..*self })
    }

    /// [.., d] to [.., d], with the scale [.., 1] at `points`, in their order. The scale is computed
    /// apart only if a hook or a capture asks for it; the scale that a hook put in its place is given
    /// too.
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn forward(
        &self,
        x: &Tensor,
        points: &[Point],
        tap: &mut Tap,
    ) -> Result<(Tensor, Option<Tensor>), Halt> {
        if !points.iter().any(|point| tap.wants(*point)) {
            return Ok((self.plain(x)?, None));
        }
        let mut scale = self.kernel().measure(x)?;
        let mut replaced = false;
        for point in points {
            scale = tap.at(*point, scale)?;
            replaced |= tap.replaced;
        }
        Ok((self.scaled(x, &scale)?, replaced.then_some(scale)))
    }

    /// The norm that divides x [.., d] by a given scale [.., 1].
    ///
    /// # Errors
    /// candle's.
    pub fn scaled(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        Ok(self.kernel().finish(x, scale)?)
    }

    /// The norm without hook points, [.., d] to [.., d].
    ///
    /// # Errors
    /// candle's.
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
