//! Copies from host memory to a device, beside what computes there.

use candle_core::{CpuStorage, Device, Storage, Tensor};

use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernel::cuda;

/// On a CUDA GPU a stream of its own, with the host's memory pinned; elsewhere copies are made at
/// once.
pub enum Lane {
    #[cfg(feature = "cuda")]
    Cuda(cuda::Lane),
    Plain(Device),
}

impl Lane {
    /// # Errors
    /// The device's own.
    pub fn to(device: &Device) -> Result<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Cuda(cuda::Lane::new(device)?)),
            device => Ok(Self::Plain(device.clone())),
        }
    }

    /// A host tensor in memory that is ready to be copied from for as long as the lane lives.
    ///
    /// # Errors
    /// The device's own.
    pub fn settle(&self, host: &Tensor) -> Result<Tensor> {
        let settled = if is_whole(host) { host.clone() } else { host.force_contiguous()? };
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(lane) => lane.pin(&settled)?,
            Self::Plain(_) => {}
        }
        Ok(settled)
    }

    /// What is sent next may overwrite what the device has finished with by then.
    ///
    /// # Errors
    /// The device's own.
    pub fn follow(&self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(lane) => lane.follow(),
            Self::Plain(_) => Ok(()),
        }
    }

    /// The tensor on the device, once [`land`](Self::land) was called.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn send(&self, settled: &Tensor) -> Result<Tensor> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(lane) => lane.send(settled),
            Self::Plain(Device::Cpu) => Ok(settled.force_contiguous()?),
            Self::Plain(device) => Ok(settled.to_device(device)?),
        }
    }

    /// The device's computations from now on wait for what was sent before.
    ///
    /// # Errors
    /// The device's own.
    pub fn land(&self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(lane) => lane.land(),
            Self::Plain(_) => Ok(()),
        }
    }
}

/// Whether a tensor is all that its storage holds, in order.
fn is_whole(host: &Tensor) -> bool {
    let (storage, layout) = host.storage_and_layout();
    let length = match &*storage {
        Storage::Cpu(CpuStorage::F32(elements)) => elements.len(),
        Storage::Cpu(CpuStorage::F64(elements)) => elements.len(),
        Storage::Cpu(CpuStorage::F16(elements)) => elements.len(),
        Storage::Cpu(CpuStorage::BF16(elements)) => elements.len(),
        _ => return false,
    };
    layout.is_contiguous() && length == layout.shape().elem_count()
}
