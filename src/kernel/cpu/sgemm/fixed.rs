//! Numbers in fixed point, as Intel's AMX multiplies them: a row is rounded to 24 bits below its
//! largest number, and a number is three signed digits of eight bits.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::panel::Source;
use super::registers::Lanes;

/// Rows of a tile.
pub const SIDE: usize = 16;
/// Numbers of a row in a tile.
pub const STEP: usize = 64;
/// Numbers of a row that are rounded alike.
pub const DEPTH: usize = 4 * STEP;
/// Digits of a number, each in a plane of its own.
pub const DIGITS: usize = 3;
/// Bytes of a tile.
pub const TILE: usize = SIDE * STEP;

/// The largest number may be so many times the mean of those that are not 0: in a normal
/// distribution it is some 5 times, among 256 at most 256 times.
const APART: f32 = 128.0;

/// Packs `TILES` times sixteen rows, of which there are so many, of at most [`DEPTH`] numbers: each
/// row's unit, as float32; then, step by step and digit by digit from the largest on, the tiles. A
/// tile's line has a row's 64 digits; or, `TURNED`, all rows' digits of the same four places. A
/// row's numbers are its digits, d₀·2¹⁶ + d₁·2⁸ + d₂, times its unit, to the nearest. Whether all
/// are: not where some are infinite, above 2¹⁰¹, or no numbers, nor where all of a row are below
/// 2⁻¹⁰⁰ but not 0, or one stands apart from the rest.
///
/// # Safety
/// The source has so many rows of `depth` numbers; `to`, at the beginning of a line of the cache,
/// has so many places; the processor has AVX-512.
#[inline(always)]
pub unsafe fn pack<const TILES: usize, const TURNED: bool>(
    to: *mut f32,
    source: Source,
    rows: usize,
    depth: usize,
) -> bool {
    let mut fits = true;
    // SAFETY: as the caller says.
    unsafe {
        let tiles: *mut u8 = to.add(TILES * SIDE).cast();
        for tile in 0..TILES {
            let rows = rows.saturating_sub(tile * SIDE).min(SIDE);
            let mut own = MaybeUninit::uninit();
            let source = laid(&mut own, source.at(tile * SIDE, 0), rows, depth);
            let Survey { largest, any, sum } = surveyed(source, rows, depth);
            let tiny = _mm512_cmplt_epi32_mask(largest, _mm512_set1_epi32(bits(-100)));
            let huge = _mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(bits(101)));
            fits &= (tiny & _mm512_test_epi32_mask(largest, largest)) | huge == 0;
            let mean = _mm512_mul_ps(sum, _mm512_set1_ps(APART / depth as f32));
            let apart = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(_mm512_castsi512_ps(largest), mean);
            fits &= apart == 0 || !any_apart(apart, source, depth);
            let (unit, inverse) = unit(largest, any);
            _mm512_store_ps(to.add(tile * SIDE), unit);
            let mut scales = [0f32; SIDE];
            _mm512_storeu_ps(scales.as_mut_ptr(), inverse);
            for (step, at) in (0..depth).step_by(STEP).enumerate() {
                let to = tiles.add((step * DIGITS * TILES + tile) * TILE);
                let mut planes: [[__m512i; SIDE]; DIGITS] = std::mem::zeroed();
                let masks: [__mmask16; 4] =
                    std::array::from_fn(|i| first((depth - at).saturating_sub(i * SIDE)));
                for (row, scale) in scales.iter().enumerate().take(rows) {
                    let from = source.at(row, at).from;
                    let mut numbers = [_mm512_setzero_ps(); 4];
                    for (i, numbers) in numbers.iter_mut().enumerate() {
                        *numbers = _mm512_maskz_loadu_ps(masks[i], from.wrapping_add(i * SIDE));
                    }
                    let digits = digits(numbers, _mm512_set1_ps(*scale));
                    for (plane, digits) in planes.iter_mut().zip(digits) {
                        plane[row] = digits;
                    }
                }
                for (digit, plane) in planes.iter().enumerate() {
                    let plane = if TURNED { &turned(plane) } else { plane };
                    for (line, bytes) in plane.iter().enumerate() {
                        _mm512_store_si512(
                            to.add(digit * TILES * TILE + line * STEP).cast(),
                            *bytes,
                        );
                    }
                }
            }
        }
    }
    fits
}

