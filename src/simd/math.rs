//! Functions of one float32, written so that loops over them vectorise: no branches, no tables, no calls.

/// eˣ to 2 units in the last place.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let e = power(x.clamp(-104.0, 88.722_83));
    if x > 88.722_83 { f32::INFINITY } else { e }
}

/// 1 / (1 + e⁻ˣ), by way of a power that can't be too large.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let size = x.abs();
    let e = power(if size > 104.0 { -104.0 } else { -size });
    let s = 1.0 / (1.0 + e);
    if x < 0.0 { e * s } else { s }
}

/// eˣ, and 0 below −87, where it would be a subnormal number: those are slow, and in a softmax they are nothing.
#[inline(always)]
pub fn exp_or_zero(x: f32) -> f32 {
    let e = power(x.clamp(-87.0, 88.722_83));
    if x < -87.0 { 0.0 } else { e }
}

#[inline(always)]
fn power(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that multiples of the first are exact (Cephes, `expf`).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to a whole number, which then stands in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let r = x - whole * LN2_HIGH - whole * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    // In two steps: 2¹²⁸ alone is no float32.
    let half = power >> 1;
    let scale = |power: i32| f32::from_bits((power.wrapping_add(127) as u32) << 23);
    p * scale(half) * scale(power.wrapping_sub(half))
}

/// ln x to 2 units in the last place (Cephes, `logf`).
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    // A subnormal number is made a normal one first.
    let small = x < f32::MIN_POSITIVE;
    let (scaled, less) = if small { (x * 8_388_608.0, 23) } else { (x, 0) };
    let above = scaled.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((above as i32) >> 23).wrapping_sub(less) as f32;
    let m = f32::from_bits((above & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0;
    let mut p = 7.037_683_6e-2;
    p = p * m + -1.151_461e-1;
    p = p * m + 1.167_699_9e-1;
    p = p * m + -1.242_014_1e-1;
    p = p * m + 1.424_932_3e-1;
    p = p * m + -1.666_805_7e-1;
    p = p * m + 2.000_071_5e-1;
    p = p * m + -2.499_999_4e-1;
    p = p * m + 3.333_333e-1;
    let square = m * m;
    let y = m * square * p + exponent * -2.121_944_4e-4 - 0.5 * square;
    let y = m + y + exponent * 0.693_359_4;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// tanh to 2e-7: a polynomial near 0, else by way of exp (Cephes, `tanhf`).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let s = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * s + 2.063_908_8e-2;
    p = p * s + -5.373_971_6e-2;
    p = p * s + 1.333_144_2e-1;
    p = p * s + -3.333_328e-1;
    let near = p * s * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// The error function to 2e-7: a polynomial up to 1, beyond it 1 − e^(−x²)·P(1/x²)/x (Cephes, `erff` and `erfcf`).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let s = x * x;
    let mut t = 7.853_861e-5;
    t = t * s + -8.010_194e-4;
    t = t * s + 5.188_327_6e-3;
    t = t * s + -2.685_381_2e-2;
    t = t * s + 1.128_358_5e-1;
    t = t * s + -3.761_262_6e-1;
    t = t * s + std::f32::consts::FRAC_2_SQRT_PI;
    let near = x * t;
    // 1 − 6e-13 is 1.
    let size = x.abs().clamp(1.0, 5.0);
    let inverse = 1.0 / size;
    let s = inverse * inverse;
    let mut p = 2.326_82e-2;
    p = p * s + -1.387_039_4e-1;
    p = p * s + 3.687_424_7e-1;
    p = p * s + -5.824_733e-1;
    p = p * s + 6.210_004_7e-1;
    p = p * s + -4.944_515_3e-1;
    p = p * s + 3.404_88e-1;
    p = p * s + -2.741_127e-1;
    p = p * s + 5.638_259_4e-1;
    let far = (1.0 - exp(-size * size) * inverse * p).copysign(x);
    if x.abs() < 1.0 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(of: impl Fn(f32) -> f64) -> f64 {
        (-200_000..=200_000).map(|i| of(i as f32 * 1e-4)).fold(0.0, f64::max)
    }

    #[test]
    fn they_are_as_exact_as_they_say() {
        let relative = largest(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs());
        assert!(relative < 2.0 * f64::from(f32::EPSILON), "{relative}");
        let ln = largest(|x| {
            if x > 0.0 { (f64::from(ln(x)) - f64::from(x).ln()).abs() / f64::from(x).ln().abs().max(0.1) } else { 0.0 }
        });
        assert!(ln < 3e-7, "{ln}");
        let tanh = largest(|x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        assert!(tanh < 2e-7, "{tanh}");
        let erf = largest(|x| (f64::from(erf(x)) - candle_core::cpu::erf::erf_f64(f64::from(x))).abs());
        assert!(erf < 2e-7, "{erf}");
    }

    #[test]
    fn what_is_no_number_stays_so_and_the_ends_are_right() {
        for f in [exp, exp_or_zero, ln, tanh, erf] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!(
            [exp(f32::NEG_INFINITY), exp_or_zero(f32::NEG_INFINITY), exp_or_zero(-90.0), exp(0.0)],
            [0.0, 0.0, 0.0, 1.0]
        );
        assert_eq!([exp(100.0), sigmoid(100.0), sigmoid(f32::NEG_INFINITY)], [f32::INFINITY, 1.0, 0.0]);
        assert!((exp(-100.0) / 3.8e-44 - 1.0).abs() < 0.1);
        assert_eq!([ln(0.0), ln(1.0), ln(f32::INFINITY)], [f32::NEG_INFINITY, 0.0, f32::INFINITY]);
        assert!(ln(-1.0).is_nan() && (ln(1e-42) - 1e-42_f32.ln()).abs() < 1e-4);
        assert!(exp(88.0).is_finite() && exp(88.0) > 1e38);
        assert_eq!([tanh(f32::INFINITY), tanh(-50.0)].map(|y| (y * 1e6).round()), [1e6, -1e6]);
    }
}
