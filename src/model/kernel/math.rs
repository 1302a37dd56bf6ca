//! Functions of one float32, written so that loops over them vectorise: no branches, no tables, no calls.

/// eˣ to 2 units in the last place; 0 below −87, where it would be a subnormal number.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that multiples of the first are exact (Cephes, `expf`).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to a whole number, which then stands in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.722_83);
    let rounded = clamped * LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let r = clamped - whole * LN2_HIGH - whole * LN2_LOW;
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
    let e = p * scale(half) * scale(power.wrapping_sub(half));
    if x < -87.0 { 0.0 } else { e }
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
    t = t * s + 1.128_379_2;
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
        let tanh = largest(|x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        assert!(tanh < 2e-7, "{tanh}");
        let erf = largest(|x| (f64::from(erf(x)) - candle_core::cpu::erf::erf_f64(f64::from(x))).abs());
        assert!(erf < 2e-7, "{erf}");
    }

    #[test]
    fn what_is_no_number_stays_so_and_the_ends_are_right() {
        for f in [exp, tanh, erf] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!([exp(f32::NEG_INFINITY), exp(-100.0), exp(0.0)], [0.0, 0.0, 1.0]);
        assert!(exp(88.0).is_finite() && exp(88.0) > 1e38);
        assert_eq!([tanh(f32::INFINITY), tanh(-50.0)].map(|y| (y * 1e6).round()), [1e6, -1e6]);
    }
}
