//! Products of matrices: a projection x·Wᵀ + bias, and products of batches of matrices.

mod backward;
mod few_rows;
mod half_weights;

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor};

use crate::cpu::parallel;
use crate::cpu::parallel::Disjoint;
use crate::cpu::sgemm;
use crate::cpu::sgemm::{Cores, Matrix, Sums};
use crate::cpu::simd::vectorized;
use crate::differentiable::differentiable;
use crate::elements::{Elements, filled_tensor};
use crate::elementwise::{Binary, affine};
use crate::half_precision::{round, widen};
use few_rows::few_rows;
use half_weights::half_weights;

/// x [.., in] · weight [out, in]ᵀ + bias \[out\]: [.., out], in the dtype of x, to which weight and
/// bias are cast.
///
/// # Errors
/// Shapes that do not fit one another.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    let compute = |inputs: &[Tensor]| plain_linear(&inputs[0], &inputs[1], inputs.get(2));
    differentiable(&inputs, compute, backward::of_linear)
}

fn plain_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let input = dims.pop().unwrap_or(1);
    // One product of two matrices. candle's batched product would copy the weights for every row of
    // the batch.
    let x = x.reshape((dims.iter().product::<usize>(), input))?;
    dims.push(weight.dim(0)?);
    if is_half(weight) && matches!(x.dtype(), DType::F16 | DType::BF16 | DType::F32) {
        let wide_bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
        if let Some(sum) = half_weights(&widen(&x)?, weight, wide_bias.as_ref()) {
            return round(&sum?, x.dtype())?.reshape(dims);
        }
    }
    let weight = weight.to_dtype(x.dtype())?;
    let bias = bias.map(|bias| bias.to_dtype(x.dtype())).transpose()?;
    let product = match few_rows(&x, &weight) {
        Some(product) => product?,
        None => match linear_by_blocks(&x, &weight, bias.as_ref()) {
            Some(sum) => return sum?.reshape(dims),
            None => x.matmul(&weight.t()?)?,
        },
    };
    match bias {
        Some(bias) => Binary::Add.apply(&product, &bias)?.reshape(dims),
        None => product.reshape(dims),
    }
}

/// `scale` times the products of the matrices a [.., m, k] and b [.., k, n], whose dims before the
/// last two are the same.
///
/// # Errors
/// Shapes that do not fit one another.
pub fn matmul(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let compute = |factors: &[Tensor]| plain_matmul(&factors[0], &factors[1], scale, Sums::Short);
    differentiable(&[a, b], compute, move |back| backward::of_matmul(back, scale))
}

fn plain_matmul(a: &Tensor, b: &Tensor, scale: f64, sums: Sums) -> Result<Tensor> {
    if let Some(products) = matmul_by_blocks(a, b, scale as f32, sums) {
        return products;
    }
    if is_half(a) && is_half(b) {
        let products = plain_matmul(&widen(a)?, &widen(b)?, scale, sums)?;
        return round(&products, a.dtype());
    }
    let products = regular(a)?.matmul(&regular(b)?)?;
    if scale == 1.0 { Ok(products) } else { affine(&products, scale, 0.0) }
}

/// Whether the tensor is of half precision on the CPU, where it is multiplied in float32.
fn is_half(t: &Tensor) -> bool {
    t.device().is_cpu() && matches!(t.dtype(), DType::F16 | DType::BF16)
}

/// A factor as candle multiplies it: copied unless its matrices are row- or column-major and follow
/// one another in order.
fn regular(t: &Tensor) -> Result<Tensor> {
    let (dims, strides, rank) = (t.dims(), t.stride(), t.rank());
    if rank < 2 || t.is_contiguous() {
        return Ok(t.clone());
    }
    let (i, j) = (rank - 2, rank - 1);
    let row_major = strides[j] == 1 && strides[i] == dims[j];
    let column_major = strides[i] == 1 && strides[j] == dims[i];
    if (row_major || column_major) && rank <= 3 {
        return Ok(t.clone());
    }
    // Columns are copied as they lie.
    if strides[i] == 1 && strides[j] != 1 { t.t()?.contiguous()?.t() } else { t.contiguous() }
}

