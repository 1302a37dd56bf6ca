//! A product, and who computes it.

use gemm::Parallelism;

use crate::kernel::cpu::simd::Cpu;

/// Numbers of a matrix where they stand, with the steps from row to row and from column to column.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub numbers: &'a [f32],
    pub steps: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// From this row and this column on.
    pub fn from(self, row: usize, column: usize) -> Self {
        Self { numbers: &self.numbers[row * self.steps[0] + column * self.steps[1]..], ..self }
    }

    fn holds(self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.steps[0] + (columns - 1) * self.steps[1] < self.numbers.len()
    }
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// The thread that asks.
    One,
    /// All of the pool.
    All,
}

/// out [m, n] = left [m, k] · right [k, n], to each row of which `bias` [n] is added. The rows of
/// `out` stand `step` apart, each in one piece.
///
/// # Safety
/// `out` is writable in all rows, and nobody else uses those.
///
/// # Panics
/// A matrix or a bias smaller than the shape.
pub unsafe fn product(
    [m, n, k]: [usize; 3],
    (out, step): (*mut f32, usize),
    left: Matrix,
    right: Matrix,
    bias: Option<&[f32]>,
    cores: Cores,
) {
    assert!(
        left.holds(m, k) && right.holds(k, n) && bias.is_none_or(|bias| bias.len() >= n),
        "a product of [{m}, {n}, {k}]"
    );
    if m == 0 || n == 0 {
        return;
    }
    let shape = [m, n, k];
    #[cfg(target_arch = "x86_64")]
    if k > 0 {
        let blocks = super::loops::Blocks { shape, out, step, left, right, bias };
        match Cpu::chosen() {
            // Few rows are not worth the right matrix's digits; and a shorter sum in float32 may be
            // more exact.
            Cpu::Amx if m >= 16 && k >= 256 => return unsafe { blocks.amx(cores) },
            Cpu::Amx | Cpu::Avx512 => return unsafe { blocks.avx512(cores) },
            Cpu::Avx2 => return unsafe { blocks.avx2(cores) },
            Cpu::Portable => {}
        }
    }
    // SAFETY: as the caller says.
    unsafe { elsewhere(shape, (out, step), left, right, bias, cores) }
}

/// By the `gemm` crate.
unsafe fn elsewhere(
    [m, n, k]: [usize; 3],
    (out, step): (*mut f32, usize),
    left: Matrix,
    right: Matrix,
    bias: Option<&[f32]>,
    cores: Cores,
) {
    let steps = |steps: [usize; 2]| steps.map(|step| step as isize);
    let ([left_row, left_column], [right_row, right_column]) =
        (steps(left.steps), steps(right.steps));
    let parallelism = match cores {
        Cores::One => Parallelism::None,
        Cores::All => Parallelism::Rayon(0),
    };
    // SAFETY: as the caller says; the matrices are as large as the shape. `out` is read only where
    // the bias stands.
    unsafe {
        if let Some(bias) = bias {
            for row in 0..m {
                out.add(row * step).copy_from_nonoverlapping(bias.as_ptr(), n);
            }
        }
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            step as isize,
            bias.is_some(),
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
            parallelism,
        );
    }
}
