//! Tiles in vector registers (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015).

use std::arch::x86_64::{__m256, __m512, _MM_HINT_T1, _mm_prefetch};

use super::engine::{Engine, Start};
use super::panel::{LINE, Source, pack};
use super::registers::Lanes;

/// Registers side by side in a tile.
const SIDE: usize = 2;

/// An engine whose registers are `$V`, and whose tiles have up to so many rows.
macro_rules! engine {
    ($Engine:ident, $V:ty, rows: $most:literal of $($count:literal)*, depth: $depth:literal, block: $block:literal, strips: $strips:literal) => {
        pub struct $Engine;

        // SAFETY: the functions need what the registers need.
        unsafe impl Engine for $Engine {
            const ROWS: usize = $most;
            const COLUMNS: usize = SIDE * <$V>::COUNT;
            const DEPTH: usize = $depth;
            const BLOCK: usize = $block;
            const STRIPS: usize = $strips;

            fn words(rows: usize, depth: usize) -> usize {
                // The last register of a panel may reach beyond it.
                rows * depth + <$V>::COUNT
            }

            #[inline(always)]
            unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
                // SAFETY: as the caller says.
                unsafe { pack::<$V>(to, rows, source, rows, depth) };
                true
            }

            #[inline(always)]
            unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool {
                // SAFETY: as the caller says.
                unsafe { pack::<$V>(to, Self::COLUMNS, source, columns, depth) };
                true
            }

            #[inline(always)]
            unsafe fn tile(
                rows: usize,
                depth: usize,
                panels: [*const f32; 2],
                start: Start,
                out: (*mut f32, usize),
                ahead: *const f32,
            ) {
                match rows {
                    // SAFETY: as the caller says.
                    $($count => unsafe { tile::<$V, $count>(depth, panels, start, out, ahead) },)*
                    rows => unreachable!("a tile of {rows} rows"),
                }
            }
        }
    };
}

engine!(Avx2, __m256, rows: 6 of 1 2 3 4 5 6, depth: 256, block: 240, strips: 8);
engine!(Avx512, __m512, rows: 14 of 1 2 3 4 5 6 7 8 9 10 11 12 13 14, depth: 192, block: 518, strips: 4);

/// The innermost loop: the sums stay in registers while the depth goes by.
#[inline(always)]
unsafe fn tile<V: Lanes, const ROWS: usize>(
    depth: usize,
    [mut left, mut right]: [*const f32; 2],
    start: Start,
    (out, step): (*mut f32, usize),
    ahead: *const f32,
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut sums = [[V::splat(0.0); SIDE]; ROWS];
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(start.from.add(i * start.step + j * V::COUNT));
            }
        }
        for at in (0..depth).step_by(LINE) {
            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(at).cast());
        }
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
