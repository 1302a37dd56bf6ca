//! `matrix_exp`: the exponential of a matrix.

use faer::linalg::solvers::Solve;
use faer::{Mat, Scale};

use super::derivatives;
use super::square_matrices::{SquareMatrices, rows};
use crate::tensor::{Value, graph};
use crate::{Result, bail};

/// `torch.linalg.matrix_exp`: the exponential `Σ aᵏ / k!` of each matrix, by scaling and squaring
/// with a Padé approximant of degree 13 (Higham 2005, "The scaling and squaring method for the
/// matrix exponential revisited").
///
/// # Errors
/// The matrices are not square; the tensor has fewer than two dims, is complex or has elements that
/// are NaN or infinite; an exponential overflows.
pub fn matrix_exp(value: &Value) -> Result<Value> {
    graph::operation(
        &[value],
        |inputs| exponentials(inputs[0]),
        |back| {
            back.of_one(|| {
                let wide = |value: &Value| derivatives::wide(value);
                derivatives::matrix_exp(&wide(&back.inputs[0])?, &wide(&back.gradient)?)
            })
        },
    )
}

fn exponentials(value: &Value) -> Result<Value> {
    let squares = SquareMatrices::of(value, "matrix_exp")?;
    let exponentials = squares.each(|matrix| {
        let exponential = exponential(matrix);
        if rows(exponential.as_ref()).iter().any(|x| !x.is_finite()) {
            bail!(
                "matrix_exp: the exponential of {} is larger than a float can be",
                squares.name()
            );
        }
        Ok(exponential)
    })?;
    squares.squares(exponentials)
}

/// θ₁₃ of Higham 2005: up to this 1-norm the approximant of degree 13 is exact to double precision.
const LARGEST_NORM: f64 = 5.371920351148152;

/// The coefficients of the numerator of the approximant, from degree 0.
const PADE: [f64; 14] = [
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
];

/// [`matrix_exp`] of one matrix.
fn exponential(a: &Mat<f64>) -> Mat<f64> {
    let n = a.nrows();
    let norm =
        a.col_iter().map(|column| column.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let halvings = if norm > LARGEST_NORM { (norm / LARGEST_NORM).log2().ceil() as i32 } else { 0 };
    let a = Scale(2f64.powi(-halvings)) * a;
    let identity = Mat::<f64>::identity(n, n);
    let (a2, b) = (&a * &a, PADE);
    let (a4, times) = (&a2 * &a2, |x: f64, m: &Mat<f64>| Scale(x) * m);
    let a6 = &a4 * &a2;
    let odd = &a6 * (times(b[13], &a6) + times(b[11], &a4) + times(b[9], &a2));
    let odd = &a
        * (odd + times(b[7], &a6) + times(b[5], &a4) + times(b[3], &a2) + times(b[1], &identity));
    let even = &a6 * (times(b[12], &a6) + times(b[10], &a4) + times(b[8], &a2));
    let even =
        even + times(b[6], &a6) + times(b[4], &a4) + times(b[2], &a2) + times(b[0], &identity);
    let mut exponential = (&even - &odd).partial_piv_lu().solve(&even + &odd);
    for _ in 0..halvings {
        exponential = &exponential * &exponential;
    }
    exponential
}