/// Rows in one piece each.
type Rows = [[f32; DEPTH]; SIDE];

/// The rows each in one piece: where they stand, or in `own`.
#[inline(always)]
unsafe fn laid(own: &mut MaybeUninit<Rows>, source: Source, rows: usize, depth: usize) -> Source {
    if source.along == 1 {
        return source;
    }
    let own: *mut f32 = own.as_mut_ptr().cast();
    // SAFETY: as the caller says; registers of zeros are registers.
    unsafe {
        for at in (0..depth).step_by(SIDE) {
            let count = SIDE.min(depth - at);
            if source.across == 1 {
                let mut square: [__m512; SIDE] = std::mem::zeroed();
                for (i, numbers) in square.iter_mut().enumerate().take(count) {
                    *numbers = _mm512_maskz_loadu_ps(first(rows), source.at(0, at + i).from);
                }
                for (row, numbers) in __m512::transpose(square).iter().enumerate() {
                    _mm512_storeu_ps(own.add(row * DEPTH + at), *numbers);
                }
            } else {
                for row in 0..rows {
                    for i in at..at + count {
                        *own.add(row * DEPTH + i) = *source.at(row, i).from;
                    }
                }
            }
        }
    }
    Source { from: own, across: DEPTH, along: 1 }
}

/// The bits of 2^exponent.
const fn bits(exponent: i32) -> i32 {
    (exponent + 127) << 23
}

/// Of sixteen rows' absolute values.
struct Survey {
    /// The bits of the largest; of what is no number they are the largest of all.
    largest: __m512i,
    /// The bits that any has.
    any: __m512i,
    sum: __m512,
}

/// Whether of one of these rows the largest number stands apart from those that are not 0: the
/// others would keep fewer digits than a sum in float32 does.
#[cold]
#[inline(never)]
fn any_apart(rows: __mmask16, source: Source, depth: usize) -> bool {
    (0..SIDE).filter(|row| rows >> row & 1 == 1).any(|row| {
        // SAFETY: the source has these rows, and so many numbers of each.
        let numbers =
            (0..depth).map(|at| unsafe { *source.at(row, at).from }.abs()).filter(|x| *x != 0.0);
        let (count, sum, most) =
            numbers.fold((0.0, 0.0, 0f32), |(n, sum, most), x| (n + 1.0, sum + x, most.max(x)));
        most * count > APART * sum
    })
}

#[inline(always)]
unsafe fn surveyed(source: Source, rows: usize, depth: usize) -> Survey {
    // SAFETY: as the caller says; registers of zeros are registers.
    unsafe {
        let [mut largest, mut any, mut sums]: [[__m512i; SIDE]; 3] = std::mem::zeroed();
        for row in 0..rows {
            let from = source.at(row, 0).from;
            let (mut most, mut bits, mut sum) = (largest[row], any[row], _mm512_setzero_ps());
            for at in (0..depth).step_by(SIDE) {
                let numbers = match depth - at {
                    SIDE.. => _mm512_loadu_ps(from.add(at)),
                    left => _mm512_maskz_loadu_ps(first(left), from.add(at)),
                };
                let absolute =
                    _mm512_and_si512(_mm512_castps_si512(numbers), _mm512_set1_epi32(i32::MAX));
                most = _mm512_max_epi32(most, absolute);
                bits = _mm512_or_si512(bits, absolute);
                sum = _mm512_add_ps(sum, _mm512_castsi512_ps(absolute));
            }
            (largest[row], any[row], sums[row]) = (most, bits, _mm512_castps_si512(sum));
        }
        let zero = _mm512_setzero_si512();
        let mut all = Survey { largest: zero, any: zero, sum: _mm512_setzero_ps() };
        let (largest, any, sums) = (turned(&largest), turned(&any), turned(&sums));
        for i in 0..SIDE {
            all.largest = _mm512_max_epi32(all.largest, largest[i]);
            all.any = _mm512_or_si512(all.any, any[i]);
            all.sum = _mm512_add_ps(all.sum, _mm512_castsi512_ps(sums[i]));
        }
        all
    }
}