fn linear_by_blocks(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Result<Tensor>> {
    let (&[rows, input], &[out, columns]) = (x.dims(), weight.dims()) else { return None };
    let (x, weight) = (Elements::<f32>::of(x)?, Elements::<f32>::of(weight)?);
    let bias = match bias {
        Some(bias) => Some(Elements::<f32>::contiguous(bias)?),
        None => None,
    };
    if columns != input || bias.as_ref().is_some_and(|bias| bias.len() != out) {
        return None;
    }
    let &[w_out, w_in] = weight.strides() else { return None };
    let &[x_row, x_column] = x.strides() else { return None };
    let left = Matrix { numbers: &x, steps: [x_row, x_column] };
    // [in, out]
    let right = Matrix { numbers: &weight, steps: [w_in, w_out] };
    let fill = |y: &mut [MaybeUninit<f32>]| {
        let y = (y.as_mut_ptr().cast(), out);
        // SAFETY: y is `rows` rows of `out` elements, borrowed here alone.
        unsafe {
            let how = (Cores::All, Sums::Short);
            sgemm::product([rows, out, input], y, left, right, bias.as_deref(), how);
        }
    };
    // SAFETY: the product writes every element of its result.
    Some(unsafe { filled_tensor((rows, out), fill) })
}

/// Rows of one product that are a task: enough that packing the right matrix does not count.
const ROWS: usize = 128;

fn matmul_by_blocks(a: &Tensor, b: &Tensor, scale: f32, sums: Sums) -> Option<Result<Tensor>> {
    let (before, &[m, k]) = a.dims().split_last_chunk()?;
    let (others, &[rows, n]) = b.dims().split_last_chunk()?;
    let (left, right) = (Elements::<f32>::of(a)?, Elements::<f32>::of(b)?);
    if before != others || k != rows {
        return None;
    }
    let shape = [before, &[m, n]].concat();
    let count: usize = before.iter().product();
    if k == 0 || count * m * n == 0 {
        return Some(Tensor::zeros(shape, a.dtype(), a.device()));
    }
    let (left, right) = (Batch::new(&left, a), Batch::new(&right, b));
    // A single product is shared between the cores by its blocks.
    let (height, cores) = if count == 1 { (m, Cores::All) } else { (ROWS, Cores::One) };
    let blocks = m.div_ceil(height);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Disjoint::new(out);
        parallel::each(count * blocks, |task| {
            let (matrix, first) = (task / blocks, task % blocks * height);
            let rows = height.min(m - first);
            let place = (matrix * m + first) * n;
            // SAFETY: these rows of this product are the task's alone.
            let out = unsafe { out.part(place..place + rows * n) };
            let to = (out.as_mut_ptr().cast(), n);
            let left = left.matrix(matrix).from(first, 0);
            // SAFETY: `out` has `rows` rows of n elements, which the product writes; it is
            // initialised after that.
            unsafe {
                sgemm::product([rows, n, k], to, left, right.matrix(matrix), None, (cores, sums));
                if scale != 1.0 {
                    multiply(out.assume_init_mut(), scale);
                }
            }
        });
    };
    // SAFETY: the tasks cover all rows of all products, and each writes its own.
    Some(unsafe { filled_tensor(shape, fill) })
}

/// The matrices in the last two dims of a tensor.
struct Batch<'a> {
    elements: &'a [f32],
    dims: &'a [usize],
    strides: &'a [usize],
    /// From row to row and from column to column.
    steps: [usize; 2],
}

impl<'a> Batch<'a> {
    /// Of a tensor with at least two dims.
    fn new(elements: &'a [f32], t: &'a Tensor) -> Self {
        let before = t.rank() - 2;
        let (strides, steps) = t.stride().split_at(before);
        Self { elements, dims: &t.dims()[..before], strides, steps: [steps[0], steps[1]] }
    }

    /// The matrix of this index, counted in row-major order.
    fn matrix(&self, index: usize) -> Matrix<'a> {
        let (mut rest, mut offset) = (index, 0);
        for (dim, stride) in self.dims.iter().zip(self.strides).rev() {
            offset += rest % dim * stride;
            rest /= dim;
        }
        Matrix { numbers: &self.elements[offset..], steps: self.steps }
    }
}

vectorized! {
    fn multiply(elements: &mut [f32], by: f32) {
        for x in elements {
            *x *= by;
        }
    }
}
