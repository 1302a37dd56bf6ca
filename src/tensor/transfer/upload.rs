//! Copies from host memory to a device that run while the device computes.

use candle_core::{CpuStorage, Device, Storage, Tensor};

use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernel::cuda;

/// Copies from host memory to a device. To a CUDA GPU they go on a stream of their own, with the host's
/// memory pinned; to other devices, copies are made at once.
pub enum CopyStream {
    /// A stream of its own on a CUDA GPU.
    #[cfg(feature = "cuda")]
    Cuda(cuda::CopyStream),
    /// Any other device.
    Plain(Device),
}

impl CopyStream {
    /// Opens a stream to a device.
    ///
    /// # Errors
    /// The device fails.
    pub fn to(device: &Device) -> Result<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Cuda(cuda::CopyStream::new(device)?)),
            device => Ok(Self::Plain(device.clone())),
        }
    }

    /// A host tensor in memory that can be copied from while the stream lives: contiguous, and pinned
    /// if the device is a CUDA GPU. The result must outlive the stream.
    ///
    /// # Errors
    /// The device fails, or there is no memory to pin.
    pub fn settle(&self, host: &Tensor) -> Result<Tensor> {
        let settled = if is_whole(host) { host.clone() } else { host.force_contiguous()? };
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(stream) => stream.pin(&settled)?,
            Self::Plain(_) => {}
        }
        Ok(settled)
    }

    /// Makes the copies that follow wait for the computations that the device was given before, so
    /// that they may overwrite memory which those use.
    ///
    /// # Errors
    /// The device fails.
    pub fn follow(&self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(stream) => stream.follow(),
            Self::Plain(_) => Ok(()),
        }
    }

    /// Begins to copy a tensor that [`settle`](Self::settle) gave to the device. The result may be
    /// used once [`land`](Self::land) has been called.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn send(&self, settled: &Tensor) -> Result<Tensor> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(stream) => stream.send(settled),
            Self::Plain(Device::Cpu) => Ok(settled.force_contiguous()?),
            Self::Plain(device) => Ok(settled.to_device(device)?),
        }
    }

    /// Makes the computations that the device is given from now on wait for the copies begun before.
    ///
    /// # Errors
    /// The device fails.
    pub fn land(&self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(stream) => stream.land(),
            Self::Plain(_) => Ok(()),
        }
    }
}

/// Whether the tensor consists of all elements of its storage, in order.
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
