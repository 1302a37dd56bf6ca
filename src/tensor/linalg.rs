//! Decompositions of matrices, the last two dims, batched over the dims before them: `svd`, `eigh`, `qr`, `pca`, `lstsq`.
//!
//! f64 is worked out in double precision, all else in f32, on the CPU; a tensor on another device travels there and back.
//! Signs, which the definitions leave open, are fixed, so that a result can be repeated and compared.

use candle_core::{DType, Device, Tensor, WithDType};
use faer::traits::RealField;
use faer::{Mat, MatMut, MatRef, Side};
use rayon::prelude::*;

use super::matmul::matmul;
use super::{Kind, Value, device, dtype, kernel};
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
    let points = device::transfer(&x, &Device::Cpu)?.to_dtype(DType::F64)?;
    let mean = points.mean_keepdim(0)?.to_dtype(x.dtype())?.to_device(x.device())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Number, make};

    const SHAPES: [&[usize]; 6] = [&[5, 3], &[3, 5], &[4, 4], &[2, 3, 6, 2], &[1, 1], &[40, 30]];

    fn noise(dims: &[usize], kind: Kind) -> Value {
        let count = dims.iter().product::<usize>();
        let elements: Vec<f64> = (0..count).map(|i| ((i * i * 31 + i * 17 + 5) % 97) as f64 / 48.0 - 1.0).collect();
        let value = Value::Real(kernel::place(elements, dims, &Device::Cpu).unwrap());
        dtype::cast(&value, kind).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        make::to_numbers(value).unwrap().into_iter().map(Number::to_f64).collect()
    }

    fn assert_close(a: &Value, b: &Value, what: &str) {
        assert_eq!((a.dims(), Kind::of(a)), (b.dims(), Kind::of(b)), "{what}");
        let tolerance = if Kind::of(a) == Kind::F64 { 1e-12 } else { 1e-5 };
        for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((x - y).abs() < tolerance * (1.0 + y.abs()), "{what}: {x} and {y}");
        }
    }

    fn transposed(value: &Value) -> Value {
        value.map(|t| t.t()).unwrap()
    }

    /// `values` along the columns of `vectors`.
    fn scaled(vectors: &Value, values: &Value) -> Value {
        let values = values.parts()[0].unsqueeze(values.rank() - 1).unwrap();
        vectors.map(|t| t.broadcast_mul(&values)).unwrap()
    }

    fn assert_orthonormal(columns: &Value, what: &str) {
        let product = matmul(&transposed(columns), columns).unwrap();
        let n = product.dims()[product.rank() - 1];
        let identity = make::eye(n, n, Kind::of(columns), &Device::Cpu).unwrap();
        assert_close(&product, &identity.map(|t| t.broadcast_as(product.dims())).unwrap(), what);
    }

    #[test]
    fn parts_multiply_back() {
        for (dims, kind) in SHAPES.into_iter().flat_map(|dims| [(dims, Kind::F32), (dims, Kind::F64)]) {
            let (a, what) = (noise(dims, kind), format!("{dims:?} {kind:?}"));
            let Svd { u, s, vh } = svd(&a).unwrap();
            assert_close(&matmul(&scaled(&u, &s), &vh).unwrap(), &a, &what);
            assert_orthonormal(&u, &what);
            assert_orthonormal(&transposed(&vh), &what);
            let width = s.dims()[s.rank() - 1];
            assert!(numbers(&s).chunks(width).all(|s| s.is_sorted_by(|x, y| x >= y) && s.iter().all(|x| *x >= 0.0)));
            let columns = numbers(&transposed(&u).map(|t| t.contiguous()).unwrap());
            for column in columns.chunks(dims[dims.len() - 2]) {
                let largest = column.iter().fold(0.0f64, |l, x| if x.abs() > l.abs() { *x } else { l });
                assert!(largest > 0.0, "{what}");
            }

            let Qr { q, r } = qr(&a).unwrap();
            assert_close(&matmul(&q, &r).unwrap(), &a, &what);
            assert_orthonormal(&q, &what);
            let lower = crate::tensor::shape::tril(&r, -1).unwrap();
            assert!(numbers(&lower).into_iter().all(|x| x == 0.0), "{what}");
            let diagonal = make::eye(r.dims()[r.rank() - 2], r.dims()[r.rank() - 1], kind, &Device::Cpu).unwrap();
            let on_it = r.map(|t| t.broadcast_mul(diagonal.parts()[0])).unwrap();
            assert!(numbers(&on_it).into_iter().all(|x| x >= 0.0), "{what}");

            let square = matmul(&transposed(&a), &a).unwrap();
            let Eigh { values, vectors } = eigh(&square).unwrap();
            assert_close(&matmul(&scaled(&vectors, &values), &transposed(&vectors)).unwrap(), &square, &what);
            assert_orthonormal(&vectors, &what);
            let width = values.dims()[values.rank() - 1];
            assert!(numbers(&values).chunks(width).all(<[f64]>::is_sorted), "{what}");
        }
    }

    #[test]
    fn eigh_reads_the_lower_triangle_alone() {
        let a = make::from_numbers(&[2, 99, 1, 2].map(Number::Int), &[2, 2], Some(Kind::F64), &Device::Cpu).unwrap();
        let Eigh { values, .. } = eigh(&a).unwrap();
        let values = numbers(&values);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn components_carry_the_variance() {
        let x = noise(&[30, 4], Kind::F64);
        let Pca { components, explained_variance, mean, projected } = pca(&x, 4).unwrap();
        assert_orthonormal(&transposed(&components), "components");
        let back = matmul(&projected, &components).unwrap().map(|t| t.broadcast_add(mean.parts()[0])).unwrap();
        assert_close(&back, &x, "all components give the points back");
        let covariance = matmul(&transposed(&projected), &projected).unwrap().map(|t| t / 29.0).unwrap();
        let eye = make::eye(4, 4, Kind::F64, &Device::Cpu).unwrap();
        assert_close(&covariance, &scaled(&eye, &explained_variance), "covariance");
        let two = pca(&x, 2).unwrap();
        assert_eq!((two.components.dims(), two.projected.dims()), ([2, 4].as_slice(), [30, 2].as_slice()));
        assert_eq!(numbers(&two.explained_variance), numbers(&explained_variance)[..2]);
        for row in numbers(&components).chunks(4) {
            assert!(row.iter().fold(0.0f64, |l, x| if x.abs() > l.abs() { *x } else { l }) > 0.0);
        }
    }

    #[test]
    fn the_solution_leaves_an_orthogonal_rest() {
        for (a_dims, b_dims, x_dims) in [
            (&[6, 3] as &[usize], &[6, 2] as &[usize], &[3, 2] as &[usize]),
            (&[6, 3], &[6], &[3]),
            (&[3, 6], &[3, 2], &[6, 2]),
            (&[2, 6, 3], &[2, 6, 4], &[2, 3, 4]),
            (&[2, 6, 3], &[2, 6], &[2, 3]),
        ] {
            let (a, b) = (noise(a_dims, Kind::F64), noise(b_dims, Kind::F64));
            let x = lstsq(&a, &b).unwrap();
            assert_eq!(x.dims(), x_dims);
            let column =
                |v: &Value| if a_dims.len() > v.rank() { v.map(|t| t.unsqueeze(t.rank())) } else { Ok(v.clone()) };
            let (x, b) = (column(&x).unwrap(), column(&b).unwrap());
            let rest = matmul(&a, &x).unwrap().parts()[0].sub(b.parts()[0]).unwrap();
            let normal = matmul(&transposed(&a), &Value::Real(rest)).unwrap();
            assert!(numbers(&normal).into_iter().all(|x| x.abs() < 1e-11), "{a_dims:?}");
        }
        // Of rank 1: the shortest of many solutions.
        let a = make::from_numbers(&[1, 1, 2, 2].map(Number::Int), &[2, 2], None, &Device::Cpu).unwrap();
        let b = make::from_numbers(&[2, 4].map(Number::Int), &[2], None, &Device::Cpu).unwrap();
        assert!(numbers(&lstsq(&a, &b).unwrap()).into_iter().all(|x| (x - 1.0).abs() < 1e-6));
    }

    #[test]
    fn faults_are_sentences() {
        let matrix = |dims: &[usize]| noise(dims, Kind::F32);
        let nan = Value::Real(Tensor::new(&[[1.0, f32::NAN]], &Device::Cpu).unwrap());
        assert_eq!(svd(&nan).err().unwrap().message(), "svd: the tensor [1, 2] has elements that are nan or inf");
        assert_eq!(svd(&matrix(&[4])).err().unwrap().message(), "svd needs a matrix, not a tensor [4]");
        assert_eq!(eigh(&matrix(&[2, 3])).err().unwrap().message(), "eigh needs square matrices, not [2, 3]");
        assert_eq!(
            lstsq(&matrix(&[4, 3]), &matrix(&[3])).unwrap_err().message(),
            "lstsq: shapes [4, 3] and [3] do not fit"
        );
        assert_eq!(
            pca(&matrix(&[5, 3]), 4).err().unwrap().message(),
            "pca: a tensor [5, 3] has 1 to 3 components, not 4"
        );
        assert!(pca(&matrix(&[1, 3]), 1).is_err() && pca(&matrix(&[3]), 1).is_err());
        assert!(qr(&dtype::cast(&matrix(&[2, 2]), Kind::C64).unwrap()).is_err());
    }

    #[test]
    fn any_dtype_and_empty_matrices_go_in() {
        for kind in [Kind::F16, Kind::BF16, Kind::I64, Kind::Bool] {
            assert_eq!(Kind::of(&svd(&noise(&[3, 2], kind)).unwrap().s), Kind::F32);
        }
        let Svd { u, s, vh } = svd(&noise(&[2, 0, 3], Kind::F32)).unwrap();
        assert_eq!((u.dims(), s.dims(), vh.dims()), ([2, 0, 0].as_slice(), [2, 0].as_slice(), [2, 0, 3].as_slice()));
        assert_eq!(numbers(&lstsq(&noise(&[0, 3], Kind::F32), &noise(&[0], Kind::F32)).unwrap()), [0.0; 3]);
    }
}
