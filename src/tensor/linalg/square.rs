//! Functions of square matrices, the last two dims, batched over the dims before them: `solve`,
//! `inv`, `det`, `eig`, `matrix_exp`.
//!
//! They are worked out in double precision on the CPU and rounded once, to f64 for f64 and to f32
//! for all else; a tensor on another device travels there and back.

use candle_core::{DType, Tensor};
use faer::linalg::solvers::{PartialPivLu, Solve};
use faer::{Mat, MatRef, Scale, c64};

use super::decompositions::{matrices, turned};
use crate::kernel::cpu::parallel;
use crate::system::message::notice;
use crate::tensor::elementwise::loops;
use crate::tensor::index::shape;
use crate::tensor::{Complex, Kind, Value, dims};
use crate::{Result, bail, error};

/// `a = vectors diag(values) vectors⁻¹`, all complex.
pub struct Eig {
    /// In no order: `[…, n]`.
    pub values: Value,
    /// The columns of `[…, n, n]`, each of length 1.
    pub vectors: Value,
}

/// Square matrices in double precision, one after the other.
struct Squares {
    matrices: Vec<Mat<f64>>,
    n: usize,
    /// The dims before the last two.
    batch: Vec<usize>,
    /// Of the result: f32 or f64.
    dtype: DType,
    device: candle_core::Device,
}

impl Squares {
    /// # Errors
    /// Matrices that are not square, fewer than two dims, complex numbers, nan or inf.
    fn of(value: &Value, call: &'static str) -> Result<Self> {
        let (tensor, m, n) = matrices(value, call)?;
        if m != n {
            return Err(error!("{call} needs square matrices, not {:?}", value.dims())
                .help("lstsq, pinv and svd take matrices of any shape"));
        }
        let (batch, dtype, device) =
            (value.dims()[..value.rank() - 2].to_vec(), tensor.dtype(), tensor.device().clone());
        // Between a few threads, handing over costs more than it brings.
        faer::set_global_parallelism(faer::Par::Seq);
        Ok(Self { matrices: columns(&tensor, m, n)?, n, batch, dtype, device })
    }

    /// `f` of each matrix.
    fn each<R: Send>(&self, f: impl Fn(&Mat<f64>) -> Result<R> + Sync) -> Result<Vec<R>> {
        parallel::map(self.matrices.len(), |i| f(&self.matrices[i])).into_iter().collect()
    }

    /// One square matrix for each.
    fn squares(&self, each: Vec<Mat<f64>>) -> Result<Value> {
        let elements = each.iter().flat_map(|matrix| rows(matrix.as_ref())).collect();
        self.place(elements, &[self.n, self.n])
    }

    /// The elements of a tensor of `dims` for each matrix.
    fn place(&self, elements: Vec<f64>, dims: &[usize]) -> Result<Value> {
        let dims = [self.batch.as_slice(), dims].concat();
        Ok(Value::Real(
            loops::place(elements, &dims, &candle_core::Device::Cpu)?
                .to_dtype(self.dtype)?
                .to_device(&self.device)?,
        ))
    }

    fn complex(&self, elements: Vec<c64>, dims: &[usize]) -> Result<Value> {
        let part = |part: fn(&c64) -> f64| -> Result<Tensor> {
            Ok(self.place(elements.iter().map(part).collect(), dims)?.real("eig")?.clone())
        };
        Ok(Value::Complex(Complex { re: part(|z| z.re)?, im: part(|z| z.im)? }))
    }

    /// What to say of a matrix by where it stands.
    fn name(&self) -> String {
        let dims = [self.batch.as_slice(), &[self.n, self.n]].concat();
        if self.batch.is_empty() {
            format!("the matrix {dims:?}")
        } else {
            format!("a matrix of {dims:?}")
        }
    }

