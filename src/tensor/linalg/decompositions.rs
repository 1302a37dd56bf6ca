//! Decompositions of matrices, the last two dims, batched over the dims before them: `svd`, `eigh`,
//! `qr`.
//!
//! f64 is worked out in double precision, all else in f32, on the CPU; a tensor on another device
//! travels there and back. Signs, which the definitions leave open, are fixed, so that a result can
//! be repeated and compared.

use candle_core::{DType, Tensor, WithDType};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::solvers;
use faer::traits::RealField;
use faer::{Conj, MatMut, MatRef, Par, Side};

use crate::kernel::cpu::parallel;
use crate::tensor::Value;
use crate::tensor::elementwise::loops;
use crate::tensor::reduce::along_dim::Lines;
use crate::{Result, error};

/// `a = u diag(s) vh`, thin: of `[…, m, n]` and k the smaller of both, u is `[…, m, k]`, s `[…, k]`
/// and vh `[…, k, n]`.
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

/// The singular value decomposition. The largest element of each column of u is positive.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
pub fn svd(value: &Value) -> Result<Svd> {
    let (a, m, n) = matrices(value, "svd")?;
    let k = m.min(n);
    let [u, s, vh] = by_float(
        &a,
        [&[m, k], &[k], &[k, n]],
        "svd",
        [false, true, false],
        (svd_of::<f32>, svd_of::<f64>),
    )?;
    Ok(Svd { u, s, vh })
}

/// Eigenvalues and eigenvectors of symmetric matrices, of which only the lower triangle is read.
/// The largest element of each vector is positive.
///
/// # Errors
/// Matrices that are not square, fewer than two dims, complex numbers, nan or inf.
pub fn eigh(value: &Value) -> Result<Eigh> {
    let (a, m, n) = matrices(value, "eigh")?;
    if m != n {
        return Err(
            error!("eigh needs square matrices, not {:?}", value.dims()).help("svd takes any")
        );
    }
    let [values, vectors] =
        by_float(&a, [&[n], &[n, n]], "eigh", [true, false], (eigh_of::<f32>, eigh_of::<f64>))?;
    Ok(Eigh { values, vectors })
}

/// Orthonormal columns times an upper triangle, whose diagonal is not negative.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
pub fn qr(value: &Value) -> Result<Qr> {
    let (a, m, n) = matrices(value, "qr")?;
    let k = m.min(n);
    let [q, r] =
        by_float(&a, [&[m, k], &[k, n]], "qr", [false, true], (qr_of::<f32>, qr_of::<f64>))?;
    Ok(Qr { q, r })
}

