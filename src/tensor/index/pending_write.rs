//! [`PendingWrite`], a write into host memory whose source is still being copied from a GPU.

use candle_core::Tensor;

use super::selection::{Index, Selection};
#[cfg(feature = "cuda")]
use super::subscript::fitted_to;
use super::subscript::write;
use crate::Result;
use crate::tensor::Value;
use crate::tensor::operand::Operand;
#[cfg(feature = "cuda")]
use crate::tensor::{Kind, dtype};

/// A write into a part of a tensor in host memory that is finished when its source has arrived from
/// a GPU. Until then the GPU can go on computing.
pub struct PendingWrite {
    selection: Selection,
    /// For each tensor of the target, waits for its source.
    parts: Vec<Box<dyn FnOnce() -> Result<Tensor>>>,
}

impl PendingWrite {
    /// A write into the part of `target` that `indexes` select. [`finish`](Self::finish) calls
    /// `parts`, one for each tensor of `target`, to wait for the source.
    ///
    /// # Errors
    /// As [`Selection::new`].
    pub fn new(
        target: &Value,
        indexes: &[Index],
        parts: Vec<Box<dyn FnOnce() -> Result<Tensor>>>,
    ) -> Result<Self> {
        Ok(Self { selection: Selection::new(indexes, target.dims())?, parts })
    }

    /// Starts the copy of a source on a GPU for a write into `target` in host memory, as
    /// [`set`](super::subscript::set) would do. `None` if the source is not on a CUDA GPU or the
    /// target is not in host memory.
    ///
    /// # Errors
    /// As [`set`](super::subscript::set).
    #[cfg(feature = "cuda")]
    pub fn start(target: &Value, indexes: &[Index], source: Operand) -> Result<Option<Self>> {
        let Operand::Tensor(value) = source else { return Ok(None) };
        let selection = Selection::new(indexes, target.dims())?;
        let shape = selection.dims();
        if !value.device().is_cuda() || !target.device().is_cpu() || shape.contains(&0) {
            return Ok(None);
        }
        let kind = Kind::of(target);
        let there = fitted_to(dtype::cast(value, kind)?, source.dims(), &shape)?;
        let parts = there.parts().into_iter().map(|part| {
            let departed = crate::kernel::cuda::Departed::new(part)?;
            Ok(Box::new(move || departed.land()) as Box<dyn FnOnce() -> Result<Tensor>>)
        });
        Ok(Some(Self { parts: parts.collect::<Result<_>>()?, selection }))
    }

    /// `None`: this build does not support CUDA GPUs. It never fails.
    #[cfg(not(feature = "cuda"))]
    pub fn start(_: &Value, _: &[Index], _: Operand) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Waits for the source and writes it into `target`, which must be the one given before.
    ///
    /// # Errors
    /// The CUDA driver reports one, or those of the functions given to [`new`](Self::new).
    pub fn finish(self, target: &Value) -> Result<()> {
        for (to, from) in target.parts().into_iter().zip(self.parts) {
            write(to, &self.selection, &from()?)?;
        }
        Ok(())
    }
}
