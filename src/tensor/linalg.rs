//! Decompositions of matrices, the last two dims, batched over the dims before them: `svd`, `eigh`, `qr`, `pca`, `lstsq`.
//!
//! f64 is worked out in double precision, all else in f32, on the CPU; a tensor on another device travels there and back.
//! Signs, which the definitions leave open, are fixed, so that a result can be repeated and compared.

use candle_core::{DType, Tensor, WithDType};
use faer::traits::RealField;
use faer::{Mat, MatMut, MatRef, Side};
use rayon::prelude::*;

use super::matmul::matmul;
use super::{Kind, Value, dtype, kernel};
use crate::{Result, bail, error};

/// `a = u diag(s) vh`, thin: of `[…, m, n]` and k the smaller of both, u is `[…, m, k]`, s `[…, k]` and vh `[…, k, n]`.
pub struct Svd {
    pub u: Value,
    /// Descending.
    pub s: Value,
    pub vh: Value,
}

/// `a = vectors diag(values) vectorsᵀ`.
pub struct Eigh {
    /// Ascending, `[…, n]`.
    pub values: Value,
    /// The columns of `[…, n, n]`.
    pub vectors: Value,
}

/// `a = q r`, thin: of `[…, m, n]` and k the smaller of both, q is `[…, m, k]` and r `[…, k, n]`.
pub struct Qr {
    pub q: Value,
    pub r: Value,
}

/// The directions in which points spread the most.
pub struct Pca {
    /// `[k, d]`, of length 1.
    pub components: Value,
    /// The variance along each, `[k]`.
    pub explained_variance: Value,
    /// `[d]`.
    pub mean: Value,
    /// The points less their mean, along the components: `[n, k]`.
    pub projected: Value,
}

/// The singular value decomposition. The largest element of each column of u is positive.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
pub fn svd(value: &Value) -> Result<Svd> {
    let (a, m, n) = matrices(value, "svd")?;
    let k = m.min(n);
    let [u, s, vh] = by_float(&a, [&[m, k], &[k], &[k, n]], "svd", (svd_of::<f32>, svd_of::<f64>))?;
    Ok(Svd { u, s, vh })
}

/// Eigenvalues and eigenvectors of symmetric matrices, of which only the lower triangle is read. The largest element of
/// each vector is positive.
///
/// # Errors
/// Matrices that are not square, fewer than two dims, complex numbers, nan or inf.
pub fn eigh(value: &Value) -> Result<Eigh> {
    let (a, m, n) = matrices(value, "eigh")?;
    if m != n {
        return Err(error!("eigh needs square matrices, not {:?}", value.dims()).help("svd takes any"));
    }
    let [values, vectors] = by_float(&a, [&[n], &[n, n]], "eigh", (eigh_of::<f32>, eigh_of::<f64>))?;
    Ok(Eigh { values, vectors })
}

/// Orthonormal columns times an upper triangle, whose diagonal is not negative.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
pub fn qr(value: &Value) -> Result<Qr> {
    let (a, m, n) = matrices(value, "qr")?;
    let k = m.min(n);
    let [q, r] = by_float(&a, [&[m, k], &[k, n]], "qr", (qr_of::<f32>, qr_of::<f64>))?;
    Ok(Qr { q, r })
}

/// The `k` principal components of `[n, d]`, n points. The largest element of each component is positive.
///
/// # Errors
/// Other than two dims, fewer than two points, a `k` that is not in 1..=min(n, d), complex numbers, nan or inf.
pub fn pca(value: &Value, k: i64) -> Result<Pca> {
    let &[n, d] = value.dims() else {
        return Err(error!("pca needs points as rows, [n, d], not a tensor {:?}", value.dims())
            .help("flatten the dims before the last, as in x.reshape([-1, d])"));
    };
    if n < 2 {
        bail!("pca needs at least two points, and a tensor [{n}, {d}] has {n}");
    }
    let most = n.min(d) as i64;
    if !(1..=most).contains(&k) {
        bail!("pca: a tensor [{n}, {d}] has 1 to {most} components, not {k}");
    }
    let (k, (x, ..)) = (k as usize, matrices(value, "pca")?);
    let mean = x.to_dtype(DType::F64)?.mean_keepdim(0)?.to_dtype(x.dtype())?;
    let centered = x.broadcast_sub(&mean)?;
    let (s, vh) = {
        let Svd { s, vh, .. } = svd(&Value::Real(centered.clone()))?;
        (s.real("pca")?.narrow(0, 0, k)?, vh.real("pca")?.narrow(0, 0, k)?)
    };
    let components = vh.broadcast_mul(&signs(&vh)?)?;
    Ok(Pca {
        projected: matmul(&Value::Real(centered), &Value::Real(components.t()?))?,
        components: Value::Real(components),
        explained_variance: Value::Real((s.sqr()? / (n - 1) as f64)?),
        mean: Value::Real(mean.squeeze(0)?),
    })
}

