//! Tiles in Intel's AMX, which multiplies whole numbers of eight bits and adds them up in 32,
//! without rounding: of the nine products of two [numbers of three digits](super::fixed) the six
//! largest are made (Ozaki, Ogita, Oishi and Rump 2012, «Error-free transformations of matrix
//! multiplication»; Ootomo, Ozaki and Yokota 2024, «DGEMM on integer matrix multiplication unit»).
//! Rounding to digits and leaving out the smallest products costs less than adding in float32 does,
//! in sums of 256 and more.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::engine::{Engine, Start};
use super::fixed::{DEPTH, DIGITS, SIDE, STEP, TILE, pack};
use super::panel::{LINE, Source};

/// Tiles of columns side by side.
const TILES: usize = 2;

pub struct Amx;

/// Whether the processor has it and the system lets this process use it: asked for once, before
/// threads begin.
pub fn allowed() -> bool {
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    let has = is_x86_feature_detected!("avx512bw")
        && __cpuid_count(7, 0).edx & (TILES | INT8) == TILES | INT8;
    has && permitted()
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const REQUEST: std::ffi::c_int = 0x1023;
    const TILE_DATA: std::ffi::c_int = 18;
    // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), which reads and writes no memory
    // of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

// SAFETY: AMX and AVX-512 are what the functions need.
unsafe impl Engine for Amx {
    const ROWS: usize = SIDE;
    const COLUMNS: usize = TILES * SIDE;
    const DEPTH: usize = DEPTH;
    const BLOCK: usize = 512;
    const STRIPS: usize = 12;

    fn words(rows: usize, depth: usize) -> usize {
        rows + rows / SIDE * depth.div_ceil(STEP) * DIGITS * TILE / 4
    }

    #[inline(always)]
    unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<1, false>(to, source, rows, depth) }
    }

    #[inline(always)]
    unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool {
        // SAFETY: as the caller says.
        unsafe { pack::<TILES, true>(to, source, columns, depth) }
    }

    #[inline(always)]
    unsafe fn tile(
        _: usize,
        depth: usize,
        [left, right]: [*const f32; 2],
        start: Start,
        out: (*mut f32, usize),
        ahead: *const f32,
    ) {
        // SAFETY: as the caller says.
        unsafe {
            let mut sums = MaybeUninit::uninit();
            let sums = multiplied(
                &mut sums,
                depth.div_ceil(STEP),
                [left.add(SIDE), right.add(TILES * SIDE)],
                ahead,
            );
            added(sums, [left, right], start, out);
        }
    }

    #[inline(always)]
    unsafe fn begin() {
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            line_bytes: [u16; 16],
            lines: [u8; 16],
        }
        let (mut line_bytes, mut lines) = ([0; 16], [0; 16]);
        line_bytes[..8].fill(STEP as u16);
        lines[..8].fill(SIDE as u8);
        let shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], line_bytes, lines };
        // SAFETY: the shapes are valid: eight whole tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
    }

    #[inline(always)]
    unsafe fn end() {
        // SAFETY: nothing is in the tiles any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// The sums of products by the digits' places: first of both first digits, then of those whose
/// places are one apart in all, then two; each has sixteen rows of two tiles' columns.
#[repr(C, align(64))]
struct Sums([[[i32; TILES * SIDE]; SIDE]; DIGITS]);

/// Multiplies two panels. The sums of each place are in two tiles, tmm0 to tmm5; of the left panel
/// a digit is in tmm6, of the right one a digit of some columns in tmm7. Products come in an order
/// in which four others lie between two of the same sums.
#[inline(always)]
unsafe fn multiplied(
    sums: &mut MaybeUninit<Sums>,
    steps: usize,
    [left, right]: [*const f32; 2],
    ahead: *const f32,
) -> &Sums {
    macro_rules! left {
        ($digit:literal) => {
            concat!("tileloadd tmm6, [{left} + {line} + 1024*", $digit, "]")
        };
    }
    // Of two tiles of columns the products of a digit with the left one's, to the sums in these two
    // tiles.
    macro_rules! right {
        ($digit:literal, $first:literal, $second:literal) => {
            concat!(
                "tileloadd tmm7, [{right} + {line} + 2048*",
                $digit,
                "]\ntdpbssd tmm",
                $first,
                ", tmm6, tmm7\ntileloadd tmm7, [{right} + {line} + 2048*",
                $digit,
                " + 1024]\ntdpbssd tmm",
                $second,
                ", tmm6, tmm7"
            )
        };
    }
    const { assert!(TILE == 1024, "the offsets below") };
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "2:",
            left!(0),
            right!(2, 4, 5),
            "prefetcht1 [{ahead}]",
            right!(0, 0, 1),
            left!(1),
            right!(1, 4, 5),
            "prefetcht1 [{ahead} + 64]",
            right!(0, 2, 3),
            left!(2),
            right!(0, 4, 5),
            "prefetcht1 [{ahead} + 128]",
            left!(0),
            right!(1, 2, 3),
            "prefetcht1 [{ahead} + 192]",
            "add {ahead}, 256",
            "add {left}, 3072",
            "add {right}, 6144",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 64], tmm1",
            "tilestored [{sums} + {row} + 2048], tmm2",
            "tilestored [{sums} + {row} + 2112], tmm3",
            "tilestored [{sums} + {row} + 4096], tmm4",
            "tilestored [{sums} + {row} + 4160], tmm5",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            ahead = inout(reg) ahead => _,
            steps = inout(reg) steps => _,
            line = in(reg) STEP,
            row = in(reg) 4 * TILES * SIDE,
            sums = in(reg) sums.as_mut_ptr(),
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
        sums.assume_init_ref()
    }
}

/// out = start + the sums, as numbers: times the units that stand at the panels' beginnings.
#[inline(always)]
unsafe fn added(
    Sums(sums): &Sums,
    [left, right]: [*const f32; 2],
    start: Start,
    (out, step): (*mut f32, usize),
) {
    /// What a product of the last place counts, in the units of both sides.
    const PLACE: f32 = 65536.0;
    const RADIX: f32 = 256.0;
    // SAFETY: as the caller says.
    unsafe {
        let load = |place: usize, row: usize, column: usize| {
            _mm512_load_si512(sums[place][row][column..][..LINE].as_ptr().cast())
        };
        for tile in 0..TILES {
            let column = tile * LINE;
            let columns = _mm512_mul_ps(_mm512_load_ps(right.add(column)), _mm512_set1_ps(PLACE));
            for row in 0..SIDE {
                // Of at most 256 products each, these are less than 2³¹ together.
                let large = _mm512_add_epi32(
                    _mm512_slli_epi32::<8>(load(0, row, column)),
                    load(1, row, column),
                );
                let (large, small) =
                    (_mm512_cvtepi32_ps(large), _mm512_cvtepi32_ps(load(2, row, column)));
                let sum = _mm512_fmadd_ps(large, _mm512_set1_ps(RADIX), small);
                let by = _mm512_set1_ps(*left.add(row));
                let start = _mm512_loadu_ps(start.from.add(row * start.step + column));
                let sum = _mm512_fmadd_ps(_mm512_mul_ps(sum, by), columns, start);
                _mm512_storeu_ps(out.add(row * step + column), sum);
            }
        }
    }
}
