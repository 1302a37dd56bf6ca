//! The elements or slices that differ, each once.

use std::cmp::Ordering;

use candle_core::{Device, WithDType};

use super::sort::order;
use crate::Result;
use crate::tensor::elementwise::loops;
use crate::tensor::elementwise::loops::by_dtype;
use crate::tensor::index::{gather, shape};
use crate::tensor::{Value, dims};

pub struct Unique {
    /// In ascending order.
    pub values: Value,
    /// For each element (along a dim for each slice) which of the values it is, i64.
    pub inverse: Value,
    /// How often each value occurs, i64.
    pub counts: Value,
}

/// The elements that differ, or the slices along `dim`. No NaN is the same as another.
///
/// # Errors
/// A complex tensor, or a dim that there is not.
pub fn unique(value: &Value, dim: Option<i64>) -> Result<Unique> {
    value.real("unique")?;
    let (slices, at, of) = match dim {
        None => (shape::flatten(value, 0, -1)?, 0, value.dims().to_vec()),
        Some(dim) => {
            let at = dims::dim(dim, value.dims())?;
            (value.clone(), at, vec![value.dims()[at]])
        }
    };
    let count = slices.dims()[at];
    let lines = slices.map(|t| t.transpose(0, at)?.contiguous())?;
    let tensor = lines.real("unique")?;
    let width = tensor.dims()[1..].iter().product::<usize>();
    let found = by_dtype!(tensor, T => Ok::<_, crate::Error>(grouped(&loops::host::<T>(tensor)?, count, width)))?;
    let mut inverse = vec![0; count];
    for (place, group) in found.iter().enumerate() {
        group.iter().for_each(|&i| inverse[i] = place as i64);
    }
    let counts: Vec<i64> = found.iter().map(|group| group.len() as i64).collect();
    let firsts = found.iter().map(|group| group[0] as i64).collect();
    let ints = |numbers: Vec<i64>, dims: &[usize]| -> Result<Value> {
        Ok(Value::Real(loops::place(numbers, dims, &Device::Cpu)?.to_device(value.device())?))
    };
    let distinct = counts.len();
    Ok(Unique {
        values: gather::slices(&slices, at, firsts)?,
        inverse: ints(inverse, &of)?,
        counts: ints(counts, &[distinct])?,
    })
}

/// The places of slices that are equal, together, in the slices' order.
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
            // Equal as numbers are, of which NaN is none.
            Some(group) if slice(group[0]) == slice(place) => group.push(place),
            _ => groups.push(vec![place]),
        }
    }
    groups
}
