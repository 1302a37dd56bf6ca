//! `solve`, `inv` and `det`, by LU factorisation.

use candle_core::{DType, Device, Tensor};
use faer::Mat;
use faer::linalg::solvers::Solve;

use super::derivatives;
use super::matmul::matmul;
use super::matrices::matrices;
use super::square_matrices::{SquareMatrices, columns, pivots, rows};
use crate::kernel::cpu::parallel;
use crate::tensor::elementwise::arithmetic;
use crate::tensor::shape::view;
use crate::tensor::{Kind, Value, dims, elements, graph};
use crate::{Result, error};

/// `torch.linalg.solve`: the x with `a x = b`, of shape `[…, n, k]` for a of `[…, n, n]` and b of
/// `[…, n, k]`, whose leading dims are broadcast. If b has one dim, or the dims of a without the
/// last one, it is a vector for each matrix, and so is the result.
///
/// # Errors
/// A matrix is singular; the matrices are not square; the shapes do not fit; a tensor is complex or
/// has elements that are NaN or infinite.
pub fn solve(a: &Value, b: &Value) -> Result<Value> {
    graph::operation(
        &[a, b],
        |inputs| solved(inputs[0], inputs[1]),
        |back| {
            let wide = |value: &Value| derivatives::wide(value);
            let (a, b, gradient) = (wide(&back.inputs[0])?, &back.inputs[1], wide(&back.gradient)?);
            let column = |value: &Value| match is_vector(&a, b) {
                true => value.map(|t| t.unsqueeze(t.rank())),
                false => Ok(value.clone()),
            };
            let of_b = solved(&derivatives::turned(&a)?, &column(&gradient)?)?;
            Ok(vec![
                back.of(0, || {
                    let x = column(&wide(&back.output)?)?;
                    arithmetic::negate(&matmul(&of_b, &derivatives::turned(&x)?)?)
                })?,
                back.of(1, || of_b.map(|t| t.reshape(gradient.dims())))?,
            ])
        },
    )
}

/// Whether b is a vector for each matrix of a.
fn is_vector(a: &Value, b: &Value) -> bool {
    b.rank() == 1 || a.dims().split_last().is_some_and(|(_, rest)| b.dims() == rest)
}

fn solved(a: &Value, b: &Value) -> Result<Value> {
    let mut squares = SquareMatrices::of(a, "solve")?;
    let vector = is_vector(a, b);
    let right = if vector { b.map(|t| t.unsqueeze(b.rank()))? } else { b.clone() };
    let (right, m, k) = matrices(&right, "solve")?;
    if m != squares.n {
        return Err(error!("solve: shapes {:?} and {:?} do not fit", a.dims(), b.dims())
            .help("a of [.., n, n] takes b of [.., n, k], [.., n] or [n]"));
    }
    let batch = dims::broadcast(&squares.batch, &right.dims()[..right.rank() - 2], "solve")?;
    let factors = squares.factors("solve")?;
    let right = columns(&right.broadcast_as([batch.as_slice(), &[m, k]].concat())?, m, k)?;
    let which =
        Tensor::arange(0, factors.len() as i64, &Device::Cpu)?.reshape(squares.batch.as_slice())?;
    let which = elements::to_vec::<i64>(&which.broadcast_as(batch.as_slice())?)?;
    let solve = |i: usize| rows(factors[which[i] as usize].solve(&right[i]).as_ref());
    let elements = parallel::map(right.len(), solve).concat();
    squares.batch = batch;
    if Kind::of(b) == Kind::F64 {
        squares.dtype = DType::F64;
    }
    let solution = squares.place(elements, &[m, k])?;
    if vector { view::squeeze(&solution, Some(&[-1])) } else { Ok(solution) }
}

/// `torch.linalg.inv`: the inverse of each matrix.
///
/// # Errors
/// A matrix is singular, or as [`det`].
pub fn inv(value: &Value) -> Result<Value> {
    graph::operation(
        &[value],
        |inputs| inverse(inputs[0]),
        |back| {
            back.of_one(|| {
                let turned = derivatives::turned(&derivatives::wide(&back.output)?)?;
                let gradient = derivatives::wide(&back.gradient)?;
                arithmetic::negate(&matmul(&matmul(&turned, &gradient)?, &turned)?)
            })
        },
    )
}

fn inverse(value: &Value) -> Result<Value> {
    let squares = SquareMatrices::of(value, "inv")?;
    let factors = squares.factors("inv")?;
    let identity = Mat::<f64>::identity(squares.n, squares.n);
    squares.squares(parallel::map(factors.len(), |i| factors[i].solve(&identity)))
}

/// `torch.linalg.det`: the determinant of each matrix of `[…, n, n]`, of shape `[…]`.
///
/// # Errors
/// The matrices are not square; the tensor has fewer than two dims, is complex or has elements that
/// are NaN or infinite.
pub fn det(value: &Value) -> Result<Value> {
    graph::operation(
        &[value],
        |inputs| determinants(inputs[0]),
        |back| {
            back.of_one(|| derivatives::det(&derivatives::wide(&back.inputs[0])?, &back.gradient))
        },
    )
}

fn determinants(value: &Value) -> Result<Value> {
    let squares = SquareMatrices::of(value, "det")?;
    let of = |matrix: &Mat<f64>| {
        let lu = matrix.partial_piv_lu();
        Ok(pivots(&lu).0 * lu.U().diagonal().column_vector().iter().product::<f64>())
    };
    squares.place(squares.each(of)?, &[])
}