/// The value as f32 or f64, and the size of its matrices.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf.
pub(crate) fn matrices(value: &Value, call: &str) -> Result<(Tensor, usize, usize)> {
    let &[.., m, n] = value.dims() else {
        return Err(error!("{call} needs a matrix, not a tensor {:?}", value.dims()));
    };
    let tensor = value.real(call)?;
    let tensor =
        if tensor.dtype() == DType::F64 { tensor.clone() } else { tensor.to_dtype(DType::F32)? };
    let finite = match tensor.dtype() {
        DType::F64 => loops::host::<f64>(&tensor)?.iter().all(|x| x.is_finite()),
        _ => loops::host::<f32>(&tensor)?.iter().all(|x| x.is_finite()),
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

/// What a decomposition makes of one matrix: parts row by row.
type Decompose<T, const N: usize> = fn(MatRef<T>) -> Option<[Vec<T>; N]>;

/// The parts, of the given shapes, of each matrix of an f32 or f64 tensor; those that grow with the
/// matrix are `scaled`.
fn by_float<const N: usize>(
    a: &Tensor,
    shapes: [&[usize]; N],
    call: &str,
    scaled: [bool; N],
    (single, double): (Decompose<f32, N>, Decompose<f64, N>),
) -> Result<[Value; N]> {
    match a.dtype() {
        DType::F64 => each(a, shapes, call, scaled, double),
        _ => each(a, shapes, call, scaled, single),
    }
}

fn each<T: WithDType + RealField, const N: usize>(
    a: &Tensor,
    shapes: [&[usize]; N],
    call: &str,
    scaled: [bool; N],
    decompose: Decompose<T, N>,
) -> Result<[Value; N]> {
    let (batch, size) = a.dims().split_at(a.rank() - 2);
    let (m, n) = (size[0], size[1]);
    let elements = loops::host::<T>(a)?;
    // faer shares one matrix between the threads of rayon's pool. Between a few threads, handing
    // over costs more than it brings: on two, a QR of 768 × 768 takes twice as long.
    let few = parallel::threads() <= 4;
    faer::set_global_parallelism(if few { Par::Seq } else { Par::rayon(0) });
    let parts = |i: usize| {
        let mut columns = turned(&elements[i * m * n..][..m * n], n);
        let power = unusual(&columns);
        scale(&mut columns, -power);
        let mut parts = decompose(MatRef::from_column_major_slice(&columns, m, n))?;
        parts
            .iter_mut()
            .zip(scaled)
            .filter(|(_, scaled)| *scaled)
            .for_each(|(part, _)| scale(part, power));
        Some(parts)
    };
    let count = elements.len().checked_div(m * n).unwrap_or(0);
    let decomposed = parallel::map(count, parts)
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| error!("{call} did not converge on a tensor {:?}", a.dims()))?;
    let mut values = Vec::with_capacity(N);
    for (i, shape) in shapes.into_iter().enumerate() {
        let elements =
            decomposed.iter().map(|parts| parts[i].as_slice()).collect::<Vec<_>>().concat();
        values.push(Value::Real(loops::place(elements, &[batch, shape].concat(), a.device())?));
    }
    <[Value; N]>::try_from(values).map_err(|_| error!("{call} has {N} parts"))
}

/// The power of two near the largest element where the square of that would leave the floats, or
/// nearly, else 0.
fn unusual<T: WithDType>(elements: &[T]) -> i32 {
    const USUAL: i32 = 40;
    let most = elements.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
    let power = most.log2().clamp(-1000.0, 1000.0).floor() as i32;
    if most == 0.0 || power.abs() <= USUAL { 0 } else { power }
}

/// Each element times a power of two.
fn scale<T: WithDType>(elements: &mut [T], power: i32) {
    if power != 0 {
        elements.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() * 2f64.powi(power)));
    }
}

fn svd_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 3]> {
    let svd = a.thin_svd().ok()?;
    let (mut u, mut v) = (columns(svd.U()), columns(svd.V()));
    for (u, v) in u.chunks_mut(a.nrows().max(1)).zip(v.chunks_mut(a.ncols().max(1))) {
        if !largest_is_positive(u) {
            negate(u);
            negate(v);
        }
    }
    // The columns of v are the rows of vh.
    Some([turned(&u, a.nrows()), svd.S().column_vector().iter().copied().collect(), v])
}

fn eigh_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 2]> {
    let eigen = a.self_adjoint_eigen(Side::Lower).ok()?;
    let mut vectors = columns(eigen.U());
    for vector in vectors.chunks_mut(a.nrows().max(1)) {
        if !largest_is_positive(vector) {
            negate(vector);
        }
    }
    Some([eigen.S().column_vector().iter().copied().collect(), turned(&vectors, a.nrows())])
}

fn qr_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 2]> {
    let qr = a.qr();
    let mut q = thin_q(&qr, a.nrows().min(a.ncols()));
    let mut r = turned(&columns(qr.thin_R()), qr.thin_R().nrows());
    for (j, (q, r)) in
        q.chunks_mut(a.nrows().max(1)).zip(r.chunks_mut(a.ncols().max(1))).enumerate()
    {
        // Below the diagonal faer keeps what it needs itself.
        r[..j].fill(T::zero());
        if r[j] < T::zero() {
            negate(q);
            negate(r);
        }
    }
    Some([turned(&q, a.nrows()), r])
}

/// The first `count` columns of q, one after the other, some at a time on all cores: reflections
/// that come after a column leave it as it is.
fn thin_q<T: WithDType + RealField>(qr: &solvers::Qr<T>, count: usize) -> Vec<T> {
    let (basis, factor) = (qr.Q_basis(), qr.Q_coeff());
    let (rows, block) = (basis.nrows(), factor.nrows().max(1));
    let some = count.div_ceil(2 * parallel::threads()).next_multiple_of(block);
    let mut q = vec![T::from_f64(0.0); rows * count];
    parallel::chunks(&mut q, some * rows, |piece, q| {
        let first = piece * some;
        for (at, column) in q.chunks_mut(rows).enumerate() {
            column[first + at] = T::from_f64(1.0);
        }
        let (count, used) = (q.len() / rows, first + q.len() / rows);
        let scratch =
            apply_block_householder_sequence_on_the_left_in_place_scratch::<T>(rows, block, count);
        apply_block_householder_sequence_on_the_left_in_place_with_conj(
            basis.get(.., ..used),
            factor.get(.., ..used),
            Conj::No,
            MatMut::from_column_major_slice_mut(q, rows, count),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
        );
    });
    q
}

