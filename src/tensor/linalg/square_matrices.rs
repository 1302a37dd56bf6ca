//! Square matrices in double precision on the CPU, for the functions that faer computes on them.
//!
//! The results are rounded once, to f64 for f64 and to f32 for all other dtypes, and moved to the
//! device of the tensor.

use candle_core::{DType, Device, Tensor};
use faer::linalg::solvers::PartialPivLu;
use faer::{Mat, MatRef, c64};

use super::matrices::{matrices, transposed};
use crate::kernel::cpu::parallel;
use crate::system::message::notice;
use crate::tensor::{Complex, Value, elements};
use crate::{Result, error};

/// A batch of square matrices.
pub(super) struct SquareMatrices {
    /// In row-major order of the batch.
    pub(super) matrices: Vec<Mat<f64>>,
    /// The number of rows and columns.
    pub(super) n: usize,
    /// The dims before the last two.
    pub(super) batch: Vec<usize>,
    /// The dtype of the result, f32 or f64.
    pub(super) dtype: DType,
    /// The device of the result.
    pub(super) device: Device,
}

impl SquareMatrices {
    /// The last two dims of a tensor as matrices. `call` names the operation in the error.
    ///
    /// # Errors
    /// The matrices are not square; the tensor has fewer than two dims, is complex or has elements
    /// that are NaN or infinite.
    pub(super) fn of(value: &Value, call: &'static str) -> Result<Self> {
        let (tensor, m, n) = matrices(value, call)?;
        if m != n {
            return Err(error!("{call} needs square matrices, not {:?}", value.dims())
                .help("lstsq, pinv and svd take matrices of any shape"));
        }
        let (batch, dtype, device) =
            (value.dims()[..value.rank() - 2].to_vec(), tensor.dtype(), tensor.device().clone());
        // The matrices of a batch are processed in parallel; within a matrix faer's parallelism
        // costs more than it gains.
        faer::set_global_parallelism(faer::Par::Seq);
        Ok(Self { matrices: columns(&tensor, m, n)?, n, batch, dtype, device })
    }

    /// Applies `f` to each matrix, in parallel.
    pub(super) fn each<R: Send>(
        &self,
        f: impl Fn(&Mat<f64>) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        parallel::map(self.matrices.len(), |i| f(&self.matrices[i])).into_iter().collect()
    }

    /// A tensor of the shape of the batch from one square matrix for each.
    pub(super) fn squares(&self, each: Vec<Mat<f64>>) -> Result<Value> {
        let elements = each.iter().flat_map(|matrix| rows(matrix.as_ref())).collect();
        self.place(elements, &[self.n, self.n])
    }

    /// A tensor `[batch…, dims…]` from its elements in row-major order.
    pub(super) fn place(&self, elements: Vec<f64>, dims: &[usize]) -> Result<Value> {
        let dims = [self.batch.as_slice(), dims].concat();
        Ok(Value::Real(
            elements::from_vec(elements, &dims, &Device::Cpu)?
                .to_dtype(self.dtype)?
                .to_device(&self.device)?,
        ))
    }

    /// [`place`](Self::place) for complex elements.
    pub(super) fn complex(&self, elements: Vec<c64>, dims: &[usize]) -> Result<Value> {
        let part = |part: fn(&c64) -> f64| -> Result<Tensor> {
            Ok(self.place(elements.iter().map(part).collect(), dims)?.real("eig")?.clone())
        };
        Ok(Value::Complex(Complex { re: part(|z| z.re)?, im: part(|z| z.im)? }))
    }

    /// The matrix, or one of the batch, in an error.
    pub(super) fn name(&self) -> String {
        let dims = [self.batch.as_slice(), &[self.n, self.n]].concat();
        if self.batch.is_empty() {
            format!("the matrix {dims:?}")
        } else {
            format!("a matrix of {dims:?}")
        }
    }

    /// The LU factors of each matrix. A warning is printed if one is singular up to rounding.
    ///
    /// # Errors
    /// A matrix is singular.
    pub(super) fn factors(&self, call: &str) -> Result<Vec<PartialPivLu<f64>>> {
        let factors = self.each(|matrix| Ok(matrix.partial_piv_lu()))?;
        // The smallest pivot relative to the largest estimates how near to singular a matrix is.
        let least = factors.iter().map(|lu| pivots(lu).1).fold(f64::INFINITY, f64::min);
        if least == 0.0 {
            return Err(error!("{call}: {} is singular: it has no inverse", self.name())
                .help("pinv and lstsq give the nearest to it that there is"));
        }
        if least < f64::EPSILON * self.n as f64 {
            notice(format_args!(
                "warning: {call}: {} is singular but for rounding: the result has no digit that counts",
                self.name()
            ));
        }
        Ok(factors)
    }
}

/// The sign of the row permutation, and the ratio of the smallest to the largest pivot by magnitude
/// (1 for a matrix of size 0).
pub(super) fn pivots(lu: &PartialPivLu<f64>) -> (f64, f64) {
    let pivots = || lu.U().diagonal().column_vector().iter().map(|x| x.abs());
    let (least, most) = (pivots().fold(f64::INFINITY, f64::min), pivots().fold(0.0, f64::max));
    let (forward, _) = lu.P().arrays();
    let mut seen = vec![false; forward.len()];
    let mut sign = 1.0;
    for start in 0..forward.len() {
        let mut at = start;
        while !std::mem::replace(&mut seen[at], true) {
            at = forward[at];
            if at != start {
                sign = -sign;
            }
        }
    }
    let share = if forward.is_empty() {
        1.0
    } else if most == 0.0 {
        0.0
    } else {
        least / most
    };
    (sign, share)
}

/// The matrices of a tensor `[…, m, n]`.
pub(super) fn columns(tensor: &Tensor, m: usize, n: usize) -> Result<Vec<Mat<f64>>> {
    let count = tensor.dims()[..tensor.rank() - 2].iter().product();
    let elements = elements::to_vec::<f64>(&tensor.to_dtype(DType::F64)?)?;
    if m * n == 0 {
        return Ok((0..count).map(|_| Mat::zeros(m, n)).collect());
    }
    let matrix =
        |rows: &[f64]| MatRef::from_column_major_slice(&transposed(rows, n), m, n).to_owned();
    Ok(parallel::map(count, |i| matrix(&elements[i * m * n..][..m * n])))
}

/// The elements of a matrix in row-major order.
pub(super) fn rows(matrix: MatRef<f64>) -> Vec<f64> {
    matrix.row_iter().flat_map(|row| row.iter().copied().collect::<Vec<_>>()).collect()
}
