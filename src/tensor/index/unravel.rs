//! `unravel_index`: places in a flattened tensor as places along each of its dims.

use candle_core::DType;

use crate::tensor::{Kind, Value, device, dims, elements};
use crate::{Result, bail, error};

/// `torch.unravel_index`: for each dim of `shape` where along it the elements are that `indices`
/// number in row-major order, i64 of the shape of `indices`.
///
/// # Errors
/// `indices` is not an integer tensor; a size is negative; a tensor of this shape has no such
/// element (which PyTorch does not say).
pub fn unravel_index(indices: &Value, shape: &[i64]) -> Result<Vec<Value>> {
    let kind = Kind::of(indices);
    if !matches!(kind, Kind::U8 | Kind::U32 | Kind::I64) {
        return Err(error!("unravel_index needs integers, not {}", kind.name())
            .help("argmax and topk(…).indices give some"));
    }
    let shape = dims::shape(shape)?;
    let count = shape.iter().product::<usize>() as i64;
    let places = elements::to_vec::<i64>(&indices.real("unravel_index")?.to_dtype(DType::I64)?)?;
    if let Some(place) = places.iter().find(|place| !(0..count).contains(*place)) {
        bail!("unravel_index: a tensor {shape:?} has no element {place}");
    }
    let along = |(&stride, &size): (&usize, &usize)| {
        let (stride, size) = (stride as i64, size as i64);
        let places = places.iter().map(|place| place / stride % size).collect();
        let along = elements::from_vec(places, indices.dims(), &candle_core::Device::Cpu)?;
        Ok(Value::Real(device::transfer(&along, indices.device())?))
    };
    dims::strides(&shape).iter().zip(&shape).map(along).collect()
}
