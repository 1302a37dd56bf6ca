//! Where a model's weights are read from: the interface between checkpoints and the decoder.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use crate::{Result, bail};

/// Tensors by name, read when they are asked for.
pub trait WeightSource {
    /// The names of all tensors.
    fn names(&self) -> Vec<String>;

    /// Whether there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;

    /// The tensor in `dtype` on `device`.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor>;

    /// The tensor on the CPU for products in float32: in half precision where it is stored so, which
    /// takes half the memory and loses nothing.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_factor(&self, name: &str) -> Result<Tensor> {
        self.load(name, DType::F32, &Device::Cpu)
    }
}

/// Weights that are already in memory.
impl WeightSource for HashMap<String, Tensor> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(tensor) = self.get(name) else { bail!("there is no weight {name}") };
        Ok(tensor.to_device(device)?.to_dtype(dtype)?)
    }
}
