//! What candle does not do on NVIDIA GPUs: copies beside the computation, from and into pinned
//! memory.
//!
//! A device computes on one stream of its own. cudarc's tracking of who reads and writes what is
//! off (it costs two events for every tensor): where a second stream comes in, here, the order is
//! made by hand.

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
use candle_core::{CpuStorage, CudaDevice, CudaStorage, DType, Device, Storage, Tensor, WithDType};
use half::{bf16, f16};

use crate::{Error, Result, bail};

/// The GPU of a number. Products are exact to float32 (no TF32) and of half types accumulate in
/// float32.
///
/// # Errors
/// There is no such GPU; the driver's own.
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
        // SAFETY: tensors live on one stream; `Lane` and `Departed` wait for it where they use
        // another.
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// Bytes of the GPU's memory that nobody has taken.
///
/// # Errors
/// The driver's own.
pub fn free_memory(device: &CudaDevice) -> Result<usize> {
    Ok(device.cuda_stream().context().mem_get_info().map_err(told)?.0)
}

fn told(cause: impl std::fmt::Debug) -> Error {
    Error::new(format!("the GPU's driver says {cause:?}"))
}

/// Copies from pinned host memory to a GPU, on a stream of their own.
pub struct Lane {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// Where host memory was pinned.
    pinned: Mutex<Vec<usize>>,
}

impl Lane {
    /// # Errors
    /// The driver's own.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream().context().new_stream().map_err(told)?;
        Ok(Self { device: device.clone(), stream, pinned: Mutex::default() })
    }

    /// Pins a host tensor's memory, which must outlive the lane.
    ///
    /// # Errors
    /// The system allows no more of it.
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
        // SAFETY: the memory is there, and stays until the lane, which releases it, is gone.
        match unsafe { sys::cuMemHostRegister_v2(at as *mut c_void, bytes, 0) } {
            sys::CUresult::CUDA_SUCCESS => {
                self.pinned.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                Ok(())
            }
            // Small tensors may share a page with one that is pinned already: they are copied by
            // way of the driver's own memory.
            sys::CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED => Ok(()),
            cause => Err(told(cause)),
        }
    }

    /// What is sent next may overwrite what the device has finished with by then.
    ///
    /// # Errors
    /// The driver's own.
    pub fn follow(&self) -> Result<()> {
        self.stream.join(&self.device.cuda_stream()).map_err(told)
    }

    /// A pinned host tensor on the device, once [`land`](Self::land) was called. It must live as
    /// long as the lane.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn send(&self, host: &Tensor) -> Result<Tensor> {
        let (storage, layout) = host.storage_and_layout();
        let Storage::Cpu(from) = &*storage else { bail!("only host memory is sent") };
        let (start, end) = layout
            .contiguous_offsets()
            .ok_or_else(|| Error::new("only what lies in one piece is sent"))?;
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
        // SAFETY: it is written before it is read: `land` makes readers wait.
        let mut there = unsafe { self.device.alloc::<T>(elements.len())? };
        // The memory may have been another tensor's, which computations asked for before still
        // read.
        self.follow()?;
        self.stream.memcpy_htod(elements, &mut there).map_err(told)?;
        Ok(CudaStorage::wrap_cuda_slice(there, self.device.clone()))
    }

    /// The device's computations from now on wait for what was sent before.
    ///
    /// # Errors
    /// The driver's own.
    pub fn land(&self) -> Result<()> {
        self.device.cuda_stream().join(&self.stream).map_err(told)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        let _ = self.stream.context().bind_to_thread();
        for &at in self.pinned.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // SAFETY: it was pinned by this lane, and nothing copies from it any more.
            let _ = unsafe { sys::cuMemHostUnregister(at as *mut c_void) };
        }
    }
}

fn memory<T>(elements: &[T]) -> (usize, usize) {
    (elements.as_ptr() as usize, size_of_val(elements))
}

/// A tensor on its way from a GPU to host memory, beside what is computed there.
pub struct Departed {
    /// Until it has arrived.
    staging: Option<PinnedHostSlice<u8>>,
    arrived: CudaEvent,
    dtype: DType,
    dims: Vec<usize>,
    /// Read until it has arrived.
    _from: Tensor,
}

thread_local! {
    /// Pinned memory of tensors that have arrived, for the next: it is dear to come by.
    static STAGING: RefCell<Vec<PinnedHostSlice<u8>>> = const { RefCell::new(Vec::new()) };
    /// The streams that copies to the host run on, one a GPU.
    static STREAMS: RefCell<Vec<(usize, Arc<CudaStream>)>> = const { RefCell::new(Vec::new()) };
}

/// So much pinned memory is kept for the next copies.
const KEPT: usize = 4;

impl Departed {
    /// Begins to copy a contiguous tensor.
    ///
    /// # Errors
    /// There is no pinned memory for it.
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
                .ok_or_else(|| Error::new("only what lies in one piece departs"))?;
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

    /// Waits for it.
    ///
    /// # Errors
    /// The driver's own.
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
        // SAFETY: so many elements were copied there, the memory is aligned to pages, and any bits
        // are a number.
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
    // SAFETY: it is large enough, nobody reads it before the copy has ended, and it lives until
    // then.
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
        // SAFETY: it is written before it is read. Cached memory: it is there to be read.
        None => unsafe { compute.context().alloc_pinned_with_flags(bytes.max(1), 0) }.map_err(told),
    }
}