/// For each row 1 or -1, whichever makes its largest element positive.
fn signs(rows: &Tensor) -> Result<Tensor> {
    let largest = rows.abs()?.contiguous()?.argmax_keepdim(1)?;
    let chosen = rows.contiguous()?.gather(&largest, 1)?;
    Ok(chosen.ge(&chosen.zeros_like()?)?.to_dtype(rows.dtype())?.affine(2.0, -1.0)?)
}

/// The x of least `|a x - b|`, and of those the shortest: for a of `[…, m, n]`, b of `[…, m, k]` gives `[…, n, k]` and b
/// of `[…, m]` gives `[…, n]`.
///
/// # Errors
/// Shapes that do not fit, complex numbers, nan or inf.
pub fn lstsq(a: &Value, b: &Value) -> Result<Value> {
    let (x, m, n) = matrices(a, "lstsq")?;
    let batch = &a.dims()[..a.rank() - 2];
    let vector = b.rank() + 1 == a.rank();
    let rows = if vector { b.map(|t| t.unsqueeze(b.rank()))? } else { b.clone() };
    let fits = rows.rank() == a.rank() && rows.dims()[..a.rank() - 1] == a.dims()[..a.rank() - 1];
    if !fits {
        return Err(error!("lstsq: shapes {:?} and {:?} do not fit", a.dims(), b.dims())
            .help("a of [.., m, n] takes b of [.., m, k] or [.., m]"));
    }
    let (y, _, k) = matrices(&rows, "lstsq")?;
    let work = if x.dtype() == DType::F64 || y.dtype() == DType::F64 { Kind::F64 } else { Kind::F32 };
    let float = |t: Tensor| dtype::cast(&Value::Real(t), work);
    let Svd { u, s, vh } = svd(&float(x)?)?;
    let epsilon = if work == Kind::F64 { f64::EPSILON } else { f32::EPSILON.into() };
    let s = s.real("lstsq")?;
    let inverse = if s.elem_count() == 0 {
        s.clone()
    } else {
        // A singular value below this is a zero that rounding has spoilt.
        let least = (s.max_keepdim(s.rank() - 1)? * (epsilon * m.max(n) as f64))?;
        s.broadcast_gt(&least)?.where_cond(&s.recip()?, &s.zeros_like()?)?
    };
    let turned = matmul(&u.map(|t| t.t())?, &float(y)?)?;
    let scaled = turned.map(|t| t.broadcast_mul(&inverse.unsqueeze(inverse.rank())?))?;
    let solution = matmul(&vh.map(|t| t.t())?, &scaled)?;
    let mut shape = [batch, &[n]].concat();
    shape.extend((!vector).then_some(k));
    solution.map(|t| t.reshape(shape.as_slice()))
}

/// The value as f32 or f64, and the size of its matrices.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
fn matrices(value: &Value, call: &str) -> Result<(Tensor, usize, usize)> {
    let &[.., m, n] = value.dims() else {
        return Err(error!("{call} needs a matrix, not a tensor {:?}", value.dims()));
    };
    let tensor = value.real(call)?;
    let tensor = if tensor.dtype() == DType::F64 { tensor.clone() } else { tensor.to_dtype(DType::F32)? };
    let finite = match tensor.dtype() {
        DType::F64 => kernel::host::<f64>(&tensor)?.iter().all(|x| x.is_finite()),
        _ => kernel::host::<f32>(&tensor)?.iter().all(|x| x.is_finite()),
    };
    if !finite {
        return Err(error!("{call}: the tensor {:?} has elements that are nan or inf", value.dims())
            .help("x.abs() < 1e30 finds the others"));
    }
    Ok((tensor, m, n))
}

