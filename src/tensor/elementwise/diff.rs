//! Differences between neighbours along a dim.

use super::arithmetic::Arithmetic;
use super::logic::Logic;
use crate::tensor::index::select::narrow;
use crate::tensor::{Value, dims};
use crate::{Result, bail};

/// `torch.diff`: along `dim`, each element but the first less the one before it, `n` times over; of
/// bools, whether the two differ. The dim is `n` shorter, and empty where it had no more than that.
/// Its derivative is that of the subtractions.
///
/// # Errors
/// `n` is negative; the tensor does not have the dim, as one of a single number has none.
pub fn diff(value: &Value, n: i64, dim: i64) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    if n < 0 {
        bail!("diff: n is how often differences are taken, and {n} is negative");
    }
    let mut value = value.clone();
    for _ in 0..n.min(value.dims()[at] as i64) {
        let (dim, count) = (at as i64, value.dims()[at] as i64 - 1);
        let (here, before) = (narrow(&value, dim, 1, count)?, narrow(&value, dim, 0, count)?);
        value = match value {
            Value::Bool(_) => Logic::Xor.apply(&here, &before)?,
            _ => Arithmetic::Sub.apply(&here, &before)?,
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::elements;

    #[test]
    fn agrees_with_loops_along_each_dim() {
        let sizes = [3, 5, 4];
        let xs: Vec<i64> = (0..60).map(|i| (i * 7919) % 101).collect();
        let x = Value::Real(elements::from_vec(xs.clone(), &sizes, &Device::Cpu).unwrap());
        for (dim, at, stride) in [(0, 0, 20), (-2, 1, 4), (2, 2, 1)] {
            // The second difference is x[i + 2] - 2 x[i + 1] + x[i].
            for (n, of) in [(1, &[-1, 1][..]), (2, &[1, -2, 1])] {
                let expected: Vec<i64> = (0..60)
                    .filter(|i| i / stride % sizes[at] + n < sizes[at])
                    .map(|i| of.iter().enumerate().map(|(k, c)| c * xs[i + k * stride]).sum())
                    .collect();
                let found = diff(&x, n as i64, dim).unwrap();
                assert_eq!(found.dims()[at], sizes[at] - n);
                let found = elements::to_vec::<i64>(found.real("test").unwrap()).unwrap();
                assert_eq!(found, expected, "{dim} {n}");
            }
        }
    }

    #[test]
    fn more_differences_than_elements_leave_none() {
        let x = Value::Real(elements::from_vec(vec![1f32, 4.0], &[2], &Device::Cpu).unwrap());
        assert_eq!(diff(&x, 0, 0).unwrap().dims(), [2]);
        assert_eq!(diff(&x, 2, 0).unwrap().dims(), [0]);
        assert_eq!(diff(&x, i64::MAX, 0).unwrap().dims(), [0]);
        assert!(diff(&x, -1, 0).is_err());
    }
}