/// A matrix column by column.
fn columns<T: WithDType + RealField>(m: MatRef<T>) -> Vec<T> {
    let mut all = Vec::with_capacity(m.nrows() * m.ncols());
    for column in m.col_iter() {
        match column.try_as_col_major() {
            Some(column) => all.extend_from_slice(column.as_slice()),
            None => all.extend(column.iter().copied()),
        }
    }
    all
}

/// Lines of this length, turned: rows to columns, or columns to rows.
pub(crate) fn turned<T: WithDType>(lines: &[T], length: usize) -> Vec<T> {
    Lines { outer: 1, size: length, inner: lines.len() / length.max(1) }.turned(
        lines,
        length,
        |x| x,
    )
}

fn largest_is_positive<T: WithDType>(column: &[T]) -> bool {
    let column = column.iter().map(|x| WithDType::to_f64(*x));
    column.fold(0.0, |largest: f64, x| if x.abs() > largest.abs() { x } else { largest }) >= 0.0
}

fn negate<T: WithDType>(line: &mut [T]) {
    for x in line {
        *x = T::zero() - *x;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::index::shape;
    use crate::tensor::linalg::matmul::matmul;
    use crate::tensor::{Kind, Number, creation, dtype};

    const SHAPES: [&[usize]; 6] = [&[5, 3], &[3, 5], &[4, 4], &[2, 3, 6, 2], &[1, 1], &[40, 30]];

    fn noise(dims: &[usize], kind: Kind) -> Value {
        let count = dims.iter().product::<usize>();
        let elements: Vec<f64> =
            (0..count).map(|i| ((i * i * 31 + i * 17 + 5) % 97) as f64 / 48.0 - 1.0).collect();
        let value = Value::Real(loops::place(elements, dims, &Device::Cpu).unwrap());
        dtype::cast(&value, kind).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        creation::to_numbers(value).unwrap().into_iter().map(Number::to_f64).collect()
    }

    fn assert_close(a: &Value, b: &Value, what: &str) {
        assert_eq!((a.dims(), Kind::of(a)), (b.dims(), Kind::of(b)), "{what}");
        let tolerance = if Kind::of(a) == Kind::F64 { 1e-12 } else { 1e-5 };
        let largest = numbers(b).into_iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
        for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((x - y).abs() < tolerance * largest, "{what}: {x} and {y}");
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
        let identity = creation::eye(n, n, Kind::of(columns), &Device::Cpu).unwrap();
        assert_close(&product, &identity.map(|t| t.broadcast_as(product.dims())).unwrap(), what);
    }

    #[test]
    fn parts_multiply_back() {
        for (dims, kind) in
            SHAPES.into_iter().flat_map(|dims| [(dims, Kind::F32), (dims, Kind::F64)])
        {
            let (a, what) = (noise(dims, kind), format!("{dims:?} {kind:?}"));
            let Svd { u, s, vh } = svd(&a).unwrap();
            assert_close(&matmul(&scaled(&u, &s), &vh).unwrap(), &a, &what);
            assert_orthonormal(&u, &what);
            assert_orthonormal(&transposed(&vh), &what);
            let width = s.dims()[s.rank() - 1];
            assert!(
                numbers(&s)
                    .chunks(width)
                    .all(|s| s.is_sorted_by(|x, y| x >= y) && s.iter().all(|x| *x >= 0.0))
            );
            let columns = numbers(&transposed(&u).map(|t| t.contiguous()).unwrap());
            for column in columns.chunks(dims[dims.len() - 2]) {
                let largest =
                    column.iter().fold(0.0f64, |l, x| if x.abs() > l.abs() { *x } else { l });
                assert!(largest > 0.0, "{what}");
            }

            let Qr { q, r } = qr(&a).unwrap();
            assert_close(&matmul(&q, &r).unwrap(), &a, &what);
            assert_orthonormal(&q, &what);
            let lower = shape::tril(&r, -1).unwrap();
            assert!(numbers(&lower).into_iter().all(|x| x == 0.0), "{what}");
            let diagonal =
                creation::eye(r.dims()[r.rank() - 2], r.dims()[r.rank() - 1], kind, &Device::Cpu)
                    .unwrap();
            let on_it = r.map(|t| t.broadcast_mul(diagonal.parts()[0])).unwrap();
            assert!(numbers(&on_it).into_iter().all(|x| x >= 0.0), "{what}");

            let square = matmul(&transposed(&a), &a).unwrap();
            let Eigh { values, vectors } = eigh(&square).unwrap();
            assert_close(
                &matmul(&scaled(&vectors, &values), &transposed(&vectors)).unwrap(),
                &square,
                &what,
            );
            assert_orthonormal(&vectors, &what);
            let width = values.dims()[values.rank() - 1];
            assert!(numbers(&values).chunks(width).all(<[f64]>::is_sorted), "{what}");
        }
    }

    /// Whose columns are reflected in parts.
    #[test]
    fn parts_of_large_matrices_multiply_back() {
        let near = |a: &Value, b: &Value, what: &str| {
            let (a, b) = (numbers(a), numbers(b));
            let off = a.iter().zip(&b).fold(0.0, |most: f64, (x, y)| most.max((x - y).abs()));
            assert!(
                a.len() == b.len()
                    && off < 1e-10 * b.iter().fold(1.0, |most: f64, x| most.max(x.abs())),
                "{what}"
            );
        };
        let eye = |n: usize| creation::eye(n, n, Kind::F64, &Device::Cpu).unwrap();
        for dims in [[530, 520], [300, 520]] {
            let a = noise(&dims, Kind::F64);
            let Qr { q, r } = qr(&a).unwrap();
            near(&matmul(&q, &r).unwrap(), &a, "qr");
            near(&matmul(&transposed(&q), &q).unwrap(), &eye(dims[0].min(dims[1])), "q");
            let square = matmul(&transposed(&a), &a).unwrap();
            let Eigh { values, vectors } = eigh(&square).unwrap();
            near(
                &matmul(&scaled(&vectors, &values), &transposed(&vectors)).unwrap(),
                &square,
                "eigh",
            );
            near(&matmul(&transposed(&vectors), &vectors).unwrap(), &eye(520), "vectors");
        }
    }

    #[test]
    fn eigh_reads_the_lower_triangle_alone() {
        let a = creation::from_numbers(
            &[2, 99, 1, 2].map(Number::Int),
            &[2, 2],
            Some(Kind::F64),
            &Device::Cpu,
        )
        .unwrap();
        let Eigh { values, .. } = eigh(&a).unwrap();
        let values = numbers(&values);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn faults_are_sentences() {
        let matrix = |dims: &[usize]| noise(dims, Kind::F32);
        let nan = Value::Real(Tensor::new(&[[1.0, f32::NAN]], &Device::Cpu).unwrap());
        assert_eq!(
            svd(&nan).err().unwrap().message(),
            "svd: the tensor [1, 2] has elements that are nan or inf"
        );
        assert_eq!(
            svd(&matrix(&[4])).err().unwrap().message(),
            "svd needs a matrix, not a tensor [4]"
        );
        assert_eq!(
            eigh(&matrix(&[2, 3])).err().unwrap().message(),
            "eigh needs square matrices, not [2, 3]"
        );
        assert!(qr(&dtype::cast(&matrix(&[2, 2]), Kind::C64).unwrap()).is_err());
    }

    #[test]
    fn any_dtype_and_empty_matrices_go_in() {
        for kind in [Kind::F16, Kind::BF16, Kind::I64, Kind::Bool] {
            assert_eq!(Kind::of(&svd(&noise(&[3, 2], kind)).unwrap().s), Kind::F32);
        }
        let Svd { u, s, vh } = svd(&noise(&[2, 0, 3], Kind::F32)).unwrap();
        assert_eq!(
            (u.dims(), s.dims(), vh.dims()),
            ([2, 0, 0].as_slice(), [2, 0].as_slice(), [2, 0, 3].as_slice())
        );
    }
}
