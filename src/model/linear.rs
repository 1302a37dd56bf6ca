//! A projection: y = x·Wᵀ + bias.

use candle_core::Tensor;

use super::kernel::few_rows;
use crate::Result;

/// Weights [out, in], and a bias [out].
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Linear {
    /// [.., in] to [.., out].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.without_bias(x)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    pub fn without_bias(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let input = dims.pop().unwrap_or(1);
        let rows = dims.iter().product::<usize>();
        dims.push(self.weight.dim(0)?);
        // One product of two matrices: candle's batched product would repeat the weights for every row of the batch.
        let x = x.reshape((rows, input))?;
        let y = match few_rows(&x, &self.weight) {
            Some(y) => y?,
            None => x.matmul(&self.weight.t()?)?,
        };
        Ok(y.reshape(dims)?)
    }
}
