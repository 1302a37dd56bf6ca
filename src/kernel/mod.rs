//! Kernels for float32 on the CPU (but for [`fused`]), vectorised and on all cores, where candle's
//! own use one core, read more than they must, or make what nobody looks at. Each gives nothing
//! where another way is better: other devices and dtypes, tensors that remember how they were made
//! so that gradients can flow back.

pub mod activation;
pub mod attention;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod few_rows;
pub mod fused;
pub mod norm;
mod product;
pub mod rotary;
pub mod softmax;
mod sum;

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::ops::Deref;

use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
pub use few_rows::few_rows;
pub use product::product;
pub use sum::{sum, sum_of_heads};

/// Whether the kernels compute with such a tensor.
fn suits(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op()
}

/// Elements that are read where they stand.
struct Elements<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    layout: &'a Layout,
}

impl<'a> Elements<'a> {
    fn of(x: &'a Tensor) -> Self {
        let (storage, layout) = x.storage_and_layout();
        Self { storage: Box::new(storage), layout }
    }

    /// From the tensor's first on.
    fn f32(&self) -> Result<&[f32]> {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => Ok(&all[self.layout.start_offset()..]),
            _ => bail!("this kernel reads float32 on the CPU"),
        }
    }

    fn u8(&self) -> Result<&[u8]> {
        match &**self.storage {
            Storage::Cpu(CpuStorage::U8(all)) => Ok(&all[self.layout.start_offset()..]),
            _ => bail!("this kernel reads bytes on the CPU"),
        }
    }

    /// All of a tensor that lies in one piece.
    fn whole(&self) -> Result<&[f32]> {
        Ok(&self.f32()?[..self.layout.shape().elem_count()])
    }
}

/// A tensor of what `fill` writes.
///
/// # Safety
/// `fill` must write every element unless it fails.
unsafe fn made(
    shape: impl Into<Shape>,
    fill: impl FnOnce(&mut [MaybeUninit<f32>]) -> Result<()>,
) -> Result<Tensor> {
    let shape = shape.into();
    let count = shape.elem_count();
    let mut elements = Vec::with_capacity(count);
    fill(&mut elements.spare_capacity_mut()[..count])?;
    // SAFETY: they have been written.
    unsafe { elements.set_len(count) };
    Tensor::from_vec(elements, shape, &Device::Cpu)
}
