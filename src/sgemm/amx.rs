//! Tiles in Intel's AMX, which multiplies bfloat16 only: each float32 is the sum of three bfloat16 (8 + 8 + 8 bits of its 24), and of the nine
//! products of two such sums the six are made that a float32 can hold (Henry, Tang and Heinecke 2019, «Leveraging the bfloat16 Artificial
//! Intelligence Datatype For Higher-Precision Computations»). What is left out is below 2⁻²⁵ of a product; AMX adds in float32.

use std::arch::asm;
use std::arch::x86_64::*;

use super::engine::{Engine, Start};
use super::lanes::Lanes;
use super::panel::Source;

/// Rows, and columns, of one AMX tile of float32.
const SIDE: usize = 16;
/// What one instruction goes deep.
const STEP: usize = 32;
/// Words of a panel's step: three parts of two tiles.
const WORDS: usize = 3 * 2 * SIDE * SIDE;

pub struct Amx;

/// Whether the processor has it and the system lets this process use it: asked for once, before threads begin.
pub fn allowed() -> bool {
    const TILES: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    let has = is_x86_feature_detected!("avx512bw") && __cpuid_count(7, 0).edx & (TILES | BF16) == TILES | BF16;
    has && permitted()
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const REQUEST: std::ffi::c_int = 0x1023;
    const TILE_DATA: std::ffi::c_int = 18;
    // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), which reads and writes no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

// SAFETY: AMX and AVX-512 are what the functions need.
unsafe impl Engine for Amx {
    const ROWS: usize = 2 * SIDE;
    const COLUMNS: usize = 2 * SIDE;
    const DEPTH: usize = 4 * STEP;
    const BLOCK: usize = 512;
    const STRIPS: usize = 12;

    fn words(rows: usize, depth: usize) -> usize {
        rows.div_ceil(Self::ROWS) * depth.div_ceil(STEP) * WORDS
    }

    #[inline(always)]
    unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<false>(to, source, rows, depth) }
    }

    #[inline(always)]
    unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<true>(to, source, columns, depth) }
    }

    #[inline(always)]
    unsafe fn tile(_: usize, depth: usize, left: *const f32, right: *const f32, start: Start, out: (*mut f32, usize)) {
        // SAFETY: as the caller says.
        unsafe { tile(depth.div_ceil(STEP), left, right, start, out) }
    }

    #[inline(always)]
    unsafe fn begin() {
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        row_bytes[..8].fill(4 * SIDE as u16);
        rows[..8].fill(SIDE as u8);
        let shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows };
        // SAFETY: the shapes are valid: eight whole tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
    }

    #[inline(always)]
    unsafe fn end() {
        // SAFETY: nothing is in the tiles any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Four tiles of sums, in tmm0 to tmm3, of which the left matrix's part stands in tmm4 and tmm5, the right one's in tmm6 and tmm7. A step's parts are,
/// from the largest on, 2048 bytes apart; products come in an order in which each pair of parts differs from the one before in one.
#[inline(always)]
unsafe fn tile(steps: usize, left: *const f32, right: *const f32, start: Start, (out, step): (*mut f32, usize)) {
    macro_rules! multiply {
        () => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n"
        };
    }
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "tileloadd tmm0, [{start} + {start_row}]",
            "tileloadd tmm1, [{start} + {start_row} + 64]",
            "tileloadd tmm2, [{start_below} + {start_row}]",
            "tileloadd tmm3, [{start_below} + {start_row} + 64]",
            "2:",
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm5, [{left} + {row} + 1024]",
            "tileloadd tmm6, [{right} + {row} + 4096]",
            "tileloadd tmm7, [{right} + {row} + 5120]",
            multiply!(),
            "tileloadd tmm6, [{right} + {row} + 2048]",
            "tileloadd tmm7, [{right} + {row} + 3072]",
            multiply!(),
            "tileloadd tmm4, [{left} + {row} + 2048]",
            "tileloadd tmm5, [{left} + {row} + 3072]",
            multiply!(),
            "tileloadd tmm6, [{right} + {row}]",
            "tileloadd tmm7, [{right} + {row} + 1024]",
            multiply!(),
            "tileloadd tmm4, [{left} + {row} + 4096]",
            "tileloadd tmm5, [{left} + {row} + 5120]",
            multiply!(),
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm5, [{left} + {row} + 1024]",
            multiply!(),
            "add {left}, 6144",
            "add {right}, 6144",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {out_row}], tmm0",
            "tilestored [{out} + {out_row} + 64], tmm1",
            "tilestored [{out_below} + {out_row}], tmm2",
            "tilestored [{out_below} + {out_row} + 64], tmm3",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            steps = inout(reg) steps => _,
            row = in(reg) 4 * SIDE,
            start = in(reg) start.from,
            start_below = in(reg) start.from.wrapping_add(SIDE * start.step),
            start_row = in(reg) 4 * start.step,
            out = in(reg) out,
            out_below = in(reg) out.wrapping_add(SIDE * step),
            out_row = in(reg) 4 * step,
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}

