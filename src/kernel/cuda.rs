//! What candle lacks on NVIDIA GPUs: copies from and to pinned host memory that run while the GPU
//! computes.
//!
//! A device computes on one stream of its own. cudarc could order the streams by tracking which of
//! them reads and writes each tensor, but that costs two events per tensor, so it is turned off. The
//! copies of this module, which run on a second stream, are ordered explicitly.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaEvent, CudaStream, DeviceRepr, PinnedHostSlice, sys,
};
use candle_core::cuda_backend::{
    CudaDType, set_gemm_reduced_precision_bf16, set_gemm_reduced_precision_f16,
    set_gemm_reduced_precision_f32,
};
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor, WithDType,
    bail,
};
use half::{bf16, f16};

/// Opens the GPU with this number. Products of float32 do not use TF32, and products of half types
/// accumulate in float32.
///
/// # Errors
/// There is no such GPU, or the driver fails.
pub fn open(ordinal: usize) -> Result<Device> {
    match CudaContext::device_count() {
        Err(cause) => bail!("NVIDIA's driver does not start ({:?})", cause.0),
        Ok(0) => bail!("NVIDIA's driver shows no GPU"),
        Ok(count) if ordinal >= count as usize => {
            bail!("the GPUs here are cuda:0 to cuda:{}", count - 1)
        }
        Ok(_) => {}
    }
    let device = Device::new_cuda_with_stream(ordinal)?;
    set_gemm_reduced_precision_f32(false);
    set_gemm_reduced_precision_f16(false);
    set_gemm_reduced_precision_bf16(false);
    if let Device::Cuda(device) = &device {
        // SAFETY: all tensors are used on the device's own stream. `CopyStream` and `Departed`, which use
        // another, make each stream wait for the other before it touches a shared tensor.
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// The free memory of a GPU, in bytes.
///
/// # Errors
/// The driver fails.
pub fn free_memory(device: &CudaDevice) -> Result<usize> {
    Ok(device.cuda_stream().context().mem_get_info().map_err(told)?.0)
}

fn told(cause: impl std::fmt::Debug) -> Error {
    Error::msg(format!("the GPU's driver says {cause:?}"))
}

/// Copies from pinned host memory to a GPU, on a stream of their own.
pub struct CopyStream {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// The addresses of the host memory that this stream has pinned.
    pinned: Mutex<Vec<usize>>,
}

impl CopyStream {
    /// # Errors
    /// The driver fails.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream().context().new_stream().map_err(told)?;
        Ok(Self { device: device.clone(), stream, pinned: Mutex::default() })
    }

    /// Pins the memory of a host tensor, which must outlive the stream.
    ///
    /// # Errors
    /// The tensor is not on the host or not of a float dtype, or the system allows no more pinned
    /// memory.
    pub fn pin(&self, host: &Tensor) -> Result<()> {
        let (storage, _) = host.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("only host memory is pinned") };
        let (at, bytes) = match storage {
            CpuStorage::F32(elements) => memory(elements),
            CpuStorage::F64(elements) => memory(elements),
            CpuStorage::F16(elements) => memory(elements),
            CpuStorage::BF16(elements) => memory(elements),
            _ => bail!("only weights of float dtypes are pinned"),
        };
        if bytes == 0 {
            return Ok(());
        }
        self.stream.context().bind_to_thread().map_err(told)?;
        // SAFETY: the memory belongs to the tensor, which the caller keeps until the stream has been
        // dropped and has unpinned it.
        match unsafe { sys::cuMemHostRegister_v2(at as *mut c_void, bytes, 0) } {
            sys::CUresult::CUDA_SUCCESS => {
                self.pinned.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                Ok(())
            }
            // A small tensor may share a page with one that is pinned already. The driver then
            // copies it through memory of its own.
            sys::CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED => Ok(()),
            cause => Err(told(cause)),
        }
    }

    /// Makes the copies that follow wait for the computations that the device was given before, so
    /// that they may overwrite memory which those use.
    ///
    /// # Errors
    /// The driver fails.
    pub fn follow(&self) -> Result<()> {
        self.stream.join(&self.device.cuda_stream()).map_err(told)
    }

    /// Begins to copy a pinned host tensor to the device. The result may be used once
    /// [`land`](Self::land) has been called, and the host tensor must outlive the stream.
    ///
    /// # Errors
    /// The tensor is not contiguous, not on the host or not of a float dtype, or the device has no
    /// memory for it.
    pub fn send(&self, host: &Tensor) -> Result<Tensor> {
        let (storage, layout) = host.storage_and_layout();
        let Storage::Cpu(from) = &*storage else { bail!("only host memory is sent") };
        let (start, end) = layout
            .contiguous_offsets()
            .ok_or_else(|| Error::msg("only what lies in one piece is sent"))?;
        let there = match from {
            CpuStorage::F32(elements) => self.copy(&elements[start..end])?,
            CpuStorage::F64(elements) => self.copy(&elements[start..end])?,
            CpuStorage::F16(elements) => self.copy(&elements[start..end])?,
            CpuStorage::BF16(elements) => self.copy(&elements[start..end])?,
            _ => bail!("only weights of float dtypes are sent"),
        };
        Ok(Tensor::from_storage(Storage::Cuda(there), layout.shape(), BackpropOp::none(), false))
    }

    fn copy<T: CudaDType + DeviceRepr>(&self, elements: &[T]) -> Result<CudaStorage> {
        // SAFETY: the memory is written before it is read, since `land` makes the device's stream
        // wait for this copy.
        let mut there = unsafe { self.device.alloc::<T>(elements.len())? };
        // The memory may have belonged to a tensor that earlier computations still read.
        self.follow()?;
        self.stream.memcpy_htod(elements, &mut there).map_err(told)?;
        Ok(CudaStorage::wrap_cuda_slice(there, self.device.clone()))
    }

    /// Makes the computations that the device is given from now on wait for the copies begun before.
    ///
    /// # Errors
    /// The driver fails.
    pub fn land(&self) -> Result<()> {
        self.device.cuda_stream().join(&self.stream).map_err(told)
    }
}

