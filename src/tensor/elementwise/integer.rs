//! Integer arithmetic that wraps on overflow, as in PyTorch, in debug builds too.

use candle_core::WithDType;

/// The integer element types: u8, u32 and i64.
pub trait Integer: WithDType + Ord {
    /// The wrapping sum.
    fn plus(self, other: Self) -> Self;
    /// The wrapping product.
    fn times(self, other: Self) -> Self;
    /// The remainder with the sign of the divisor.
    ///
    /// # Panics
    /// `other` is 0.
    fn modulo(self, other: Self) -> Self;
    /// The wrapping power, for an exponent of at least 0.
    fn power(self, exponent: Self) -> Self;
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
    /// Bitwise or.
    fn or(self, other: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Every bit inverted.
    fn not(self) -> Self;
    /// The wrapping negation.
    fn neg(self) -> Self;
    /// The absolute value; `i64::MIN` wraps to itself.
    fn abs(self) -> Self;
    /// -1, 0 or 1.
    fn sign(self) -> Self;
}

macro_rules! integer {
    ($T:ty, $abs:expr, $sign:expr) => {
        impl Integer for $T {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[allow(unused_comparisons)]
            fn modulo(self, other: Self) -> Self {
                let rest = self.wrapping_rem(other);
                if rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest }
            }
            fn power(self, exponent: Self) -> Self {
                let (mut base, mut left, mut out) = (self, exponent as u64, 1);
                while left > 0 {
                    if left & 1 == 1 {
                        out = <$T>::wrapping_mul(out, base);
                    }
                    base = base.wrapping_mul(base);
                    left >>= 1;
                }
                out
            }
            fn and(self, other: Self) -> Self {
                self & other
            }
            fn or(self, other: Self) -> Self {
                self | other
            }
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            fn not(self) -> Self {
                !self
            }
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            fn abs(self) -> Self {
                $abs(self)
            }
            fn sign(self) -> Self {
                $sign(self)
            }
        }
    };
}

integer!(u8, |x| x, |x: u8| x.min(1));
integer!(u32, |x| x, |x: u32| x.min(1));
integer!(i64, i64::wrapping_abs, i64::signum);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_takes_the_divisors_sign() {
        let cases =
            [(7, 3, 1), (-7, 3, 2), (7, -3, -2), (-7, -3, -1), (i64::MIN, -1, 0), (6, -3, 0)];
        for (a, b, expected) in cases {
            assert_eq!(Integer::modulo(a, b), expected, "{a} % {b}");
        }
        assert_eq!(Integer::modulo(7u8, 3), 1);
    }

    #[test]
    fn overflow_wraps() {
        assert_eq!(Integer::power(3i64, 4), 81);
        assert_eq!(Integer::power(2i64, 64), 0);
        assert_eq!(Integer::plus(255u8, 1), 0);
        assert_eq!(Integer::abs(i64::MIN), i64::MIN);
    }
}
