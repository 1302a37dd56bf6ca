//! A projection: y = x·Wᵀ + bias.

use candle_core::Tensor;

use crate::Result;
use crate::kernel::product;

/// What becomes of each weight.
pub type Change<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Weights [out, in], and a bias [out].
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Linear {
    /// With other tensors for the weights.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        Ok(Self { weight: f(&self.weight)?, bias: self.bias.as_ref().map(f).transpose()? })
    }

    /// [.., in] to [.., out].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let input = dims.pop().unwrap_or(1);
        let rows = dims.iter().product::<usize>();
        dims.push(self.weight.dim(0)?);
        // One product of two matrices: candle's batched product would repeat the weights for every
        // row of the batch.
        let x = x.reshape((rows, input))?;
        Ok(product::linear(&x, &self.weight, self.bias.as_ref())?.reshape(dims)?)
    }
}
