//! The last two dims of a tensor as matrices for faer, which stores matrices in column-major order.

use candle_core::{DType, Tensor, WithDType};

use crate::tensor::reduce::along_dim::Lines;
use crate::tensor::{Value, elements};
use crate::{Result, error};

/// The value as a tensor `[…, m, n]` of f64 for f64 and of f32 for all other dtypes, and m and n.
/// `call` names the operation in the error.
///
/// # Errors
/// The value has fewer than two dims, is complex or has elements that are NaN or infinite.
pub(crate) fn matrices(value: &Value, call: &str) -> Result<(Tensor, usize, usize)> {
    let &[.., m, n] = value.dims() else {
        return Err(error!("{call} needs a matrix, not a tensor {:?}", value.dims()));
    };
    let tensor = value.real(call)?;
    let tensor =
        if tensor.dtype() == DType::F64 { tensor.clone() } else { tensor.to_dtype(DType::F32)? };
    let finite = match tensor.dtype() {
        DType::F64 => elements::to_vec::<f64>(&tensor)?.iter().all(|x| x.is_finite()),
        _ => elements::to_vec::<f32>(&tensor)?.iter().all(|x| x.is_finite()),
    };
    if !finite {
        return Err(error!(
            "{call}: the tensor {:?} has elements that are nan or inf",
            value.dims()
        )
        .help("x.abs() < 1e30 finds the others"));
    }
    Ok((tensor, m, n))
}

/// The elements of a matrix with its rows and columns swapped: `lines` has lines of `length`
/// elements, which are rows (for row-major to column-major order) or columns (for the reverse).
pub(crate) fn transposed<T: WithDType>(lines: &[T], length: usize) -> Vec<T> {
    Lines { outer: 1, size: length, inner: lines.len() / length.max(1) }.turned(
        lines,
        length,
        |x| x,
    )
}