impl Drop for CopyStream {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        let _ = self.stream.context().bind_to_thread();
        for &at in self.pinned.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // SAFETY: this stream has pinned the memory, and the stream that copies from it has been
            // waited for above.
            let _ = unsafe { sys::cuMemHostUnregister(at as *mut c_void) };
        }
    }
}

fn memory<T>(elements: &[T]) -> (usize, usize) {
    (elements.as_ptr() as usize, size_of_val(elements))
}

/// A tensor that is being copied from a GPU to host memory while the GPU computes.
pub struct Departed {
    /// The pinned memory that is copied to, until [`land`](Self::land) takes it.
    staging: Option<PinnedHostSlice<u8>>,
    arrived: CudaEvent,
    dtype: DType,
    dims: Vec<usize>,
    /// Keeps the memory that is copied from alive.
    _from: Tensor,
}

thread_local! {
    /// Pinned memory of copies that have ended, for the next ones: allocating it is slow.
    static STAGING: RefCell<Vec<PinnedHostSlice<u8>>> = const { RefCell::new(Vec::new()) };
    /// The streams that copy to the host, one for each GPU.
    static STREAMS: RefCell<Vec<(usize, Arc<CudaStream>)>> = const { RefCell::new(Vec::new()) };
}

/// How many pieces of pinned memory are kept for the next copies.
const KEPT: usize = 4;

impl Departed {
    /// Begins to copy a contiguous tensor.
    ///
    /// # Errors
    /// The tensor is not contiguous or not on a GPU, or there is no pinned memory for it.
    pub fn new(from: &Tensor) -> Result<Self> {
        let Device::Cuda(device) = from.device() else { bail!("only a GPU's tensor departs") };
        let compute = device.cuda_stream();
        let stream = stream_beside(&compute)?;
        let bytes = from.elem_count() * from.dtype().size_in_bytes();
        let staging = staging(&compute, bytes)?;
        stream.join(&compute).map_err(told)?;
        {
            let (storage, layout) = from.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else { bail!("only a GPU's tensor departs") };
            let (start, end) = layout
                .contiguous_offsets()
                .ok_or_else(|| Error::msg("only what lies in one piece departs"))?;
            match from.dtype() {
                DType::F32 => depart::<f32>(storage, start, end, &staging, &stream)?,
                DType::F64 => depart::<f64>(storage, start, end, &staging, &stream)?,
                DType::F16 => depart::<f16>(storage, start, end, &staging, &stream)?,
                DType::BF16 => depart::<bf16>(storage, start, end, &staging, &stream)?,
                DType::I64 => depart::<i64>(storage, start, end, &staging, &stream)?,
                DType::U32 => depart::<u32>(storage, start, end, &staging, &stream)?,
                DType::U8 => depart::<u8>(storage, start, end, &staging, &stream)?,
                other => bail!("a tensor of {} is not supported here", other.as_str()),
            }
        }
        let arrived = stream.record_event(None).map_err(told)?;
        Ok(Self {
            staging: Some(staging),
            arrived,
            dtype: from.dtype(),
            dims: from.dims().to_vec(),
            _from: from.clone(),
        })
    }