/// Packs up to two tiles' rows, step by step, each number as its three parts: whether all are finite. A tile's row has sixteen pairs: of numbers
/// half a step apart, of one row; or, with `TURNED`, of the rows' numbers at one place.
#[inline(always)]
unsafe fn pack<const TURNED: bool>(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let mut odd = 0;
        for (step, at) in (0..depth).step_by(STEP).enumerate() {
            if source.along == 1 && at + STEP < depth {
                // Some 5 % of a product of 512 rows: so many rows at once are more than the processor foresees.
                for row in 0..rows {
                    _mm_prefetch::<_MM_HINT_T0>(source.at(row, at + STEP).from.cast());
                    _mm_prefetch::<_MM_HINT_T0>(source.at(row, at + STEP + SIDE).from.cast());
                }
            }
            for first in [0, SIDE] {
                let rows = rows.saturating_sub(first).min(SIDE);
                let left = depth - at;
                let low = square::<TURNED>(source.at(first, at), rows, left.min(SIDE));
                let high = square::<TURNED>(source.at(first, at + SIDE), rows, left.saturating_sub(SIDE).min(SIDE));
                let to = to.add(step * WORDS + first * SIDE);
                for i in 0..SIDE {
                    let ((low, odd_low), (high, odd_high)) = (parts(low[i]), parts(high[i]));
                    odd |= odd_low | odd_high;
                    for part in 0..3 {
                        let pairs = _mm512_srli_epi32::<16>(low[part]);
                        // (high & mask) | pairs
                        let pairs = _mm512_ternarylogic_epi32::<0xea>(high[part], _mm512_set1_epi32(!0xffff), pairs);
                        _mm512_storeu_si512(to.add(part * 2 * SIDE * SIDE + i * SIDE).cast(), pairs);
                    }
                }
            }
        }
        odd == 0
    }
}

/// Sixteen rows of sixteen numbers, of which there are so many; or, with `TURNED`, sixteen places of sixteen rows. The rest are zeros.
#[inline(always)]
unsafe fn square<const TURNED: bool>(source: Source, rows: usize, depth: usize) -> [__m512; SIDE] {
    // SAFETY: as the caller says; registers of zeros are registers.
    unsafe {
        let mut square: [__m512; SIDE] = std::mem::zeroed();
        let lies_turned = match (source.along, source.across) {
            (1, across) => {
                for (row, numbers) in square.iter_mut().enumerate().take(rows) {
                    *numbers = _mm512_maskz_loadu_ps(first(depth), source.from.wrapping_add(row * across));
                }
                false
            }
            (along, 1) => {
                for (at, numbers) in square.iter_mut().enumerate().take(depth) {
                    *numbers = _mm512_maskz_loadu_ps(first(rows), source.from.wrapping_add(at * along));
                }
                true
            }
            _ => {
                let mut gathered = [[0f32; SIDE]; SIDE];
                for (row, numbers) in gathered.iter_mut().enumerate().take(rows) {
                    for (at, number) in numbers.iter_mut().enumerate().take(depth) {
                        *number = *source.at(row, at).from;
                    }
                }
                for (row, numbers) in square.iter_mut().zip(&gathered) {
                    *row = _mm512_loadu_ps(numbers.as_ptr());
                }
                false
            }
        };
        if lies_turned == TURNED { square } else { __m512::transpose(square) }
    }
}

/// The first lanes of a register.
#[inline(always)]
fn first(lanes: usize) -> __mmask16 {
    ((1u32 << lanes) - 1) as __mmask16
}

/// To the nearest bfloat16, as the upper half of a word.
#[inline(always)]
unsafe fn rounded(x: __m512) -> __m512i {
    // SAFETY: as the caller says.
    unsafe {
        let bits = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
        _mm512_and_si512(bits, _mm512_set1_epi32(!0xffff))
    }
}

/// The numbers' parts, each in the upper half of its word, and which numbers are not finite, or too near to infinity.
#[inline(always)]
unsafe fn parts(x: __m512) -> ([__m512i; 3], __mmask16) {
    /// What is no number, and the infinities.
    const ODD: i32 = 0x99;
    // SAFETY: as the caller says.
    unsafe {
        let first = rounded(x);
        let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(first));
        let second = rounded(rest);
        let third = _mm512_sub_ps(rest, _mm512_castsi512_ps(second));
        ([first, second, _mm512_castps_si512(third)], _mm512_fpclass_ps_mask::<ODD>(rest))
    }
}