/// What a row's digits count, by its largest number and the bits of all, and the inverse. The
/// largest number takes almost the largest digits; but numbers of at most eight bits, such as small
/// whole ones, are counted in a power of two, and so stay what they are, down to 2⁻¹⁴ of the
/// largest.
#[inline(always)]
unsafe fn unit(largest: __m512i, any: __m512i) -> (__m512, __m512) {
    /// Less than three digits of 127 by more than rounding may add.
    const MOST: f32 = 8_355_700.0;
    const EXPONENT: i32 = 0xff << 23;
    // SAFETY: as the caller says.
    unsafe {
        // Of a row of zeros: their unit would have no inverse.
        let largest = _mm512_max_epi32(largest, _mm512_set1_epi32(bits(-100)));
        let numbers = _mm512_castsi512_ps(largest);
        let unit = _mm512_mul_ps(numbers, _mm512_set1_ps(1.0 / MOST));
        let inverse = _mm512_div_ps(_mm512_set1_ps(MOST), numbers);
        let few = _mm512_testn_epi32_mask(any, _mm512_set1_epi32(0xffff));
        let exponent = _mm512_sub_epi32(
            _mm512_and_si512(largest, _mm512_set1_epi32(EXPONENT)),
            _mm512_set1_epi32(bits(0)),
        );
        let round_unit = _mm512_add_epi32(_mm512_set1_epi32(bits(-21)), exponent);
        let round_inverse = _mm512_sub_epi32(_mm512_set1_epi32(bits(21)), exponent);
        (
            _mm512_mask_mov_ps(unit, few, _mm512_castsi512_ps(round_unit)),
            _mm512_mask_mov_ps(inverse, few, _mm512_castsi512_ps(round_inverse)),
        )
    }
}

/// The digits of 64 numbers, of which the largest come first. The order of the numbers is one that
/// takes few instructions, and the same in all rows.
#[inline(always)]
unsafe fn digits([a, b, c, d]: [__m512; 4], scale: __m512) -> [__m512i; DIGITS] {
    // SAFETY: as the caller says.
    unsafe {
        // Added to each digit, this makes it a byte without a sign.
        let half = _mm512_set1_epi32(0x80_8080);
        let alike = _mm512_broadcast_i32x4(_mm_setr_epi8(
            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
        ));
        macro_rules! bytes {
            ($numbers:ident) => {{
                let whole = _mm512_cvtps_epi32(_mm512_mul_ps($numbers, scale));
                _mm512_shuffle_epi8(_mm512_add_epi32(whole, half), alike)
            }};
        }
        let (a, b, c, d) = (bytes!(a), bytes!(b), bytes!(c), bytes!(d));
        let low = [_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d)];
        let high = [_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d)];
        let sign = _mm512_set1_epi8(i8::MIN);
        [
            _mm512_xor_si512(_mm512_unpacklo_epi64(high[0], high[1]), sign),
            _mm512_xor_si512(_mm512_unpackhi_epi64(low[0], low[1]), sign),
            _mm512_xor_si512(_mm512_unpacklo_epi64(low[0], low[1]), sign),
        ]
    }
}

/// Sixteen lines of sixteen words, turned.
#[inline(always)]
unsafe fn turned(lines: &[__m512i; SIDE]) -> [__m512i; SIDE] {
    // SAFETY: both are sixteen registers; as the caller says.
    unsafe {
        std::mem::transmute(__m512::transpose(
            std::mem::transmute::<[__m512i; SIDE], [__m512; SIDE]>(*lines),
        ))
    }
}

/// The first lanes of a register, or all.
#[inline(always)]
fn first(lanes: usize) -> __mmask16 {
    ((1u32 << lanes.min(SIDE)) - 1) as __mmask16
}
