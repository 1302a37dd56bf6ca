//! The product of two float32 matrices on the CPU, by the library that is fastest on the processor,
//! shared out over the threads of [`parallel`].
//!
//! On x86-64 with AVX2 or AVX-512 that library is `private-gemm-x86`, which is faer's; elsewhere it
//! is the `gemm` crate, which has kernels for NEON. Each part of a product is one call on one thread:
//! the threads that the libraries start themselves would compete with the pool's, which wait for
//! work awake, and products of 32 rows would take up to three times as long.

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use super::parallel;
use super::simd::Cpu;

/// Elements of a matrix in memory, with the steps from row to row and from column to column.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// From the first element of the matrix on.
    pub numbers: &'a [f32],
    /// From row to row and from column to column, in elements.
    pub steps: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// The part of the matrix from this row and this column on.
    pub fn from(self, row: usize, column: usize) -> Self {
        Self { numbers: &self.numbers[row * self.steps[0] + column * self.steps[1]..], ..self }
    }

    /// Whether `numbers` has all elements of a matrix of this shape.
    fn holds(self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.steps[0] + (columns - 1) * self.steps[1] < self.numbers.len()
    }
}

/// The threads that compute a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// The calling thread alone.
    One,
    /// All threads of the pool.
    All,
}

/// How long sums are added up term by term; longer ones are sums of such sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    /// As closely as PyTorch: 96 terms. A library adds up to 512, and a projection of 512 features was
    /// then 1.7 times as far from float64 as PyTorch's (root of the mean square), whose chunks are
    /// shorter. With 96 it is 0.8 times as far, with 128 as far. On two cores with AVX2, products of 16
    /// and 64 rows then take 1.15 times as long as with the libraries' own depth, those of 512 rows 1.1
    /// times.
    Short,
    /// 384 terms, for gradients, from which no more digits are asked for than 4: a way back takes some 0.92
    /// of the time (three rounds on a machine that was not quiet).
    Long,
}

impl Sums {
    fn terms(self) -> usize {
        match self {
            Self::Short => 96,
            Self::Long => 384,
        }
    }
}

/// out \[m, n\] = left \[m, k\] · right \[k, n\] + bias \[n\]. Each row of `out` is contiguous, and the rows
/// are `step` apart.
///
/// # Safety
/// All rows of `out` are valid for writes, and no other thread uses them during the call. They need
/// not be initialised.
///
/// # Panics
/// If a matrix or the bias has fewer elements than the shape says.
pub unsafe fn product(
    shape: [usize; 3],
    out: (*mut f32, usize),
    left: Matrix,
    right: Matrix,
    bias: Option<&[f32]>,
    how: (Cores, Sums),
) {
    let onto = bias.map_or(Onto::Nothing, Onto::Row);
    // SAFETY: the caller's promise is the same; the chosen set is one that the processor has.
    unsafe { product_by(Cpu::chosen(), shape, out, left, right, onto, how) }
}

