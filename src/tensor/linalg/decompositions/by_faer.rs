//! The decompositions by faer, f64 in f64 and all other dtypes in f32.

use candle_core::{DType, Tensor, WithDType};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::solvers;
use faer::traits::RealField;
use faer::{Conj, MatMut, MatRef, Par, Side};

use super::{Eigh, Qr, Svd};
use crate::kernel::cpu::parallel;
use crate::tensor::linalg::matrices::{matrices, transposed};
use crate::tensor::{Value, elements};
use crate::{Result, error};

/// [`svd`](super::svd) of values without a graph.
pub(super) fn thin_svd(value: &Value) -> Result<Svd> {
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

/// [`eigh`](super::eigh) of values without a graph.
pub(super) fn symmetric(value: &Value) -> Result<Eigh> {
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

/// [`qr`](super::qr) of values without a graph.
pub(super) fn thin_qr(value: &Value) -> Result<Qr> {
    let (a, m, n) = matrices(value, "qr")?;
    let k = m.min(n);
    let [q, r] =
        by_float(&a, [&[m, k], &[k, n]], "qr", [false, true], (qr_of::<f32>, qr_of::<f64>))?;
    Ok(Qr { q, r })
}

/// Decomposes one matrix into `N` parts in row-major order; `None` if it does not converge.
type Decompose<T, const N: usize> = fn(MatRef<T>) -> Option<[Vec<T>; N]>;

/// Decomposes each matrix of an f32 or f64 tensor into parts of the given shapes. `scaled` says
/// which parts are proportional to the matrix; `call` names the operation in the error.
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
    let elements = elements::to_vec::<T>(a)?;
    // faer divides the work on one matrix among the threads of rayon's pool. With few threads that
    // costs more than it gains: with two, a QR of 768 × 768 takes twice as long.
    let few = parallel::threads() <= 4;
    faer::set_global_parallelism(if few { Par::Seq } else { Par::rayon(0) });
    let parts = |i: usize| {
        let mut columns = transposed(&elements[i * m * n..][..m * n], n);
        let power = scaling_exponent(&columns);
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
        values.push(Value::Real(elements::from_vec(
            elements,
            &[batch, shape].concat(),
            a.device(),
        )?));
    }
    <[Value; N]>::try_from(values).map_err(|_| error!("{call} has {N} parts"))
}

/// The exponent by which to scale a matrix down so that squares of its elements neither overflow
/// nor underflow: that of the element of greatest magnitude if it is beyond 2^±40, else 0.
fn scaling_exponent<T: WithDType>(elements: &[T]) -> i32 {
    const USUAL: i32 = 40;
    let most = elements.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
    let power = most.log2().clamp(-1000.0, 1000.0).floor() as i32;
    if most == 0.0 || power.abs() <= USUAL { 0 } else { power }
}

/// Multiplies each element by 2^`power`.
fn scale<T: WithDType>(elements: &mut [T], power: i32) {
    if power != 0 {
        elements.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() * 2f64.powi(power)));
    }
}

/// The singular value decomposition of one matrix.
fn svd_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 3]> {
    let svd = a.thin_svd().ok()?;
    let (mut u, mut v) = (columns(svd.U()), columns(svd.V()));
    for (u, v) in u.chunks_mut(a.nrows().max(1)).zip(v.chunks_mut(a.ncols().max(1))) {
        if !largest_is_positive(u) {
            negate(u);
            negate(v);
        }
    }
    // v column by column is vh row by row.
    Some([transposed(&u, a.nrows()), svd.S().column_vector().iter().copied().collect(), v])
}

/// The eigendecomposition of one matrix.
fn eigh_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 2]> {
    let eigen = a.self_adjoint_eigen(Side::Lower).ok()?;
    let mut vectors = columns(eigen.U());
    for vector in vectors.chunks_mut(a.nrows().max(1)) {
        if !largest_is_positive(vector) {
            negate(vector);
        }
    }
    Some([eigen.S().column_vector().iter().copied().collect(), transposed(&vectors, a.nrows())])
}

/// The q and r of one matrix.
fn qr_of<T: WithDType + RealField>(a: MatRef<T>) -> Option<[Vec<T>; 2]> {
    let qr = a.qr();
    let mut q = thin_q(&qr, a.nrows().min(a.ncols()));
    let mut r = transposed(&columns(qr.thin_R()), qr.thin_R().nrows());
    for (j, (q, r)) in
        q.chunks_mut(a.nrows().max(1)).zip(r.chunks_mut(a.ncols().max(1))).enumerate()
    {
        // faer stores its Householder vectors below the diagonal.
        r[..j].fill(T::zero());
        if r[j] < T::zero() {
            negate(q);
            negate(r);
        }
    }
    Some([transposed(&q, a.nrows()), r])
}

/// The first `count` columns of q, in column-major order. Blocks of columns are computed in
/// parallel: a column is not changed by the Householder reflections whose number is greater than
/// its own, so each block needs only those up to its last column.
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

/// The elements of a matrix in column-major order.
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

fn largest_is_positive<T: WithDType>(column: &[T]) -> bool {
    let column = column.iter().map(|x| WithDType::to_f64(*x));
    column.fold(0.0, |largest: f64, x| if x.abs() > largest.abs() { x } else { largest }) >= 0.0
}

fn negate<T: WithDType>(line: &mut [T]) {
    for x in line {
        *x = T::zero() - *x;
    }
}