/// What a decomposition makes of one matrix.
type Decompose<T, const N: usize> = fn(MatRef<T>) -> Option<[Mat<T>; N]>;

/// The parts, of the given shapes, of each matrix of an f32 or f64 tensor.
fn by_float<const N: usize>(
    a: &Tensor,
    shapes: [&[usize]; N],
    call: &str,
    (single, double): (Decompose<f32, N>, Decompose<f64, N>),
) -> Result<[Value; N]> {
    match a.dtype() {
        DType::F64 => each(a, shapes, call, double),
        _ => each(a, shapes, call, single),
    }
}

fn each<T: WithDType + RealField, const N: usize>(
    a: &Tensor,
    shapes: [&[usize]; N],
    call: &str,
    decompose: Decompose<T, N>,
) -> Result<[Value; N]> {
    let (batch, size) = a.dims().split_at(a.rank() - 2);
    let (m, n) = (size[0], size[1]);
    let elements = kernel::host::<T>(a)?;
    let decomposed = elements
        .par_chunks((m * n).max(1))
        .map(|matrix| decompose(MatRef::from_row_major_slice(matrix, m, n)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| error!("{call} did not converge on a tensor {:?}", a.dims()))?;
    let mut values = Vec::with_capacity(N);
    for (i, shape) in shapes.into_iter().enumerate() {
        let parts = decomposed.iter().map(|parts| &parts[i]);
        let elements: Vec<T> = parts.flat_map(|part| part.row_iter().flat_map(|row| row.iter().copied())).collect();
        values.push(Value::Real(kernel::place(elements, &[batch, shape].concat(), a.device())?));
    }
    <[Value; N]>::try_from(values).map_err(|_| error!("{call} has {N} parts"))
}

fn svd_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Mat<T>; 3]> {
    let svd = a.thin_svd().ok()?;
    let (mut u, mut v) = (svd.U().to_owned(), svd.V().to_owned());
    for j in 0..u.ncols() {
        if !largest_is_positive(u.as_ref(), j) {
            negate(u.as_mut(), j);
            negate(v.as_mut(), j);
        }
    }
    Some([u, svd.S().column_vector().as_mat().to_owned(), v.transpose().to_owned()])
}

fn eigh_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Mat<T>; 2]> {
    let eigen = a.self_adjoint_eigen(Side::Lower).ok()?;
    let mut vectors = eigen.U().to_owned();
    for j in 0..vectors.ncols() {
        if !largest_is_positive(vectors.as_ref(), j) {
            negate(vectors.as_mut(), j);
        }
    }
    Some([eigen.S().column_vector().as_mat().to_owned(), vectors])
}

fn qr_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Mat<T>; 2]> {
    let qr = a.qr();
    let (mut q, full) = (qr.compute_thin_Q(), qr.thin_R());
    let zero = T::from_f64(0.0);
    let mut r = Mat::from_fn(full.nrows(), full.ncols(), |i, j| if i <= j { full[(i, j)] } else { zero });
    for j in 0..q.ncols() {
        if r[(j, j)] < zero {
            negate(q.as_mut(), j);
            negate(r.as_mut().transpose_mut(), j);
        }
    }
    Some([q, r])
}

fn largest_is_positive<T: WithDType + RealField>(m: MatRef<T>, column: usize) -> bool {
    let column = m.col(column).iter().map(|x| WithDType::to_f64(*x));
    column.fold(0.0, |largest: f64, x| if x.abs() > largest.abs() { x } else { largest }) >= 0.0
}

fn negate<T: WithDType + RealField>(mut m: MatMut<T>, column: usize) {
    for i in 0..m.nrows() {
        m[(i, column)] = -m[(i, column)];
    }
}