/// Adds left [m, k] · right [k, n] to out [m, n], on the calling thread. Each row of `out` is
/// contiguous, and the rows are `step` apart.
///
/// # Safety
/// All rows of `out` are initialised and valid for reads and writes, and no other thread uses them
/// during the call.
///
/// # Panics
/// If a matrix has fewer elements than the shape says.
pub unsafe fn add_product(shape: [usize; 3], out: (*mut f32, usize), left: Matrix, right: Matrix) {
    let how = (Cores::One, Sums::Short);
    // SAFETY: the caller's promise is the same; the chosen set is one that the processor has.
    unsafe { product_by(Cpu::chosen(), shape, out, left, right, Onto::Out, how) }
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
enum Onto<'a> {
    Nothing,
    /// To this row, in every row.
    Row(&'a [f32]),
    /// To what is there already.
    Out,
}

/// Columns of one part are a multiple of this, as it is one of the columns that the libraries' kernels
/// compute at a time: 24 with AVX2, 96 with AVX-512.
const COLUMNS: usize = 96;
/// The most columns of one part. Each part reads the left matrix anew, so wide parts are faster as long as
/// their share of the right matrix, once packed, fits in a core's own cache: products of 512 rows take 0.8 to
/// 0.95 of the time that they take with [`COLUMNS`], and one 50,000 terms deep 0.65.
const WIDEST: usize = 384;
/// The fewest rows of one part, where there are too few columns for all threads: each part packs its
/// columns anew.
const ROWS: usize = 32;
/// Products with fewer multiplications than this are computed on the calling thread: waking others
/// would take longer.
const SMALL: usize = 1 << 18;

/// [`product`], by the library for this set of instructions.
///
/// # Safety
/// As [`product`], and with [`Onto::Out`] as [`add_product`]; and the processor has the instructions.
unsafe fn product_by(
    cpu: Cpu,
    [m, n, k]: [usize; 3],
    (out, step): (*mut f32, usize),
    left: Matrix,
    right: Matrix,
    onto: Onto,
    (cores, sums): (Cores, Sums),
) {
    let long_enough = !matches!(onto, Onto::Row(bias) if bias.len() < n);
    assert!(left.holds(m, k) && right.holds(k, n) && long_enough, "a product of [{m}, {n}, {k}]");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        for row in 0..m {
            // SAFETY: the caller's rows are valid for writes of n elements.
            let row = unsafe { std::slice::from_raw_parts_mut(out.add(row * step).cast(), n) };
            match onto {
                Onto::Row(bias) => {
                    row.write_copy_of_slice(&bias[..n]);
                }
                Onto::Nothing => row.fill(MaybeUninit::new(0.0)),
                Onto::Out => {}
            }
        }
        return;
    }
    let shared = cores == Cores::All && m.saturating_mul(n).saturating_mul(k) >= SMALL;
    let tasks = if shared { 2 * parallel::threads() } else { 1 };
    let columns = n.div_ceil(tasks).next_multiple_of(COLUMNS).min(WIDEST);
    let across = n.div_ceil(columns);
    let wanted = tasks.div_ceil(across);
    let rows = m.div_ceil(wanted).max(ROWS);
    let down = m.div_ceil(rows);
    let out = Out(out);
    let part = |index: usize| {
        let (row, column) = (index % down * rows, index / down * columns);
        let (height, width) = (rows.min(m - row), columns.min(n - column));
        let out = out.at(row * step + column);
        if let Onto::Row(bias) = onto {
            for row in 0..height {
                // SAFETY: the parts are disjoint rectangles of `out`, which is the caller's, and
                // each is given to one call of this closure.
                unsafe {
                    out.add(row * step).copy_from_nonoverlapping(bias[column..].as_ptr(), width)
                };
            }
        }
        for depth in (0..k).step_by(sums.terms()) {
            let shape = [height, width, sums.terms().min(k - depth)];
            let (left, right) = (left.from(row, depth), right.from(depth, column));
            let adds = !matches!(onto, Onto::Nothing) || depth > 0;
            // SAFETY: as above; what is added to has been written. The matrices have as many
            // elements as was asserted.
            unsafe { multiply(cpu, shape, (out, step), adds, left, right) };
        }
    };
    match shared {
        true => parallel::each(down * across, part),
        false => (0..down * across).for_each(part),
    }
}

/// Where the elements of a result begin, which the parts share.
struct Out(*mut f32);

// SAFETY: each part writes to a rectangle of its own, and no two rectangles overlap.
unsafe impl Sync for Out {}

impl Out {
    fn at(&self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// out [m, n] = left [m, k] · right [k, n], added to what `out` holds if `adds`, on the calling
/// thread.
///
/// # Safety
/// As [`product_by`]; and the matrices have all elements of the shape, none of whose sizes is 0. If
/// `adds`, `out` is initialised.
unsafe fn multiply(
    cpu: Cpu,
    [m, n, k]: [usize; 3],
    (out, step): (*mut f32, usize),
    adds: bool,
    left: Matrix,
    right: Matrix,
) {
    let [left_row, left_column] = left.steps.map(|step| step as isize);
    let [right_row, right_column] = right.steps.map(|step| step as isize);
    let step = step as isize;
    #[cfg(target_arch = "x86_64")]
    if cpu > Cpu::Portable {
        use private_gemm_x86::{Accum, DType, DstKind, IType, InstrSet, gemm};
        let one = 1f32;
        let instructions = if cpu == Cpu::Avx512 { InstrSet::Avx512 } else { InstrSet::Avx256 };
        let accumulate = if adds { Accum::Add } else { Accum::Replace };
        // SAFETY: the pointers are to float32, as the dtype says, valid for the elements that the
        // shape and the steps span; null stands for what a plain product has not: lists of the rows
        // and columns to write, and a diagonal to scale by. `out` is read only if `adds`.
        unsafe {
            gemm(
                DType::F32,
                IType::U64,
                instructions,
                m,
                n,
                k,
                out.cast(),
                step,
                1,
                std::ptr::null(),
                std::ptr::null(),
                DstKind::Full,
                accumulate,
                left.numbers.as_ptr().cast(),
                left_row,
                left_column,
                false,
                std::ptr::null(),
                0,
                right.numbers.as_ptr().cast(),
                right_row,
                right_column,
                false,
                (&raw const one).cast(),
                1,
            );
        }
        return;
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = cpu;
    // SAFETY: the pointers are valid for the elements that the shape and the steps span; `out` is
    // read only if `adds`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            step,
            adds,
            left.numbers.as_ptr(),
            left_column,
            left_row,
            right.numbers.as_ptr(),
            right_column,
            right_row,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
