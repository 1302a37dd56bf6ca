//! Registers of float32.

use std::arch::x86_64::*;

/// One register.
///
/// # Safety
/// Every function is for processors that have the instructions, inlined into one that is compiled
/// for them; pointers are to COUNT numbers.
pub unsafe trait Lanes: Copy {
    const COUNT: usize;
    /// \[Self; COUNT\]
    type Square: AsMut<[Self]> + AsRef<[Self]>;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self·by + plus, rounded once.
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;
    /// COUNT rows to COUNT columns.
    unsafe fn transpose(rows: Self::Square) -> Self::Square;
}

// SAFETY: of each function, the trait's.
unsafe impl Lanes for __m256 {
    const COUNT: usize = 8;
    type Square = [Self; 8];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, by, plus) }
    }
    #[inline(always)]
    unsafe fn transpose(r: [Self; 8]) -> [Self; 8] {
        unsafe {
            // Pairs of neighbours, then fours, then the halves.
            let (mut t, mut f, mut out) = (r, r, r);
            for i in (0..8).step_by(2) {
                t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
                t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
            }
            for i in [0, 1, 4, 5] {
                let (a, b) = (_mm256_castps_pd(t[i]), _mm256_castps_pd(t[i + 2]));
                let to = i / 4 * 4 + i % 2 * 2;
                f[to] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                f[to + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
            }
            for i in 0..4 {
                out[i] = _mm256_permute2f128_ps::<0x20>(f[i], f[i + 4]);
                out[i + 4] = _mm256_permute2f128_ps::<0x31>(f[i], f[i + 4]);
            }
            out
        }
    }
}

// SAFETY: of each function, the trait's.
unsafe impl Lanes for __m512 {
    const COUNT: usize = 16;
    type Square = [Self; 16];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, by, plus) }
    }
    #[inline(always)]
    unsafe fn transpose(r: [Self; 16]) -> [Self; 16] {
        unsafe {
            // Pairs of neighbours, then fours, eights, and all sixteen.
            let (mut t, mut f, mut e, mut out) = (r, r, r, r);
            for i in (0..16).step_by(2) {
                t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
                t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
            }
            for i in [0, 1, 4, 5, 8, 9, 12, 13] {
                let (a, b) = (_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2]));
                let to = i / 4 * 4 + i % 2 * 2;
                f[to] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                f[to + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
            for i in [0, 1, 2, 3, 8, 9, 10, 11] {
                e[i] = _mm512_shuffle_f32x4::<0x88>(f[i], f[i + 4]);
                e[i + 4] = _mm512_shuffle_f32x4::<0xdd>(f[i], f[i + 4]);
            }
            for i in 0..8 {
                out[i] = _mm512_shuffle_f32x4::<0x88>(e[i], e[i + 8]);
                out[i + 8] = _mm512_shuffle_f32x4::<0xdd>(e[i], e[i + 8]);
            }
            out
        }
    }
}
