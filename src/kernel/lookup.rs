//! Rows of a table, as of embeddings.

use candle_core::{Result, Tensor};

use super::differentiable::{Backward, differentiable};
use super::elements::Elements;

/// The rows of a table [rows, d] at indices [b, n] (u32): [b, n, d].
///
/// # Errors
/// An index beyond the table.
pub fn lookup(table: &Tensor, indices: &Tensor) -> Result<Tensor> {
    let (b, n) = indices.dims2()?;
    let flat = indices.flatten_all()?;
    let compute = |table: &[Tensor]| table[0].index_select(&flat, 0)?.reshape((b, n, ()));
    let at = flat.clone();
    differentiable(&[table], compute, move |back| Ok(vec![back.of(0, || of_table(back, &at))?]))
}

/// The gradients of the rows that were read, added up; zeros in the others.
fn of_table(back: &Backward, indices: &Tensor) -> Result<Tensor> {
    let table = &back.inputs[0];
    let d = table.dim(1)?;
    let g = back.gradient.reshape((indices.elem_count(), d))?;
    if let (Some(given), Some(at)) =
        (Elements::<f32>::contiguous(&g), Elements::<u32>::contiguous(indices))
        && d > 0
    {
        let mut sums = vec![0f32; table.elem_count()];
        for (row, at) in given.chunks_exact(d).zip(at.iter()) {
            for (sum, x) in sums[*at as usize * d..][..d].iter_mut().zip(row) {
                *sum += x;
            }
        }
        return Tensor::from_vec(sums, table.shape(), table.device());
    }
    table.zeros_like()?.index_add(indices, &g, 0)
}
