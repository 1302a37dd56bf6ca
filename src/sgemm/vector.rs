//! Tiles in vector registers (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015).

use std::arch::x86_64::{__m256, __m512};

use super::engine::{Engine, Start};
use super::lanes::Lanes;
use super::panel::{Source, pack};

/// Registers side by side in a tile.
const SIDE: usize = 2;

/// A tile with as many rows as there are.
macro_rules! by_rows {
    ($V:ty, $rows:expr, $arguments:tt, $($count:literal)*) => {
        match $rows {
            $($count => unsafe { tile::<$V, $count> $arguments },)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

pub struct Avx2;
pub struct Avx512;

// SAFETY: AVX2 and FMA are what the functions need.
unsafe impl Engine for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = SIDE * __m256::COUNT;
    const DEPTH: usize = 256;
    const BLOCK: usize = 240;
    const STRIPS: usize = 8;

    fn words(rows: usize, depth: usize) -> usize {
        // The last register of a panel may reach beyond it.
        rows * depth + __m256::COUNT
    }

    #[inline(always)]
    unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<__m256>(to, rows, source, rows, depth) };
        true
    }

    #[inline(always)]
    unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<__m256>(to, Self::COLUMNS, source, columns, depth) };
        true
    }

    #[inline(always)]
    unsafe fn tile(
        rows: usize,
        depth: usize,
        left: *const f32,
        right: *const f32,
        start: Start,
        out: (*mut f32, usize),
    ) {
        // SAFETY: as the caller says.
        by_rows!(__m256, rows, (depth, left, right, start, out), 1 2 3 4 5 6)
    }
}

// SAFETY: AVX-512 is what the functions need.
unsafe impl Engine for Avx512 {
    const ROWS: usize = 14;
    const COLUMNS: usize = SIDE * __m512::COUNT;
    const DEPTH: usize = 192;
    const BLOCK: usize = 518;
    const STRIPS: usize = 4;

    fn words(rows: usize, depth: usize) -> usize {
        // The last register of a panel may reach beyond it.
        rows * depth + __m512::COUNT
    }

    #[inline(always)]
    unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<__m512>(to, rows, source, rows, depth) };
        true
    }

    #[inline(always)]
    unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<__m512>(to, Self::COLUMNS, source, columns, depth) };
        true
    }

    #[inline(always)]
    unsafe fn tile(
        rows: usize,
        depth: usize,
        left: *const f32,
        right: *const f32,
        start: Start,
        out: (*mut f32, usize),
    ) {
        // SAFETY: as the caller says.
        by_rows!(__m512, rows, (depth, left, right, start, out), 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }
}

/// The innermost loop: the sums stay in registers while the depth goes by.
#[inline(always)]
unsafe fn tile<V: Lanes, const ROWS: usize>(
    depth: usize,
    left: *const f32,
    right: *const f32,
    start: Start,
    (out, step): (*mut f32, usize),
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut sums = [[V::splat(0.0); SIDE]; ROWS];
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(start.from.add(i * start.step + j * V::COUNT));
            }
        }
        let (mut left, mut right) = (left, right);
        for _ in 0..depth {
            let numbers: [V; SIDE] = std::array::from_fn(|j| V::load(right.add(j * V::COUNT)));
            for (i, sums) in sums.iter_mut().enumerate() {
                let by = V::splat(*left.add(i));
                for (sum, number) in sums.iter_mut().zip(numbers) {
                    *sum = number.mul_add(by, *sum);
                }
            }
            left = left.add(ROWS);
            right = right.add(SIDE * V::COUNT);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                sum.store(out.add(i * step + j * V::COUNT));
            }
        }
    }
}
