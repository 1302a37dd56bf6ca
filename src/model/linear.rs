//! Linear projections: y = x·Wᵀ + bias.

use candle_core::Tensor;

use crate::Result;
use crate::kernel::product;

/// Replaces a weight: copies it to another device, for example.
pub type Change<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// A projection with weights [out, in] and a bias \[out\].
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Linear {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        Ok(Self { weight: f(&self.weight)?, bias: self.bias.as_ref().map(f).transpose()? })
    }

    /// [.., in] to [.., out], in the dtype of x.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(product::linear(x, &self.weight, self.bias.as_ref())?)
    }
}
