//! The node by which candle's graph of gradients has an operation of this crate. candle computes the
//! result of an operation when it makes its node; here the result is there already, so that the node
//! only hands it over.

use std::sync::Mutex;

#[cfg(feature = "cuda")]
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, Layout, Result, Shape,
    Storage, Tensor, bail,
};

use super::watch::show;
use super::{Backward, Derivative, lock};

/// The number of elements in the storage of a tensor on the CPU.
pub(super) fn storage_length(x: &Tensor) -> Option<usize> {
    let (storage, _layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::F64(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::F16(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::BF16(all)) => Some(all.len()),
        _ => None,
    }
}

/// Takes the storage out of a tensor without a copy, and leaves it an empty one.
#[derive(Default)]
struct Taken {
    cpu: Mutex<Option<CpuStorage>>,
    cuda: Mutex<Option<CudaStorage>>,
}

impl InplaceOp1 for Taken {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        let empty = CpuStorage::U8(Vec::new());
        put(&self.cpu, std::mem::replace(storage, empty));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let empty = storage.device().zeros_impl(&Shape::from(1), candle_core::DType::U8)?;
        put(&self.cuda, std::mem::replace(storage, empty));
        let _ = layout;
        Ok(())
    }
}

fn put<T>(slot: &Mutex<Option<T>>, value: T) {
    *lock(slot) = Some(value);
}

fn take<T>(slot: &Mutex<Option<T>>) -> Result<T> {
    match lock(slot).take() {
        Some(taken) => Ok(taken),
        None => bail!("the result of a node was computed on another device than its inputs"),
    }
}

/// A node of candle's graph: the result of an operation, computed already, and its derivative.
pub(super) struct Node {
    taken: Taken,
    shape: Shape,
    derivative: Derivative,
}

impl Node {
    /// The node of `output`, whose storage it takes.
    ///
    /// # Errors
    /// candle's.
    pub fn of(output: &Tensor, derivative: Derivative) -> Result<Self> {
        let (shape, taken) = (output.shape().clone(), Taken::default());
        output.inplace_op1(&taken)?;
        Ok(Self { taken, shape, derivative })
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        Ok((take(&self.taken.cpu)?, self.shape.clone()))
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        Ok((take(&self.taken.cuda)?, self.shape.clone()))
    }

    fn gradients<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        show(output, gradient);
        let gradients = (self.derivative)(&Backward::new(&inputs, output, gradient))?;
        for (input, gradient) in inputs.iter().zip(&gradients) {
            gradient.iter().for_each(|gradient| show(input, gradient));
        }
        match gradients.try_into() {
            Ok(gradients) => Ok(gradients),
            Err(_) => bail!("a derivative gives as many gradients as there are inputs"),
        }
    }
}

const NAME: &str = "differentiable";

impl CustomOp1 for Node {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(&self, a: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.gradients([a], output, gradient)?;
        Ok(a)
    }
}

impl CustomOp2 for Node {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients([a, b], output, gradient)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Node {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients([a, b, c], output, gradient)?;
        Ok((a, b, c))
    }
}