    /// Waits for the copy and gives the tensor on the host.
    ///
    /// # Errors
    /// The driver fails.
    pub fn land(mut self) -> Result<Tensor> {
        self.arrived.synchronize().map_err(told)?;
        let Some(staging) = self.staging.take() else { bail!("it has landed already") };
        let here = match self.dtype {
            DType::F32 => self.read::<f32>(&staging),
            DType::F64 => self.read::<f64>(&staging),
            DType::F16 => self.read::<f16>(&staging),
            DType::BF16 => self.read::<bf16>(&staging),
            DType::I64 => self.read::<i64>(&staging),
            DType::U32 => self.read::<u32>(&staging),
            _ => self.read::<u8>(&staging),
        }?;
        STAGING.with_borrow_mut(|kept| {
            kept.push(staging);
            kept.sort_by_key(|staging| staging.len());
            if kept.len() > KEPT {
                kept.remove(0);
            }
        });
        Ok(here)
    }

    fn read<T: WithDType>(&self, staging: &PinnedHostSlice<u8>) -> Result<Tensor> {
        let count = self.dims.iter().product();
        let from = staging.as_ptr().map_err(told)?.cast::<T>();
        // SAFETY: `new` has copied `count` elements of this dtype there and `land` has waited for
        // them; pinned memory is aligned to pages; and every bit pattern is a number.
        let elements = unsafe { std::slice::from_raw_parts(from, count) };
        Ok(Tensor::from_slice(elements, self.dims.as_slice(), &Device::Cpu)?)
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        if self.staging.is_some() {
            let _ = self.arrived.synchronize();
        }
    }
}

fn depart<T: CudaDType + DeviceRepr>(
    from: &CudaStorage,
    start: usize,
    end: usize,
    to: &PinnedHostSlice<u8>,
    stream: &Arc<CudaStream>,
) -> Result<()> {
    let from = from.as_cuda_slice::<T>()?.slice(start..end);
    // SAFETY: `staging` has chosen memory of at least this size, aligned to pages. `Departed` owns
    // it, reads it only after the copy has ended, and waits for that before it is dropped.
    let to = unsafe {
        std::slice::from_raw_parts_mut(
            to.as_ptr().map_err(told)?.cast_mut().cast::<T>(),
            end - start,
        )
    };
    stream.memcpy_dtoh(&from, to).map_err(told)
}

fn stream_beside(compute: &Arc<CudaStream>) -> Result<Arc<CudaStream>> {
    let ordinal = compute.context().ordinal();
    STREAMS.with_borrow_mut(|streams| {
        if let Some((_, stream)) = streams.iter().find(|(known, _)| *known == ordinal) {
            return Ok(stream.clone());
        }
        let stream = compute.context().new_stream().map_err(told)?;
        streams.push((ordinal, stream.clone()));
        Ok(stream)
    })
}

fn staging(compute: &Arc<CudaStream>, bytes: usize) -> Result<PinnedHostSlice<u8>> {
    let kept = STAGING.with_borrow_mut(|kept| {
        let fits = kept.iter().position(|staging| staging.len() >= bytes)?;
        Some(kept.remove(fits))
    });
    match kept {
        Some(staging) => Ok(staging),
        // SAFETY: the copy writes the memory before it is read. It is cached (no write-combining
        // flag), because the host reads it.
        None => unsafe { compute.context().alloc_pinned_with_flags(bytes.max(1), 0) }.map_err(told),
    }
}
