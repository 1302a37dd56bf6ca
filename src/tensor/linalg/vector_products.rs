//! Products of two vectors: `dot`, `outer`.

use super::matmul::{common, matmul};
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::{Value, dtype};
use crate::{Result, bail, error};

/// `torch.dot`: the sum of the products of the elements of two vectors, a tensor of rank 0.
///
/// # Errors
/// The tensors are not vectors of the same length, or as [`matmul`].
pub fn dot(a: &Value, b: &Value) -> Result<Value> {
    if a.rank() != 1 || a.dims() != b.dims() {
        return Err(error!(
            "dot needs two vectors of one length, not shapes {:?} and {:?}",
            a.dims(),
            b.dims()
        )
        .help("matmul or einsum multiply larger tensors"));
    }
    let (a, b, kind) = common(a, b, "dot")?;
    dtype::cast(&matmul(&a, &b)?, kind)
}

/// `torch.outer`: each element of one vector times each of another; `[n]` and `[m]` give `[n, m]`.
///
/// # Errors
/// The tensors are not vectors, or as [`Arithmetic::apply`].
pub fn outer(a: &Value, b: &Value) -> Result<Value> {
    if a.rank() != 1 || b.rank() != 1 {
        bail!("outer needs two vectors, not shapes {:?} and {:?}", a.dims(), b.dims());
    }
    let (column, row) = (a.map(|t| t.unsqueeze(1))?, b.map(|t| t.unsqueeze(0))?);
    Arithmetic::Mul.apply(&column, &row)
}
