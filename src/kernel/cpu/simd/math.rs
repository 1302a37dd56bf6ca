//! Functions of one float32, written so that loops over them vectorise: without branches, tables and
//! calls. `FUSED` says whether they are compiled for instructions that multiply and add with a
//! single rounding (FMA).

/// a·b + c
#[inline(always)]
pub fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// A polynomial, the highest power's coefficient first (Horner).
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut p = coefficients[0];
    for coefficient in &coefficients[1..] {
        p = fma::<FUSED>(p, x, *coefficient);
    }
    p
}

/// eˣ to 2 units in the last place.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    let e = power::<FUSED>(x.clamp(-104.0, 88.722_83));
    if x > 88.722_83 { f32::INFINITY } else { e }
}

/// 1 / (1 + e⁻ˣ), computed from e^−|x|, which does not overflow.
#[inline(always)]
pub fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    let size = x.abs();
    let e = power::<FUSED>(if size > 104.0 { -104.0 } else { -size });
    let s = 1.0 / (1.0 + e);
    if x < 0.0 { e * s } else { s }
}

/// eˣ, but 0 below −87, where eˣ is subnormal: subnormal numbers are slow, and add nothing to a
/// softmax.
#[inline(always)]
pub fn exp_or_zero<const FUSED: bool>(x: f32) -> f32 {
    let (p, power) = reduced::<FUSED>(x.clamp(-87.0, 88.722_83));
    let e = p * f32::from_bits((power.wrapping_add(127) as u32) << 23);
    if x < -87.0 { 0.0 } else { e }
}

/// eˣ for x from −104 to 88.7.
#[inline(always)]
fn power<const FUSED: bool>(x: f32) -> f32 {
    let (p, power) = reduced::<FUSED>(x);
    // In two steps, because 2¹²⁸ is too large for a float32.
    let half = power >> 1;
    let scale = |power: i32| f32::from_bits((power.wrapping_add(127) as u32) << 23);
    p * scale(half) * scale(power.wrapping_sub(half))
}