    /// The factors of each matrix.
    ///
    /// # Errors
    /// One that has no inverse.
    fn factors(&self, call: &str) -> Result<Vec<PartialPivLu<f64>>> {
        let factors = self.each(|matrix| Ok(matrix.partial_piv_lu()))?;
        // Elimination that loses all digits says nothing of the inverse.
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

/// The sign of the permutation, and the smallest pivot's share of the largest (1 of no pivots).
fn pivots(lu: &PartialPivLu<f64>) -> (f64, f64) {
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

/// Each matrix of `[…, m, n]`.
fn columns(tensor: &Tensor, m: usize, n: usize) -> Result<Vec<Mat<f64>>> {
    let count = tensor.dims()[..tensor.rank() - 2].iter().product();
    let elements = loops::host::<f64>(&tensor.to_dtype(DType::F64)?)?;
    if m * n == 0 {
        return Ok((0..count).map(|_| Mat::zeros(m, n)).collect());
    }
    let matrix = |rows: &[f64]| MatRef::from_column_major_slice(&turned(rows, n), m, n).to_owned();
    Ok(parallel::map(count, |i| matrix(&elements[i * m * n..][..m * n])))
}

/// A matrix row by row.
fn rows(matrix: MatRef<f64>) -> Vec<f64> {
    matrix.row_iter().flat_map(|row| row.iter().copied().collect::<Vec<_>>()).collect()
}

/// The x for which `a x = b`: of a of `[…, n, n]` and b of `[…, n, k]`, whose leading dims are
/// broadcast, `[…, n, k]`; a b of one dim, or of a's dims without the last, is a vector for each a.
///
/// # Errors
/// A singular matrix, matrices that are not square, shapes that do not fit, complex numbers, nan or
/// inf.
pub fn solve(a: &Value, b: &Value) -> Result<Value> {
    let mut squares = Squares::of(a, "solve")?;
    let vector = b.rank() == 1 || a.dims().split_last().is_some_and(|(_, rest)| b.dims() == rest);
    let right = if vector { b.map(|t| t.unsqueeze(b.rank()))? } else { b.clone() };
    let (right, m, k) = matrices(&right, "solve")?;
    if m != squares.n {
        return Err(error!("solve: shapes {:?} and {:?} do not fit", a.dims(), b.dims())
            .help("a of [.., n, n] takes b of [.., n, k], [.., n] or [n]"));
    }
    let batch = dims::broadcast(&squares.batch, &right.dims()[..right.rank() - 2], "solve")?;
    let factors = squares.factors("solve")?;
    let right = columns(&right.broadcast_as([batch.as_slice(), &[m, k]].concat())?, m, k)?;
    let which = Tensor::arange(0, factors.len() as i64, &candle_core::Device::Cpu)?
        .reshape(squares.batch.as_slice())?;
    let which = loops::host::<i64>(&which.broadcast_as(batch.as_slice())?)?;
    let solve = |i: usize| rows(factors[which[i] as usize].solve(&right[i]).as_ref());
    let elements = parallel::map(right.len(), solve).concat();
    squares.batch = batch;
    if Kind::of(b) == Kind::F64 {
        squares.dtype = DType::F64;
    }
    let solution = squares.place(elements, &[m, k])?;
    if vector { shape::squeeze(&solution, Some(&[-1])) } else { Ok(solution) }
}

/// The inverse.
///
/// # Errors
/// A singular matrix, matrices that are not square, fewer than two dims, complex numbers, nan or
/// inf.
pub fn inv(value: &Value) -> Result<Value> {
    let squares = Squares::of(value, "inv")?;
    let factors = squares.factors("inv")?;
    let identity = Mat::<f64>::identity(squares.n, squares.n);
    squares.squares(parallel::map(factors.len(), |i| factors[i].solve(&identity)))
}

/// The determinant, `[…]`.
///
/// # Errors
/// Matrices that are not square, fewer than two dims, complex numbers, nan or inf.
pub fn det(value: &Value) -> Result<Value> {
    let squares = Squares::of(value, "det")?;
    let of = |matrix: &Mat<f64>| {
        let lu = matrix.partial_piv_lu();
        Ok(pivots(&lu).0 * lu.U().diagonal().column_vector().iter().product::<f64>())
    };
    squares.place(squares.each(of)?, &[])
}

/// Eigenvalues and eigenvectors of any square matrix: complex, in no order, the largest element of
/// each vector positive.
///
/// # Errors
/// Matrices that are not square, fewer than two dims, complex numbers, nan or inf.
pub fn eig(value: &Value) -> Result<Eig> {
    let squares = Squares::of(value, "eig")?;
    let n = squares.n;
    let parts = squares.each(|matrix| {
        if n == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let eigen =
            matrix.eigen().map_err(|_| error!("eig did not converge on {}", squares.name()))?;
        let values: Vec<c64> = eigen.S().column_vector().iter().copied().collect();
        let mut vectors = vec![c64::new(0.0, 0.0); n * n];
        for (j, vector) in eigen.U().col_iter().enumerate() {
            let length = vector.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
            let first = c64::new(0.0, 0.0);
            let largest = vector.iter().fold(first, |most, z| {
                if z.norm() > most.norm() * (1.0 + 1e-9) { *z } else { most }
            });
            let turn = if largest.norm() > 0.0 {
                largest.conj() / largest.norm() / length
            } else {
                c64::new(1.0, 0.0)
            };
            for (i, z) in vector.iter().enumerate() {
                vectors[i * n + j] = z * turn;
            }
        }
        Ok((values, vectors))
    })?;
    let (values, vectors): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Ok(Eig {
        values: squares.complex(values.concat(), &[n])?,
        vectors: squares.complex(vectors.concat(), &[n, n])?,
    })
}

/// The eigenvalues of any square matrix: complex, in no order, `[…, n]`.
///
/// # Errors
/// As [`eig`].
pub fn eigvals(value: &Value) -> Result<Value> {
    let squares = Squares::of(value, "eigvals")?;
    let of = |matrix: &Mat<f64>| match squares.n {
        0 => Ok(Vec::new()),
        _ => matrix
            .eigenvalues()
            .map_err(|_| error!("eigvals did not converge on {}", squares.name())),
    };
    squares.complex(squares.each(of)?.concat(), &[squares.n])
}

/// The exponential `Σ aᵏ / k!`, by scaling, a Padé approximant and squaring (Higham 2005).
///
/// # Errors
/// Matrices that are not square, fewer than two dims, complex numbers, nan or inf, and one whose
/// exponential overflows.
pub fn matrix_exp(value: &Value) -> Result<Value> {
    let squares = Squares::of(value, "matrix_exp")?;
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

/// Up to this norm the approximant of degree 13 is exact to double precision.
const LARGEST_NORM: f64 = 5.371920351148152;

/// The coefficients of that approximant.
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
