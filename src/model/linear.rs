//! Linear projections: y = scale · (x·Wᵀ + bias).

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernel::half_precision::widen;
use crate::kernel::product;

/// Replaces a weight: copies it to another device, for example.
pub type Change<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// A projection with weights [out, in], a bias \[out\] and a factor on its result.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub scale: Option<f64>,
}

impl Linear {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let weight = f(&self.weight)?;
        Ok(Self { weight, bias: self.bias.as_ref().map(f).transpose()?, scale: self.scale })
    }

    /// [.., in] to [.., out], in the dtype of x.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        scaled(product::linear(x, &self.weight, self.bias.as_ref())?, self.scale)
    }

    /// What stands in for the weights where there is no factor, [out, in], in `dtype`: in a model of
    /// float32 they may be kept in half precision.
    ///
    /// # Errors
    /// candle's.
    pub fn whole_weight(&self, dtype: DType) -> Result<Tensor> {
        let weight = match dtype {
            DType::F32 => widen(&self.weight)?,
            dtype => self.weight.to_dtype(dtype)?,
        };
        scaled(weight, self.scale)
    }

    /// As [`whole_weight`](Self::whole_weight), of the bias \[out\], which is zeros if there is none.
    ///
    /// # Errors
    /// candle's.
    pub fn whole_bias(&self) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => scaled(bias.clone(), self.scale),
            None => {
                let weight = &self.weight;
                Ok(Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?)
            }
        }
    }
}

fn scaled(x: Tensor, scale: Option<f64>) -> Result<Tensor> {
    match scale {
        Some(scale) => Ok((x * scale)?),
        None => Ok(x),
    }
}