/// p and n with eˣ = p·2ⁿ.
#[inline(always)]
fn reduced<const FUSED: bool>(x: f32) -> (f32, i32) {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that multiples of the first are exact (Cephes, `expf`).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // 1.5·2²³: adding it rounds to a whole number, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let rounded = fma::<FUSED>(x, LOG2_E, ROUND);
    let whole = rounded - ROUND;
    let r = fma::<FUSED>(whole, -LN2_LOW, fma::<FUSED>(whole, -LN2_HIGH, x));
    let p = polynomial::<FUSED, 6>(
        r,
        [1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
    );
    let p = fma::<FUSED>(p * r, r, r) + 1.0;
    (p, rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32)
}

/// ln x to 2 units in the last place (Cephes, `logf`).
#[inline(always)]
pub fn ln<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    // Subnormal numbers are scaled to normal ones first, by 2²³.
    let small = x < f32::MIN_POSITIVE;
    let (scaled, less) = if small { (x * 8_388_608.0, 23) } else { (x, 0) };
    let above = scaled.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((above as i32) >> 23).wrapping_sub(less) as f32;
    let m = f32::from_bits((above & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0;
    let p = polynomial::<FUSED, 9>(
        m,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let square = m * m;
    let y = fma::<FUSED>(exponent, -2.121_944_4e-4, m * square * p);
    let y = m + fma::<FUSED>(square, -0.5, y);
    let y = fma::<FUSED>(exponent, 0.693_359_4, y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// tanh to 5e-7, by a ratio of polynomials (Eigen, `ptanh_float`).
#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    let near = x.clamp(-7.905_311, 7.905_311);
    let s = near * near;
    let p = polynomial::<FUSED, 7>(
        s,
        [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297e-8,
            1.485_722_4e-5,
            6.372_619_3e-4,
            4.893_524_6e-3,
        ],
    );
    let q = polynomial::<FUSED, 4>(s, [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3]);
    if x.abs() > 7.905_311 { 1f32.copysign(x) } else { near * p / q }
}

/// The error function to 5e-7, by a ratio of polynomials (Eigen, `perf_float`).
#[inline(always)]
pub fn erf<const FUSED: bool>(x: f32) -> f32 {
    let near = x.clamp(-4.0, 4.0);
    let s = near * near;
    let p = polynomial::<FUSED, 7>(
        s,
        [
            -2.726_142_3e-10,
            2.770_681_4e-8,
            -2.101_024e-6,
            -5.692_506_4e-5,
            -7.349_906_3e-4,
            -2.954_6e-3,
            -1.609_603_3e-2,
        ],
    );
    let q = polynomial::<FUSED, 5>(
        s,
        [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2],
    );
    if x.abs() > 4.0 { 1f32.copysign(x) } else { near * p / q }
}

/// The larger of x and 0. As in torch, NaN stays NaN.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// x·Φ(x), by way of the error function.
#[inline(always)]
pub fn gelu<const FUSED: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The approximation of [`gelu`] through tanh.
#[inline(always)]
pub fn gelu_tanh<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh::<FUSED>(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// x·σ(x)
#[inline(always)]
pub fn silu<const FUSED: bool>(x: f32) -> f32 {
    x * sigmoid::<FUSED>(x)
}

/// max(x, 0)²
#[inline(always)]
pub fn relu2(x: f32) -> f32 {
    relu(x) * relu(x)
}

/// x·σ(1.702·x)
#[inline(always)]
pub fn quick_gelu<const FUSED: bool>(x: f32) -> f32 {
    x * sigmoid::<FUSED>(QUICK * x)
}

/// The factor in [`quick_gelu`].
const QUICK: f32 = 1.702;

/// x·tanh(ln(1 + e^x)). The tangent is a ratio of polynomials of e^−|x|, none of which cancels.
#[inline(always)]
pub fn mish<const FUSED: bool>(x: f32) -> f32 {
    let e = exp_or_zero::<FUSED>(-x.abs());
    let (above, rest) = if x < 0.0 { (e * (e + 2.0), 2.0) } else { (1.0 + 2.0 * e, 2.0 * e * e) };
    x * (above / (above + rest))
}

/// The slope of [`relu2`].
#[inline(always)]
pub fn relu2_slope(x: f32) -> f32 {
    2.0 * relu(x)
}

/// The slope of [`quick_gelu`], which is a stretched [`silu`].
#[inline(always)]
pub fn quick_gelu_slope<const FUSED: bool>(x: f32) -> f32 {
    silu_slope::<FUSED>(QUICK * x)
}

/// The slope of [`mish`]: t + x·(1 − t²)·σ(x) with t = tanh(ln(1 + e^x)), from e^−|x| as there.
#[inline(always)]
pub fn mish_slope<const FUSED: bool>(x: f32) -> f32 {
    let e = exp_or_zero::<FUSED>(-x.abs());
    let (above, rest, slope) = if x < 0.0 {
        (e * (e + 2.0), 2.0, 4.0 * e * (1.0 + e))
    } else {
        (1.0 + 2.0 * e, 2.0 * e * e, 4.0 * e * e * (1.0 + e))
    };
    let whole = above + rest;
    // What grows slower than x is multiplied first: the product of an infinity and 0 is no number.
    let rising = slope / (whole * whole);
    if rising == 0.0 { above / whole } else { fma::<FUSED>(x, rising, above / whole) }
}

/// The slope of [`relu`]; as in torch 0 at 0, and 1 for NaN.
#[inline(always)]
pub fn relu_slope(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { 1.0 }
}

/// The slope of [`gelu`]: Φ(x) + x·φ(x).
#[inline(always)]
pub fn gelu_slope<const FUSED: bool>(x: f32) -> f32 {
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let share = 0.5 * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2));
    fma::<FUSED>(x, DENSITY_AT_0 * exp_or_zero::<FUSED>(-0.5 * x * x), share)
}

/// The slope of [`gelu_tanh`]. Both tanh and 1 − tanh² are computed from e^−2|u|, since the
/// difference would lose digits where tanh is near 1.
#[inline(always)]
pub fn gelu_tanh_slope<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let square = x * x;
    let u = SQRT_2_OVER_PI * x * fma::<FUSED>(square, 0.044_715, 1.0);
    let e = exp_or_zero::<FUSED>(-2.0 * u.abs());
    let r = 1.0 / (1.0 + e);
    // (1 + tanh u) / 2, and a quarter of 1 − tanh² u.
    let (share, slope) = (if u < 0.0 { e * r } else { r }, e * r * r);
    let steepness = SQRT_2_OVER_PI * fma::<FUSED>(square, 3.0 * 0.044_715, 1.0);
    // A slope of 0 is not multiplied by what overflows far from 0.
    if slope == 0.0 { share } else { fma::<FUSED>(2.0 * x * slope, steepness, share) }
}

/// The slope of [`silu`]: σ(x)·(1 + x·σ(−x)).
#[inline(always)]
pub fn silu_slope<const FUSED: bool>(x: f32) -> f32 {
    let e = exp_or_zero::<FUSED>(-x.abs());
    let r = 1.0 / (1.0 + e);
    let (here, there) = if x < 0.0 { (e * r, r) } else { (r, e * r) };
    here * fma::<FUSED>(x, there, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(of: impl Fn(f32) -> f64) -> f64 {
        (-200_000..=200_000).map(|i| of(i as f32 * 1e-4)).fold(0.0, f64::max)
    }

    #[test]
    fn they_are_as_exact_as_they_say() {
        let relative = largest(|x| (f64::from(exp::<true>(x)) / f64::from(x).exp() - 1.0).abs());
        assert!(relative < 2.0 * f64::from(f32::EPSILON), "{relative}");
        let ln = largest(|x| {
            if x > 0.0 {
                (f64::from(ln::<true>(x)) - f64::from(x).ln()).abs()
                    / f64::from(x).ln().abs().max(0.1)
            } else {
                0.0
            }
        });
        assert!(ln < 3e-7, "{ln}");
        let tanh = largest(|x| (f64::from(tanh::<true>(x)) - f64::from(x).tanh()).abs());
        assert!(tanh < 5e-7, "{tanh}");
        let erf = largest(|x| {
            (f64::from(erf::<true>(x)) - candle_core::cpu::erf::erf_f64(f64::from(x))).abs()
        });
        assert!(erf < 5e-7, "{erf}");
    }

    #[test]
    fn slopes_are_as_exact_as_the_functions() {
        let phi = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let share = |x: f64| 0.5 * (1.0 + candle_core::cpu::erf::erf_f64(x / 2f64.sqrt()));
        let gelu = largest(|x| {
            let exact = share(x.into()) + f64::from(x) * phi(x.into());
            (f64::from(gelu_slope::<true>(x)) - exact).abs()
        });
        assert!(gelu < 1e-6, "{gelu}");
        let gelu_tanh = largest(|x| {
            let (x, k) = (f64::from(x), (2.0 / std::f64::consts::PI).sqrt());
            let t = (k * (x + 0.044715 * x * x * x)).tanh();
            let steepness = k * (1.0 + 3.0 * 0.044715 * x * x);
            let exact = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * steepness;
            (f64::from(gelu_tanh_slope::<true>(x as f32)) - exact).abs()
        });
        assert!(gelu_tanh < 1e-6, "{gelu_tanh}");
        let silu = largest(|x| {
            let x = f64::from(x);
            let s = 1.0 / (1.0 + (-x).exp());
            (f64::from(silu_slope::<true>(x as f32)) - s * (1.0 + x * (1.0 - s))).abs()
        });
        assert!(silu < 1e-6, "{silu}");
        for far in [1e4, 1e19, 3e38] {
            for slope in [gelu_slope::<true>, gelu_tanh_slope::<true>, silu_slope::<true>] {
                assert_eq!([slope(far), slope(-far)].map(|y| y.round()), [1.0, 0.0]);
            }
        }
        let relu = [-1.0, 0.0, -0.0, 2.0].map(relu_slope);
        assert_eq!((relu, relu_slope(f32::NAN)), ([0.0, 0.0, 0.0, 1.0], 1.0));
    }

    #[test]
    fn what_is_no_number_stays_so_and_the_ends_are_right() {
        for f in [exp::<true>, exp_or_zero::<true>, ln::<true>, tanh::<true>, erf::<true>] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!(
            [
                exp::<true>(f32::NEG_INFINITY),
                exp_or_zero::<true>(f32::NEG_INFINITY),
                exp_or_zero::<true>(-90.0),
                exp::<true>(0.0)
            ],
            [0.0, 0.0, 0.0, 1.0]
        );
        assert_eq!(
            [exp::<true>(100.0), sigmoid::<true>(100.0), sigmoid::<true>(f32::NEG_INFINITY)],
            [f32::INFINITY, 1.0, 0.0]
        );
        assert!((exp::<true>(-100.0) / 3.8e-44 - 1.0).abs() < 0.1);
        assert_eq!(
            [ln::<true>(0.0), ln::<true>(1.0), ln::<true>(f32::INFINITY)],
            [f32::NEG_INFINITY, 0.0, f32::INFINITY]
        );
        assert!(ln::<true>(-1.0).is_nan() && (ln::<true>(1e-42) - 1e-42_f32.ln()).abs() < 1e-4);
        assert!(exp::<true>(88.0).is_finite() && exp::<true>(88.0) > 1e38);
        assert_eq!(
            [tanh::<true>(f32::INFINITY), tanh::<true>(-50.0)].map(|y| (y * 1e6).round()),
            [1e6, -1e6]
        );
    }
}
