//! `unique`: the distinct elements or slices of a tensor.

use std::cmp::Ordering;

use candle_core::{Device, WithDType};

use super::sort::order;
use crate::Result;
use crate::tensor::elements::by_dtype;
use crate::tensor::index::select;
use crate::tensor::shape::view;
use crate::tensor::{Value, dims, elements};

/// The distinct elements of a tensor, or the distinct slices along a dim.
pub struct Unique {
    /// The distinct elements or slices, in ascending (lexicographic) order.
    pub values: Value,
    /// For each element or slice of the tensor its index in `values`, i64: of the tensor's shape,
    /// or a vector for slices.
    pub inverse: Value,
    /// How often each of `values` occurs, an i64 vector.
    pub counts: Value,
}

/// `torch.unique`: the distinct elements, or the distinct slices along `dim`. As in PyTorch, every
/// NaN is distinct.
///
/// # Errors
/// The tensor is complex, or does not have the dim.
pub fn unique(value: &Value, dim: Option<i64>) -> Result<Unique> {
    value.real("unique")?;
    let (slices, at, of) = match dim {
        None => (view::flatten(value, 0, -1)?, 0, value.dims().to_vec()),
        Some(dim) => {
            let at = dims::dim(dim, value.dims())?;
            (value.clone(), at, vec![value.dims()[at]])
        }
    };
    let count = slices.dims()[at];
    let lines = slices.map(|t| t.transpose(0, at)?.contiguous())?;
    let tensor = lines.real("unique")?;
    let width = tensor.dims()[1..].iter().product::<usize>();
    let found = by_dtype!(tensor, T => Ok::<_, crate::Error>(grouped(&elements::to_vec::<T>(tensor)?, count, width)))?;
    let mut inverse = vec![0; count];
    for (place, group) in found.iter().enumerate() {
        group.iter().for_each(|&i| inverse[i] = place as i64);
    }
    let counts: Vec<i64> = found.iter().map(|group| group.len() as i64).collect();
    let firsts = found.iter().map(|group| group[0] as i64).collect();
    let ints = |numbers: Vec<i64>, dims: &[usize]| -> Result<Value> {
        Ok(Value::Real(elements::from_vec(numbers, dims, &Device::Cpu)?.to_device(value.device())?))
    };
    let distinct = counts.len();
    Ok(Unique {
        values: select::slices(&slices, at, firsts)?,
        inverse: ints(inverse, &of)?,
        counts: ints(counts, &[distinct])?,
    })
}

/// Groups the indices of equal slices, in ascending order of the slices. `elements` are `count`
/// slices of `width` elements.
fn grouped<T: WithDType>(elements: &[T], count: usize, width: usize) -> Vec<Vec<usize>> {
    let slice = |i: usize| &elements[i * width..][..width];
    let compare = |a: usize, b: usize| {
        slice(a)
            .iter()
            .zip(slice(b))
            .map(|(&x, &y)| order(x, y))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|&a, &b| compare(a, b));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in places {
        match groups.last_mut() {
            // `==` keeps NaNs apart, which compare as equal in the sort.
            Some(group) if slice(group[0]) == slice(place) => group.push(place),
            _ => groups.push(vec![place]),
        }
    }
    groups
}
