//! Access to the elements of tensors on the CPU, and tensors made of elements.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;

use candle_core::{
    DType, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, WithDType, bail,
};

/// Read access, without a copy, to the elements of a tensor that the loops of this crate take: of
/// the dtype `T`, on the CPU, and outside any graph of gradients. The loops record no backward step:
/// [`differentiable`](super::differentiable::differentiable) gives them detached tensors and puts
/// their result into the graph.
///
/// The slice begins at the tensor's first element. Of a contiguous tensor it ends at the last; of
/// others it reaches to the end of the storage, and [`strides`](Self::strides) lead through it.
pub struct Elements<'a, T> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
    dtype: PhantomData<T>,
}

impl<'a, T: WithDType> Elements<'a, T> {
    /// Whether the loops of this crate take the tensor.
    pub fn fit(x: &Tensor) -> bool {
        x.device().is_cpu() && x.dtype() == T::DTYPE && !x.track_op()
    }

    /// Nothing if the tensor does not [`fit`](Self::fit).
    pub fn of(x: &'a Tensor) -> Option<Self> {
        Self::fit(x).then(|| {
            let (storage, layout) = x.storage_and_layout();
            Self { storage, layout, dtype: PhantomData }
        })
    }

    /// As [`of`](Self::of), but also nothing if the tensor is not contiguous.
    pub fn contiguous(x: &'a Tensor) -> Option<Self> {
        Self::of(x).filter(|elements| elements.layout.is_contiguous())
    }

    /// The steps between elements along each dim.
    pub fn strides(&self) -> &[usize] {
        self.layout.stride()
    }
}

impl<T: WithDType> Deref for Elements<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let all = match &*self.storage {
            Storage::Cpu(storage) => storage.as_slice::<T>().ok(),
            _ => None,
        };
        let all = all.unwrap_or_else(|| unreachable!("`of` takes only {:?} on the CPU", T::DTYPE));
        match self.layout.contiguous_offsets() {
            Some((start, end)) => &all[start..end],
            None => &all[self.layout.start_offset()..],
        }
    }
}

/// The floats that the loops compute in.
pub trait Float: WithDType + Into<f64> {}
impl Float for f32 {}
impl Float for f64 {}

/// Whether candle-nn's fused kernels take the tensor: they are faster than candle's single
/// operations on a GPU, but record no backward step.
pub fn fits_fused(x: &Tensor) -> bool {
    !x.device().is_cpu()
        && !x.track_op()
        && matches!(x.dtype(), DType::F16 | DType::BF16 | DType::F32)
}

/// The address of a tensor's storage: tensors that share their elements have the same.
pub fn address(x: &Tensor) -> usize {
    let (storage, _layout) = x.storage_and_layout();
    std::ptr::from_ref::<Storage>(&storage).addr()
}

/// Calls `f` with the elements of a tensor on the CPU in row-major order. They are copied only if
/// the tensor is not contiguous.
///
/// # Errors
/// The tensor is not on the CPU or not of the dtype `T`.
pub fn with_slice<T: WithDType, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("expected a tensor on the CPU") };
    let start = layout.start_offset();
    Ok(f(&storage.as_slice::<T>()?[start..start + tensor.elem_count()]))
}

/// A vector whose elements `fill` writes.
///
/// # Safety
/// `fill` must initialise every element of the slice that it gets.
pub unsafe fn filled_vec<T>(count: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut elements = Vec::with_capacity(count);
    fill(&mut elements.spare_capacity_mut()[..count]);
    // SAFETY: the capacity is at least `count`, and the caller guarantees that `fill` has
    // initialised the first `count` elements.
    unsafe { elements.set_len(count) };
    elements
}

/// A contiguous tensor on the CPU whose elements `fill` writes.
///
/// # Safety
/// `fill` must initialise every element of the slice that it gets.
pub unsafe fn filled_tensor<T: WithDType>(
    shape: impl Into<Shape>,
    fill: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Result<Tensor> {
    let shape = shape.into();
    // SAFETY: the caller guarantees what `filled_vec` asks for.
    let elements = unsafe { filled_vec(shape.elem_count(), fill) };
    Tensor::from_vec(elements, shape, &Device::Cpu)
}

/// Initialises a slice with copies of `value`. That costs next to nothing if the same thread is
/// about to write the slice, which is then in its cache.
pub fn fill_with<T: Copy>(slice: &mut [MaybeUninit<T>], value: T) -> &mut [T] {
    for element in slice.iter_mut() {
        element.write(value);
    }
    // SAFETY: the loop has initialised every element.
    unsafe { slice.assume_init_mut() }
}
